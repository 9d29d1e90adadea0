//! `com.atproto.sync.getLatestCommit`: the head of a repository.

use std::sync::Arc;

use angel_protocol::data::Cid;
use angel_protocol::ids::{Did, Tid};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::available;
use crate::blocking;
use crate::http::XrpcError;
use crate::repos::RepoError;
use crate::xrpc::auth::Caller;
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;

#[derive(Deserialize)]
pub(crate) struct Query {
    did: Did,
}

#[derive(Serialize)]
pub(crate) struct Answer {
    cid: Cid,
    rev: Tid,
}

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    caller: Caller,
    Params(Query { did }): Params<Query>,
) -> Result<Json<Answer>, XrpcError> {
    let account = available(&host, &did, &caller).await?;
    let repos = host.repos.clone();
    let head = blocking::run(move || repos.head_blocking(account.id())).await?.ok_or(RepoError::NoRepository)?;
    Ok(Json(Answer { cid: head.commit.cid(), rev: head.commit.rev() }))
}
