//! `co.kendev.spaces.blockPerson`: the caller takes no direct messages from somebody, or takes them again.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::Shared;
use crate::http::XrpcError;
use crate::spaces::Asker;
use crate::xrpc::input::Input;
use crate::xrpc::types::spaces::BlockPersonInput;

pub(crate) async fn handler(
    State(host): State<Shared>,
    asker: Asker,
    Input(BlockPersonInput { user, lift }): Input<BlockPersonInput>,
) -> Result<Json<Value>, XrpcError> {
    host.limits.writes(asker.somebody()?, 1)?;
    host.spaces.block(&asker, &user, lift.unwrap_or_default()).await?;
    Ok(Json(json!({})))
}
