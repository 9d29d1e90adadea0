//! `co.kendev.spaces.deleteSpace`: a space is taken away. What people wrote in it stays theirs.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::Shared;
use crate::http::XrpcError;
use crate::spaces::Asker;
use crate::xrpc::input::Input;
use crate::xrpc::types::spaces::DeleteSpaceInput;

pub(crate) async fn handler(
    State(host): State<Shared>,
    asker: Asker,
    Input(request): Input<DeleteSpaceInput>,
) -> Result<Json<Value>, XrpcError> {
    host.limits.writes(asker.somebody()?, 1)?;
    host.spaces.delete(&asker, &request.space).await?;
    Ok(Json(json!({})))
}
