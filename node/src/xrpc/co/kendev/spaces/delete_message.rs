//! `co.kendev.spaces.deleteMessage`: the caller's own message is taken away.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use crate::http::XrpcError;
use crate::spaces::Asker;
use crate::xrpc::input::Input;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request {
    uri: String,
}

pub(crate) async fn handler(
    State(host): State<Shared>,
    asker: Asker,
    Input(request): Input<Request>,
) -> Result<Json<Value>, XrpcError> {
    host.limits.writes(asker.somebody()?, 1)?;
    host.spaces.remove(&asker, &request.uri).await?;
    Ok(Json(json!({})))
}
