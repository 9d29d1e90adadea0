//! `co.kendev.spaces.react`: a reaction to a message, or one taken back.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::Shared;
use crate::http::XrpcError;
use crate::spaces::{Asker, Subject};
use crate::xrpc::input::Input;
use crate::xrpc::types::spaces::ReactInput;

pub(crate) async fn handler(
    State(host): State<Shared>,
    asker: Asker,
    Input(request): Input<ReactInput>,
) -> Result<Json<Value>, XrpcError> {
    host.limits.writes(asker.somebody()?, 1)?;
    let ReactInput { uri, emoji, remove, cid, space, channel } = request;
    let subject = Subject { uri, cid: cid.map(String::from), space, channel };
    match host.spaces.react(&asker, subject, &emoji, !remove.unwrap_or_default()).await? {
        Some(written) => Ok(super::written(&written)),
        None => Ok(Json(json!({}))),
    }
}
