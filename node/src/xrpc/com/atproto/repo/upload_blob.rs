//! `com.atproto.repo.uploadBlob`: takes a file, to be named by a record soon.

use std::sync::Arc;

use angel_protocol::data;
use angel_protocol::tenants::Resource;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};

use crate::accounts::Account;
use crate::blocking;
use crate::http::XrpcError;
use crate::tenants::Use;
use crate::xrpc::auth::Uploader;
use crate::xrpc::host::Host;

/// Bytes of a megabyte, in which a plan counts storage.
const MB: u64 = 1_000_000;

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    Uploader(account): Uploader,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, XrpcError> {
    upload(&host, &account, &headers, body).await
}

/// Takes a file for an account.
pub(crate) async fn upload(
    host: &Host,
    account: &Account,
    headers: &HeaderMap,
    body: Body,
) -> Result<Json<Value>, XrpcError> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if text(header::CONTENT_ENCODING).is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
        let message = "blobs are sent as they are, or with Content-Encoding: gzip or deflate";
        return Err(XrpcError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "InvalidRequest", message));
    }
    let Some(declared) = text(header::CONTENT_TYPE).map(ToOwned::to_owned) else {
        return Err(XrpcError::invalid_request("Request encoding (Content-Type) required but not provided"));
    };
    let length = text(header::CONTENT_LENGTH).and_then(|length| length.parse().ok());
    check_storage(host, account, length.unwrap_or(1)).await?;
    let _leave = host.replication.placement().may_write(account.id()).await?;
    let blob = host.blobs.upload(account.id(), Some(declared), body.into_data_stream()).await?;
    // Who does not say how long it is, is told afterwards; a file that no record names is soon gone again.
    check_storage(host, account, 0).await?;
    Ok(Json(json!({ "blob": data::to_json(&blob.to_value()) })))
}

/// Whether the plan of a tenant has room for so many bytes more than its files have now.
async fn check_storage(host: &Host, account: &Account, more: u64) -> Result<(), XrpcError> {
    let Some(tenant) = host.tenants.find(account.did()) else { return Ok(()) };
    let (tenants, of) = (host.tenants.clone(), tenant.clone());
    let bytes = blocking::run(move || tenants.file_bytes_blocking(&of)).await?;
    let (now, after) = (bytes.div_ceil(MB), (bytes + more).div_ceil(MB));
    host.tenants.check_limit(tenant.did(), Use { resource: Resource::Storage, more: after - now, now })?;
    host.tenants.note_storage(&tenant, now);
    Ok(())
}
