//! `com.atproto.repo.uploadBlob`: takes a file, to be named by a record soon.

use std::sync::Arc;

use angel_protocol::data;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};

use crate::http::XrpcError;
use crate::xrpc::auth::Access;
use crate::xrpc::host::Host;

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    Access { account, .. }: Access,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, XrpcError> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if text(header::CONTENT_ENCODING).is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
        let message = "blobs are sent as they are, without Content-Encoding";
        return Err(XrpcError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "InvalidRequest", message));
    }
    let declared = text(header::CONTENT_TYPE).map(ToOwned::to_owned);
    let _leave = host.replication.placement().may_write(account.id()).await?;
    let blob = host.blobs.upload(account.id(), declared, body.into_data_stream()).await?;
    Ok(Json(json!({ "blob": data::to_json(&blob.to_value()) })))
}
