//! `com.atproto.space.registerNotify`: a service that reads a space is told when something is written in it.

use angel_protocol::ids::Datetime;
use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde_json::{Value, json};

use super::{AboutService, Shared, signed_headers};
use crate::http::XrpcError;
use crate::xrpc::input::Input;

pub(crate) async fn handler(
    State(host): State<Shared>,
    headers: HeaderMap,
    Input(AboutService { space, service }): Input<AboutService>,
) -> Result<Json<Value>, XrpcError> {
    host.credentials.check(&signed_headers(&headers), &space, &space.authority).await?;
    let service = service.parse().map_err(|error| XrpcError::invalid_request(format!("service: {error}")))?;
    let expires_at = host.permissioned.register(host.credentials.services(), &space, &service).await?;
    Ok(Json(json!({ "expiresAt": Datetime::from(expires_at) })))
}
