//! `co.kendev.spaces.hideMessage`: a moderator hides a message, or shows it again. Its record stays its author's.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::Shared;
use crate::http::XrpcError;
use crate::spaces::Asker;
use crate::xrpc::input::Input;
use crate::xrpc::types::spaces::HideMessageInput;

pub(crate) async fn handler(
    State(host): State<Shared>,
    asker: Asker,
    Input(request): Input<HideMessageInput>,
) -> Result<Json<Value>, XrpcError> {
    let hidden = !request.lift.unwrap_or_default();
    host.spaces.moderate(&request.uri, asker.somebody()?, hidden, request.reason).await?;
    Ok(Json(json!({})))
}
