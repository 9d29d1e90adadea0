//! `co.kendev.spaces.editMessage`: other content for the caller's own message; the version before is kept.

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::Shared;
use crate::http::XrpcError;
use crate::spaces::Asker;
use crate::xrpc::input::Input;
use crate::xrpc::types::spaces::EditMessageInput;

pub(crate) async fn handler(
    State(host): State<Shared>,
    asker: Asker,
    Input(request): Input<EditMessageInput>,
) -> Result<Json<Value>, XrpcError> {
    host.limits.writes(asker.somebody()?, 2)?;
    Ok(super::written(&host.spaces.edit(&asker, &request.uri, request.content).await?))
}
