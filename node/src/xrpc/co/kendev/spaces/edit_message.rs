//! `co.kendev.spaces.editMessage`: other content for the caller's own message; the version before is kept.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::Value;

use super::Shared;
use crate::http::XrpcError;
use crate::spaces::Asker;
use crate::xrpc::input::Input;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request {
    uri: String,
    content: Value,
}

pub(crate) async fn handler(
    State(host): State<Shared>,
    asker: Asker,
    Input(request): Input<Request>,
) -> Result<Json<Value>, XrpcError> {
    host.limits.writes(asker.somebody()?, 2)?;
    Ok(super::written(&host.spaces.edit(&asker, &request.uri, request.content).await?))
}
