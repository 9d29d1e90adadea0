//! `co.kendev.spaces.listReports`: complaints about messages of a space, for those who moderate it.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::Value;

use super::{Shared, reading};
use crate::http::XrpcError;
use crate::spaces::{Asker, Complaints};
use crate::xrpc::params::Params;
use atrium_api::types::LimitedNonZeroU8;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Query {
    space: String,
    #[serde(default)]
    status: Complaints,
    limit: Option<LimitedNonZeroU8<100>>,
    cursor: Option<String>,
}

pub(crate) async fn handler(
    State(host): State<Shared>,
    asker: Asker,
    Params(query): Params<Query>,
) -> Result<Json<Value>, XrpcError> {
    let (spaces, did) = (host.spaces.clone(), asker.somebody()?.clone());
    reading(move || {
        let before = super::number(query.cursor.as_deref())?;
        let page = spaces.complaints(&query.space, &did, query.status, before, super::limit(query.limit))?;
        Ok(super::page("reports", page))
    })
    .await
}
