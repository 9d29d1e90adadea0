//! `co.kendev.business.getLead`: a lead, for staff.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::super::tenants::Asker;
use super::{lead_of, view};
use crate::http::XrpcError;
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;
use crate::xrpc::types::business::GetLeadParameters;

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    asker: Asker,
    Params(query): Params<GetLeadParameters>,
) -> Result<Json<Value>, XrpcError> {
    let (tenant, path, _) = lead_of(&host, &asker, &query.uri).await?;
    let found = host.business.lead(&tenant, &path).await?;
    Ok(Json(view(tenant.did(), found)))
}
