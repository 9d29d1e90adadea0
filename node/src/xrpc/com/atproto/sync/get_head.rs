//! `com.atproto.sync.getHead`: what `getLatestCommit` was called before.

use std::sync::Arc;

use angel_protocol::data::Cid;
use angel_protocol::ids::Did;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::available;
use crate::blocking;
use crate::http::XrpcError;
use crate::xrpc::auth::Caller;
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;

#[derive(Deserialize)]
pub(crate) struct Query {
    did: Did,
}

#[derive(Serialize)]
pub(crate) struct Answer {
    root: Cid,
}

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    caller: Caller,
    Params(Query { did }): Params<Query>,
) -> Result<Json<Answer>, XrpcError> {
    let account = available(&host, &did, &caller).await?;
    let repos = host.repos.clone();
    let head = blocking::run(move || repos.head_blocking(account.id())).await?;
    let not_found =
        || XrpcError::new(StatusCode::BAD_REQUEST, "HeadNotFound", format!("Could not find root for DID: {did}"));
    Ok(Json(Answer { root: head.ok_or_else(not_found)?.commit.cid() }))
}
