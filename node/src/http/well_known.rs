//! `/.well-known/atproto-did`: whose handle the host name is, by which a request came (AT Protocol "Handle", section
//! "HTTPS well-known Method").

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

use super::error::XrpcError;
use crate::accounts::{Account, Accounts};

pub(super) async fn atproto_did(
    State(accounts): State<Accounts>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, XrpcError> {
    let name = headers.get(header::HOST).and_then(|host| host.to_str().ok()).or_else(|| uri.host());
    let name = name.and_then(|name| name.split(':').next());
    let Some(handle) = name.and_then(|name| name.parse().ok()) else { return Ok(nobody()) };
    let account = accounts.by_handle(&handle).await?.filter(Account::is_active);
    Ok(account.map_or_else(nobody, |account| account.did().to_string().into_response()))
}

fn nobody() -> Response {
    (StatusCode::NOT_FOUND, axum::Json(serde_json::json!({"error": "NotFound", "message": "User not found"})))
        .into_response()
}
