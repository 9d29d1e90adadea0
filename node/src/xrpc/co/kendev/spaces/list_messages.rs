//! `co.kendev.spaces.listMessages`: messages of a space or a channel, the newest first.

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::messages::Messages;
use super::{Shared, reading};
use crate::http::XrpcError;
use crate::spaces::Asker;
use crate::xrpc::params::Params;
use crate::xrpc::types::spaces::ListMessagesParameters;

pub(crate) async fn handler(
    State(host): State<Shared>,
    asker: Asker,
    Params(query): Params<ListMessagesParameters>,
) -> Result<Json<Value>, XrpcError> {
    let spaces = host.spaces.clone();
    reading(move || Messages::from(query).page(&spaces, &asker)).await
}
