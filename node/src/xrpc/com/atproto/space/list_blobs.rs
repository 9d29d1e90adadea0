//! `com.atproto.space.listBlobs`: which blobs the records of a repository in a space name.

use angel_protocol::data::Cid;
use angel_protocol::ids::{Did, Tid};
use angel_protocol::permissioned::SpaceUri;
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Reading, Shared};
use crate::http::XrpcError;
use crate::xrpc::params::Params;

/// Blobs in a page when the client does not say.
const LIMIT: u16 = 500;

/// Most blobs in a page.
const LIMIT_MAX: u16 = 1000;

#[derive(Deserialize)]
pub(crate) struct Query {
    space: SpaceUri,
    repo: Did,
    since: Option<Tid>,
    limit: Option<u16>,
    cursor: Option<Cid>,
}

pub(crate) async fn handler(
    State(host): State<Shared>,
    reading: Reading,
    Params(Query { space, repo, since, limit, cursor }): Params<Query>,
) -> Result<Json<Value>, XrpcError> {
    let limit = limit.unwrap_or(LIMIT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(XrpcError::invalid_request(format!("limit is between 1 and {LIMIT_MAX}")));
    }
    let (account, _) = reading.repo(&host, &space, &repo).await?;
    let limit = usize::from(limit);
    let cids = host.blobs.list_in_space(account.id(), space.digest(), since, cursor, limit).await?;
    let mut answer = json!({ "cids": cids });
    if let Some(last) = cids.last().filter(|_| cids.len() == limit) {
        answer["cursor"] = last.to_string().into();
    }
    Ok(Json(answer))
}
