//! `co.kendev.spaces.hideMessage`: a moderator hides a message, or shows it again. Its record stays its author's.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use crate::http::XrpcError;
use crate::spaces::Asker;
use crate::xrpc::input::Input;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request {
    uri: String,
    /// Shown again.
    #[serde(default)]
    lift: bool,
    /// For the author.
    reason: Option<String>,
}

pub(crate) async fn handler(
    State(host): State<Shared>,
    asker: Asker,
    Input(request): Input<Request>,
) -> Result<Json<Value>, XrpcError> {
    let too_long = request.reason.as_ref().is_some_and(|reason| reason.len() > super::REASON_BYTES_MAX);
    if too_long {
        return Err(XrpcError::invalid_request("the reason is too long"));
    }
    host.spaces.moderate(&request.uri, asker.somebody()?, !request.lift, request.reason).await?;
    Ok(Json(json!({})))
}
