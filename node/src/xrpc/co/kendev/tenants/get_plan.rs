//! `co.kendev.tenants.getPlan`: what a tenant may use, and which features it has.

use std::sync::Arc;

use angel_protocol::tenants::{Feature, Resource};
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::Asker;
use crate::http::XrpcError;
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;
use crate::xrpc::types::tenants::GetPlanParameters;

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    asker: Asker,
    Params(query): Params<GetPlanParameters>,
) -> Result<Json<Value>, XrpcError> {
    let (tenant, _) = asker.reads(&host, &query.tenant).await?;
    let allowance = &tenant.row().allowance;
    let limits = Resource::ALL.into_iter().filter_map(|resource| {
        let limit = allowance.limit(resource)?;
        Some(json!({ "resource": resource.name(), "limit": limit, "monthly": resource.is_monthly() }))
    });
    let features = Feature::ALL.into_iter().filter(|feature| allowance.has(*feature)).map(Feature::name);
    Ok(Json(json!({
        "tenant": tenant.did(),
        "plan": allowance.plan.name(),
        "limits": limits.collect::<Vec<_>>(),
        "features": features.collect::<Vec<_>>(),
    })))
}
