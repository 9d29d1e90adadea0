//! `com.atproto.space.getBlob`: a blob that a record in a space names, for whoever may read the space.

use angel_protocol::data::Cid;
use angel_protocol::ids::Did;
use angel_protocol::permissioned::SpaceUri;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;

use super::{Reading, Shared};
use crate::http::XrpcError;
use crate::xrpc::com::atproto::sync;
use crate::xrpc::params::Params;

#[derive(Deserialize)]
pub(crate) struct Query {
    space: SpaceUri,
    repo: Did,
    cid: Cid,
}

pub(crate) async fn handler(
    State(host): State<Shared>,
    reading: Reading,
    headers: HeaderMap,
    Params(Query { space, repo, cid }): Params<Query>,
) -> Result<Response, XrpcError> {
    let (account, _) = reading.records(&host, &space, &repo, None).await?;
    let blob = host.blobs.get_in_space(account.id(), space.digest(), cid).await?;
    let absent = || XrpcError::new(StatusCode::BAD_REQUEST, "BlobNotFound", "there is no such blob");
    Ok(sync::get_blob::answer(blob.ok_or_else(absent)?, cid, &headers))
}
