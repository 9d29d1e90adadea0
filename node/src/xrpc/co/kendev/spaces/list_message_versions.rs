//! `co.kendev.spaces.listMessageVersions`: what a message said before it was changed.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::{Shared, reading};
use crate::http::XrpcError;
use crate::spaces::Asker;
use crate::xrpc::params::Params;
use crate::xrpc::types::spaces::ListMessageVersionsParameters;

pub(crate) async fn handler(
    State(host): State<Shared>,
    asker: Asker,
    Params(query): Params<ListMessageVersionsParameters>,
) -> Result<Json<Value>, XrpcError> {
    let spaces = host.spaces.clone();
    reading(move || {
        let (reading, found, position, row) = spaces.find_message(&query.uri, asker.did.as_ref())?;
        let versions = reading.versions(&found, position, &row)?;
        Ok(super::aged(json!({ "versions": versions }), &reading))
    })
    .await
}
