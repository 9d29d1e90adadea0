//! `com.atproto.space.getLatestCommit`: where a repository in a space stands, signed for this reader.

use angel_protocol::ids::Did;
use angel_protocol::permissioned::SpaceUri;
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Reading, Shared, commit_view};
use crate::http::XrpcError;
use crate::permissioned::Permissioned;
use crate::xrpc::params::Params;

#[derive(Deserialize)]
pub(crate) struct Query {
    space: SpaceUri,
    repo: Did,
}

pub(crate) async fn handler(
    State(host): State<Shared>,
    reading: Reading,
    Params(Query { space, repo }): Params<Query>,
) -> Result<Json<Value>, XrpcError> {
    let (account, found) = reading.repo(&host, &space, &repo).await?;
    let key = host.accounts.signing_key(account.id()).await?;
    let commit = Permissioned::sign_for_reader(&space, &repo, &found.head, &key);
    Ok(Json(json!({ "commit": commit_view(&commit) })))
}
