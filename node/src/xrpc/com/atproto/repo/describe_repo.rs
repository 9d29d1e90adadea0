//! `com.atproto.repo.describeRepo`: whose repository it is, and what is in it.

use angel_protocol::ids::{AtIdentifier, Did, Handle};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Shared;
use crate::blocking;
use crate::http::XrpcError;
use crate::repos::RepoError;
use crate::xrpc::auth::Caller;
use crate::xrpc::com::atproto::sync;
use crate::xrpc::params::Params;

#[derive(Deserialize)]
pub(crate) struct Query {
    repo: AtIdentifier,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    handle: Handle,
    did: &'a Did,
    did_doc: &'a Value,
    collections: &'a [String],
    handle_is_correct: bool,
}

pub(crate) async fn handler(
    State(host): State<Shared>,
    Params(Query { repo }): Params<Query>,
) -> Result<Response, XrpcError> {
    let account = host.accounts.find(&repo).await?;
    let account = sync::seen(account, &repo, &Caller::Anyone)?;
    let resolved = host.resolver.did(account.did()).await;
    let resolved = resolved.map_err(|error| XrpcError::invalid_request(format!("the identity of {repo}: {error}")))?;
    let (repos, id) = (host.repos.clone(), account.id());
    let description = blocking::run(move || repos.describe_blocking(id)).await?.ok_or(RepoError::NoRepository)?;
    let answer = Answer {
        handle_is_correct: account.handle().is_some()
            && resolved.document.claimed_handle().as_ref() == account.handle(),
        handle: account.handle_or_invalid(),
        did: account.did(),
        did_doc: &resolved.json,
        collections: &description.collections,
    };
    Ok(Json(answer).into_response())
}
