//! `co.kendev.business.listLeads`: the leads of a business, the newest first, for staff.

use std::sync::Arc;

use angel_protocol::ids::Did;
use atrium_api::types::LimitedNonZeroU8;
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::Value;

use super::super::tenants::Asker;
use super::{LEADS, LIMIT, cursor, page};
use crate::business::LeadFilter;
use crate::http::XrpcError;
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Query {
    tenant: String,
    status: Option<String>,
    assigned_to: Option<Did>,
    limit: Option<LimitedNonZeroU8<100>>,
    cursor: Option<String>,
}

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    asker: Asker,
    Params(query): Params<Query>,
) -> Result<Json<Value>, XrpcError> {
    let (tenant, _) = asker.acts(&host, &query.tenant, LEADS).await?;
    let filter = LeadFilter { status: query.status, assigned_to: query.assigned_to };
    let limit = usize::from(query.limit.map_or(LIMIT, u8::from));
    let after = cursor(query.cursor.as_deref())?;
    let found = host.business.leads(&tenant, &filter, after, limit).await?;
    Ok(Json(page("leads", tenant.did(), found)))
}
