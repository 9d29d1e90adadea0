//! `co.kendev.spaces.markRead`: how far the caller has read: up to this message.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::Shared;
use crate::http::XrpcError;
use crate::spaces::Asker;
use crate::xrpc::input::Input;
use crate::xrpc::types::spaces::MarkReadInput;

pub(crate) async fn handler(
    State(host): State<Shared>,
    asker: Asker,
    Input(request): Input<MarkReadInput>,
) -> Result<Json<Value>, XrpcError> {
    let did = asker.somebody()?;
    host.limits.writes(did, 1)?;
    host.spaces.mark_read(&request.message, did).await?;
    Ok(Json(json!({})))
}
