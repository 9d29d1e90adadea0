//! `co.kendev.spaces.sendMessage`: a message, written into the caller's own repository.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::Shared;
use crate::http::XrpcError;
use crate::rate_limits::Limit;
use crate::spaces::{Asker, NewMessage};
use crate::xrpc::input::Input;

/// Read by hand, and by no type of the document's: all but the space becomes the record as it came, with the fields that
/// the document leaves to the record's own.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request {
    space: String,
    /// The other fields of the record.
    #[serde(flatten)]
    record: Map<String, Value>,
}

pub(crate) async fn handler(
    State(host): State<Shared>,
    asker: Asker,
    Input(request): Input<Request>,
) -> Result<Json<Value>, XrpcError> {
    let did = asker.somebody()?;
    host.limits.spend(Limit::SpaceMessages, &format!("{did} {}", request.space), 1)?;
    host.limits.writes(did, 3)?;
    let message = NewMessage { space: request.space, record: Value::Object(request.record) };
    Ok(super::written(&host.spaces.send(&asker, message).await?))
}
