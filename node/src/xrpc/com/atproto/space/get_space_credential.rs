//! `com.atproto.space.getSpaceCredential`: a credential that reads a space, for a delegation token.

use angel_protocol::permissioned::SpaceUri;
use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Shared, signed_headers};
use crate::http::XrpcError;
use crate::xrpc::input::Input;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request {
    space: SpaceUri,
    client_attestation: Option<String>,
}

pub(crate) async fn handler(
    State(host): State<Shared>,
    headers: HeaderMap,
    Input(Request { space, client_attestation }): Input<Request>,
) -> Result<Json<Value>, XrpcError> {
    let headers = signed_headers(&headers);
    let credential = host.credentials.exchange(&headers, &space, client_attestation.as_deref()).await?;
    Ok(Json(json!({ "credential": credential })))
}
