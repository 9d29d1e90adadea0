//! `co.kendev.tenants.listMemberships`: who belongs to a tenant, for those who do.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::{Asker, view};
use crate::http::XrpcError;
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;
use crate::xrpc::types::tenants::ListMembershipsParameters;

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    asker: Asker,
    Params(query): Params<ListMembershipsParameters>,
) -> Result<Json<Value>, XrpcError> {
    let (tenant, _) = asker.reads(&host, &query.tenant).await?;
    let limit = usize::from(query.limit);
    let rows = host.tenants.memberships(tenant.did(), query.cursor, limit);
    let views: Result<Vec<_>, _> = rows.iter().map(|(did, row)| view::membership(&tenant, did, row)).collect();
    let mut answer = json!({ "memberships": views? });
    if let Some((_, last)) = rows.last().filter(|_| rows.len() == limit) {
        answer["cursor"] = last.rkey.to_string().into();
    }
    Ok(Json(answer))
}
