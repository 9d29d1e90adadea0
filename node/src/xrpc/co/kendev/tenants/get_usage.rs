//! `co.kendev.tenants.getUsage`: what a tenant used, and how much it may.

use std::collections::BTreeMap;
use std::sync::Arc;

use angel_protocol::tenants::{Permission, Resource};
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::Asker;
use crate::http::XrpcError;
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;
use crate::xrpc::plans;
use crate::xrpc::types::tenants::GetUsageParameters;

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    asker: Asker,
    Params(query): Params<GetUsageParameters>,
) -> Result<Json<Value>, XrpcError> {
    let (tenant, _) = asker.acts(&host, &query.tenant, Permission::ViewAnalytics).await?;
    let mut used = BTreeMap::new();
    for resource in Resource::ALL {
        used.insert(resource, plans::there(&host, &tenant, resource).await?);
    }
    host.tenants.note_storage(&tenant, used.get(&Resource::Storage).copied().unwrap_or(0));
    let usage = host.tenants.usage(&tenant);
    let figures: Vec<_> = Resource::ALL
        .into_iter()
        .map(|resource| {
            let mut figure =
                json!({ "resource": resource.name(), "used": used[&resource], "monthly": resource.is_monthly() });
            if let Some(limit) = tenant.row().allowance.limit(resource) {
                figure["limit"] = limit.into();
            }
            figure
        })
        .collect();
    Ok(Json(json!({
        "tenant": tenant.did(),
        "month": usage.month.to_string(),
        "plan": tenant.row().allowance.plan.name(),
        "figures": figures,
    })))
}
