//! `co.kendev.spaces.joinSpace`: the caller joins, with an invitation or the code of the space where that is needed.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::Shared;
use crate::http::XrpcError;
use crate::rate_limits::Limit;
use crate::spaces::Asker;
use crate::xrpc::input::Input;
use crate::xrpc::types::spaces::JoinSpaceInput;

pub(crate) async fn handler(
    State(host): State<Shared>,
    asker: Asker,
    Input(request): Input<JoinSpaceInput>,
) -> Result<Json<Value>, XrpcError> {
    let did = asker.somebody()?;
    if request.token.is_some() || request.code.is_some() {
        // Nobody guesses codes (INV-04).
        host.limits.spend(Limit::SpaceCodes, did.as_str(), 1)?;
    }
    let joined = host.spaces.join(&request.space, did, request.token.as_deref(), request.code.as_deref()).await?;
    Ok(Json(json!({ "status": joined.status, "role": joined.role })))
}
