//! `co.kendev.spaces.updateSpace`: changes of a space: the fields that are given.

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::Shared;
use crate::http::XrpcError;
use crate::spaces::Asker;
use crate::xrpc::input::Input;
use crate::xrpc::types::spaces::UpdateSpaceInput;

pub(crate) async fn handler(
    State(host): State<Shared>,
    asker: Asker,
    Input(request): Input<UpdateSpaceInput>,
) -> Result<Json<Value>, XrpcError> {
    let did = asker.somebody()?.clone();
    host.limits.writes(&did, 2)?;
    let written = host.spaces.update(&asker, &request.space, request.record).await?;
    super::set_code(&host, &written.uri, &did, request.invite_code.as_deref()).await?;
    Ok(super::written(&written))
}
