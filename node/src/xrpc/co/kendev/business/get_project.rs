//! `co.kendev.business.getProject`: a project with how far it is, for staff.

use std::sync::Arc;

use angel_protocol::business::PROJECT;
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::Value;

use super::super::tenants::Asker;
use super::figured;
use crate::http::XrpcError;
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;

#[derive(Deserialize)]
pub(crate) struct Query {
    uri: String,
}

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    asker: Asker,
    Params(query): Params<Query>,
) -> Result<Json<Value>, XrpcError> {
    Ok(Json(figured(&host, &asker, &query.uri, PROJECT).await?))
}
