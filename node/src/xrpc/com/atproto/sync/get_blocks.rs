//! `com.atproto.sync.getBlocks`: blocks of a repository by their CIDs.

use std::sync::Arc;

use angel_protocol::data::Cid;
use angel_protocol::ids::Did;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;

use super::available;
use crate::blocking;
use crate::http::XrpcError;
use crate::xrpc::auth::Caller;
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;

/// Most blocks of one answer: each may have a megabyte, and they are gathered in memory.
const CIDS_MAX: usize = 128;

#[derive(Deserialize)]
pub(crate) struct Query {
    did: Did,
    #[serde(default)]
    cids: Vec<Cid>,
}

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    caller: Caller,
    Params(Query { did, cids }): Params<Query>,
) -> Result<Response, XrpcError> {
    if cids.is_empty() {
        return Err(XrpcError::invalid_request("Params must have the property \"cids\": which blocks are asked for"));
    }
    if cids.len() > CIDS_MAX {
        return Err(XrpcError::invalid_request(format!("at most {CIDS_MAX} blocks can be asked for at once")));
    }
    let account = available(&host, &did, &caller).await?;
    let repos = host.repos.clone();
    let blocks = blocking::run(move || repos.blocks_blocking(account.id(), &cids)).await?;
    Ok(super::car(blocks))
}
