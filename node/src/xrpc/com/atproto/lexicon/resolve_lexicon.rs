//! `com.atproto.lexicon.resolveLexicon`: a lexicon as its authority publishes it.

use std::sync::Arc;

use angel_protocol::ids::Nsid;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::http::XrpcError;
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;

#[derive(Deserialize)]
pub(crate) struct Query {
    nsid: Nsid,
}

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    Params(query): Params<Query>,
) -> Result<Json<Value>, XrpcError> {
    let found = host.lexicons.published(&query.nsid).await;
    let found = found.map_err(|error| XrpcError::new(StatusCode::BAD_REQUEST, "LexiconNotFound", error.to_string()))?;
    Ok(Json(json!({ "uri": found.uri, "cid": found.cid, "schema": found.record })))
}
