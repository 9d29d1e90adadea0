//! `co.kendev.spaces.setTyping`: the caller is writing; told to those who follow, kept by nobody.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::Shared;
use crate::blocking;
use crate::http::XrpcError;
use crate::rate_limits::Limit;
use crate::spaces::Asker;
use crate::xrpc::input::Input;
use crate::xrpc::types::spaces::SetTypingInput;

pub(crate) async fn handler(
    State(host): State<Shared>,
    asker: Asker,
    Input(request): Input<SetTypingInput>,
) -> Result<Json<Value>, XrpcError> {
    let did = asker.somebody()?.clone();
    host.limits.spend(Limit::SpaceSignals, did.as_str(), 1)?;
    let (spaces, uri, who) = (host.spaces.clone(), request.space, did.clone());
    let found = blocking::run(move || spaces.find_live(&uri, Some(&who))).await?;
    host.spaces.typing(found.id, &did, request.channel.as_deref());
    Ok(Json(json!({})))
}
