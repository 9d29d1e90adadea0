//! `co.kendev.spaces.react`: a reaction to a message, or one taken back.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use crate::http::XrpcError;
use crate::spaces::{Asker, Subject};
use crate::xrpc::input::Input;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request {
    uri: String,
    emoji: String,
    #[serde(default)]
    remove: bool,
    cid: Option<String>,
    space: Option<String>,
    channel: Option<String>,
}

pub(crate) async fn handler(
    State(host): State<Shared>,
    asker: Asker,
    Input(request): Input<Request>,
) -> Result<Json<Value>, XrpcError> {
    host.limits.writes(asker.somebody()?, 1)?;
    let Request { uri, emoji, remove, cid, space, channel } = request;
    match host.spaces.react(&asker, Subject { uri, cid, space, channel }, &emoji, !remove).await? {
        Some(written) => Ok(super::written(&written)),
        None => Ok(Json(json!({}))),
    }
}
