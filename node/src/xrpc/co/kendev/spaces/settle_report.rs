//! `co.kendev.spaces.settleReport`: somebody who moderates a space has looked at a complaint, and is done with it. What it is
//! about is hidden by `hideMessage`.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use crate::http::XrpcError;
use crate::spaces::Asker;
use crate::xrpc::input::Input;

#[derive(Deserialize)]
pub(crate) struct Request {
    space: String,
    id: u64,
    /// For those who moderate with them.
    note: Option<String>,
}

pub(crate) async fn handler(
    State(host): State<Shared>,
    asker: Asker,
    Input(request): Input<Request>,
) -> Result<Json<Value>, XrpcError> {
    let Request { space, id, note } = request;
    if note.as_ref().is_some_and(|note| note.len() > super::REASON_BYTES_MAX) {
        return Err(XrpcError::invalid_request("the note is too long"));
    }
    host.spaces.settle_complaint(&space, asker.somebody()?, id, note).await?;
    Ok(Json(json!({})))
}
