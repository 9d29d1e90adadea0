//! `co.kendev.spaces.listReports`: complaints about messages of a space, for those who moderate it.

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::{Shared, reading};
use crate::http::XrpcError;
use crate::spaces::Asker;
use crate::xrpc::params::Params;
use crate::xrpc::types::spaces::ListReportsParameters;

pub(crate) async fn handler(
    State(host): State<Shared>,
    asker: Asker,
    Params(query): Params<ListReportsParameters>,
) -> Result<Json<Value>, XrpcError> {
    let (spaces, did) = (host.spaces.clone(), asker.somebody()?.clone());
    reading(move || {
        let before = super::number(query.cursor.as_deref())?;
        let page = spaces.complaints(&query.space, &did, query.status, before, usize::from(query.limit))?;
        Ok(super::page("reports", page))
    })
    .await
}
