//! `co.kendev.spaces.createSpace`: a new space of an account that is hosted here.

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::Shared;
use crate::http::XrpcError;
use crate::spaces::Asker;
use crate::xrpc::input::Input;
use crate::xrpc::types::spaces::CreateSpaceInput;

pub(crate) async fn handler(
    State(host): State<Shared>,
    asker: Asker,
    Input(request): Input<CreateSpaceInput>,
) -> Result<Json<Value>, XrpcError> {
    let did = asker.somebody()?.clone();
    host.limits.writes(&did, 3)?;
    let written = host.spaces.create(&asker, request.tenant.as_ref(), request.record).await?;
    super::set_code(&host, &written.uri, &did, request.invite_code.as_deref()).await?;
    Ok(super::written(&written))
}
