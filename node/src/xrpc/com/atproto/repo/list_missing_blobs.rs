//! `com.atproto.repo.listMissingBlobs`: what an owner who moved here has yet to upload.

use std::sync::Arc;

use angel_protocol::data::Cid;
use atrium_api::types::LimitedNonZeroU16;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use crate::http::XrpcError;
use crate::xrpc::auth::Access;
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;

const LIMIT_DEFAULT: usize = 500;

#[derive(Deserialize)]
pub(crate) struct Parameters {
    limit: Option<LimitedNonZeroU16<1000>>,
    cursor: Option<Cid>,
}

#[derive(Serialize)]
pub(crate) struct Output {
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<Cid>,
    blobs: Vec<Missing>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Missing {
    cid: Cid,
    record_uri: String,
}

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    Access { account, .. }: Access,
    Params(Parameters { limit, cursor }): Params<Parameters>,
) -> Result<Json<Output>, XrpcError> {
    let limit = limit.map_or(LIMIT_DEFAULT, |limit| usize::from(u16::from(limit)));
    let missing = host.blobs.missing(account.id(), cursor, limit).await?;
    let cursor = missing.last().map(|(cid, _)| *cid);
    let uri = |path| format!("at://{}/{path}", account.did());
    let blobs = missing.into_iter().map(|(cid, path)| Missing { cid, record_uri: uri(path) }).collect();
    Ok(Json(Output { cursor, blobs }))
}
