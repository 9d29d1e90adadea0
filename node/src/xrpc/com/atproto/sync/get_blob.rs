//! `com.atproto.sync.getBlob`: a blob that a record names, as it was uploaded.

use std::sync::Arc;

use angel_protocol::data::Cid;
use angel_protocol::ids::Did;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::available;
use crate::blobs::Blob;
use crate::http::XrpcError;
use crate::xrpc::auth::Caller;
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;

#[derive(Deserialize)]
pub(crate) struct Parameters {
    did: Did,
    cid: Cid,
}

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    caller: Caller,
    Params(Parameters { did, cid }): Params<Parameters>,
) -> Result<Response, XrpcError> {
    let account = available(&host, &did, &caller).await?;
    let blob = host.blobs.get(account.id(), cid).await?;
    let absent = || XrpcError::new(StatusCode::BAD_REQUEST, "BlobNotFound", format!("{did} has no blob {cid}"));
    Ok(answer(blob.ok_or_else(absent)?, cid))
}

/// A blob as an answer.
pub(crate) fn answer(blob: Blob, cid: Cid) -> Response {
    let unknown = || HeaderValue::from_static("application/octet-stream");
    let disposition = format!("attachment; filename=\"{cid}\"");
    // Anybody may have uploaded it, and it comes from the origin where people log in: a browser must not run it.
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_str(&blob.mime_type).unwrap_or_else(|_| unknown())),
        (header::CONTENT_LENGTH, HeaderValue::from(blob.size)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox")),
        (header::CONTENT_DISPOSITION, disposition.parse().expect("a CID is text for a header")),
    ];
    (headers, blob.into_body()).into_response()
}
