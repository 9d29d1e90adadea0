//! `com.atproto.sync.getRecord`: a record with the proof that it is in the repository, or the proof that it is not.

use std::sync::Arc;

use angel_protocol::ids::{Did, Nsid, RecordKey};
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;

use super::available;
use crate::blocking;
use crate::http::XrpcError;
use crate::xrpc::auth::Caller;
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;

#[derive(Deserialize)]
pub(crate) struct Query {
    did: Did,
    collection: Nsid,
    rkey: RecordKey,
}

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    caller: Caller,
    Params(Query { did, collection, rkey }): Params<Query>,
) -> Result<Response, XrpcError> {
    let account = available(&host, &did, &caller).await?;
    let repos = host.repos.clone();
    let proof = blocking::run(move || repos.proof_blocking(account.id(), &collection, &rkey)).await?;
    Ok(super::car(proof))
}
