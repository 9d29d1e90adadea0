//! `co.kendev.spaces.listMessageVersions`: what a message said before it was changed.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Shared, reading};
use crate::http::XrpcError;
use crate::spaces::Asker;
use crate::xrpc::params::Params;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Query {
    uri: String,
}

pub(crate) async fn handler(
    State(host): State<Shared>,
    asker: Asker,
    Params(query): Params<Query>,
) -> Result<Json<Value>, XrpcError> {
    let spaces = host.spaces.clone();
    reading(move || {
        let (found, position, row) = spaces.message(&query.uri, asker.did.as_ref())?;
        Ok(json!({ "versions": spaces.versions(&found, position, &row)? }))
    })
    .await
}
