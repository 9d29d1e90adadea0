//! `co.kendev.spaces.searchMessages`: messages that hold all words of a query, the newest first.

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::messages::Messages;
use super::{Shared, reading};
use crate::http::XrpcError;
use crate::spaces::Asker;
use crate::xrpc::params::Params;

pub(crate) async fn handler(
    State(host): State<Shared>,
    asker: Asker,
    Params(query): Params<Messages>,
) -> Result<Json<Value>, XrpcError> {
    if !query.has_words() {
        return Err(XrpcError::invalid_request("q says what to search for"));
    }
    let spaces = host.spaces.clone();
    reading(move || query.page(&spaces, &asker)).await
}
