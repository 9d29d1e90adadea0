//! `co.kendev.business.listLeads`: the leads of a business, the newest first, for staff.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::super::tenants::Asker;
use super::{LEADS, cursor, page};
use crate::business::LeadFilter;
use crate::http::XrpcError;
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;
use crate::xrpc::types::business::ListLeadsParameters;

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    asker: Asker,
    Params(query): Params<ListLeadsParameters>,
) -> Result<Json<Value>, XrpcError> {
    let (tenant, _) = asker.acts(&host, &query.tenant, LEADS).await?;
    let filter = LeadFilter { status: query.status, assigned_to: query.assigned_to };
    let limit = usize::from(query.limit);
    let after = cursor(query.cursor.as_deref())?;
    let found = host.business.leads(&tenant, &filter, after, limit).await?;
    Ok(Json(page("leads", tenant.did(), found)))
}
