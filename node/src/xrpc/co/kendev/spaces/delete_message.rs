//! `co.kendev.spaces.deleteMessage`: the caller's own message is taken away.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::Shared;
use crate::http::XrpcError;
use crate::spaces::Asker;
use crate::xrpc::input::Input;
use crate::xrpc::types::spaces::DeleteMessageInput;

pub(crate) async fn handler(
    State(host): State<Shared>,
    asker: Asker,
    Input(request): Input<DeleteMessageInput>,
) -> Result<Json<Value>, XrpcError> {
    host.limits.writes(asker.somebody()?, 1)?;
    host.spaces.remove(&asker, &request.uri).await?;
    Ok(Json(json!({})))
}
