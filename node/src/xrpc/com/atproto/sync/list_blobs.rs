//! `com.atproto.sync.listBlobs`: the blobs that records of an account name.

use std::sync::Arc;

use angel_protocol::data::Cid;
use angel_protocol::ids::{Did, Tid};
use atrium_api::types::LimitedNonZeroU16;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::available;
use crate::http::XrpcError;
use crate::xrpc::auth::Caller;
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;

const LIMIT_DEFAULT: usize = 500;

#[derive(Deserialize)]
pub(crate) struct Parameters {
    did: Did,
    since: Option<Tid>,
    limit: Option<LimitedNonZeroU16<1000>>,
    cursor: Option<Cid>,
}

#[derive(Serialize)]
pub(crate) struct Output {
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<Cid>,
    cids: Vec<Cid>,
}

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    caller: Caller,
    Params(Parameters { did, since, limit, cursor }): Params<Parameters>,
) -> Result<Json<Output>, XrpcError> {
    let account = available(&host, &did, &caller).await?;
    let limit = limit.map_or(LIMIT_DEFAULT, |limit| usize::from(u16::from(limit)));
    let cids = host.blobs.list(account.id(), since, cursor, limit).await?;
    Ok(Json(Output { cursor: cids.last().copied(), cids }))
}
