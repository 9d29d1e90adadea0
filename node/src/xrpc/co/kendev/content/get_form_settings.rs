//! `co.kendev.content.getFormSettings`: the private half of a form with how often it was seen and filled in, for staff.

use std::sync::Arc;

use angel_protocol::business::FORM_SETTINGS;
use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::super::business::{figured_view, record_of};
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
    let (tenant, path, _) = record_of(&host, &asker, &query.uri, FORM_SETTINGS).await?;
    let figured = host.business.figured(&tenant, &path).await?;
    let warnings = host.business.form_warnings(&tenant, &figured.entry.record, &path).await?;
    let mut answer = figured_view(tenant.did(), figured);
    if !warnings.is_empty() {
        answer["warnings"] = warnings.into();
    }
    Ok(Json(answer))
}
