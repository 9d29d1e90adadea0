//! `co.kendev.content.getFormSettings`: the private half of a form with how often it was filled in, for staff.

use std::sync::Arc;

use angel_protocol::business::FORM_SETTINGS;
use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::super::business::figured;
use super::super::tenants::Asker;
use crate::http::XrpcError;
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;
use crate::xrpc::types::content::GetFormSettingsParameters;

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    asker: Asker,
    Params(query): Params<GetFormSettingsParameters>,
) -> Result<Json<Value>, XrpcError> {
    figured(&host, &asker, &query.uri, FORM_SETTINGS).await
}
