//! `co.kendev.spaces.leaveSpace`: the caller leaves, or turns an invitation down.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::Shared;
use crate::http::XrpcError;
use crate::spaces::Asker;
use crate::xrpc::input::Input;
use crate::xrpc::types::spaces::LeaveSpaceInput;

pub(crate) async fn handler(
    State(host): State<Shared>,
    asker: Asker,
    Input(request): Input<LeaveSpaceInput>,
) -> Result<Json<Value>, XrpcError> {
    host.spaces.leave(&request.space, asker.somebody()?).await?;
    Ok(Json(json!({})))
}
