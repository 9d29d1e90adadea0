//! `co.kendev.tenants.getUsage`: what a tenant used, and how much it may.

use std::sync::Arc;

use angel_protocol::ids::Nsid;
use angel_protocol::tenants::{Permission, Resource};
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Asker;
use crate::blocking;
use crate::http::XrpcError;
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;

/// Most records that are counted one by one: the largest figure of any plan.
const COUNTED_MAX: usize = 10_000;

#[derive(Deserialize)]
pub(crate) struct Query {
    tenant: String,
}

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    asker: Asker,
    Params(query): Params<Query>,
) -> Result<Json<Value>, XrpcError> {
    let (tenant, _) = asker.acts(&host, &query.tenant, Permission::ViewAnalytics).await?;
    let (repos, tenants, of) = (host.repos.clone(), host.tenants.clone(), tenant.clone());
    let (spaces, products, bytes) = blocking::run(move || {
        let count = |collection: &str| {
            let collection: Nsid = collection.parse().expect("a collection of ours");
            repos.count_blocking(of.id(), &collection, COUNTED_MAX)
        };
        let bytes = tenants.file_bytes_blocking(&of)?;
        Ok::<_, XrpcError>((count("co.kendev.spaces.space")?, count("co.kendev.business.product")?, bytes))
    })
    .await?;
    host.tenants.note_storage(&tenant, bytes / 1_000_000);
    let usage = host.tenants.usage(&tenant);
    let used = |resource: Resource| match resource {
        Resource::Users => host.tenants.active_members(tenant.did()),
        Resource::Spaces => spaces as u64,
        Resource::Products => products as u64,
        Resource::Storage => bytes / 1_000_000,
        monthly => usage.of(monthly),
    };
    let figures: Vec<_> = Resource::ALL
        .into_iter()
        .map(|resource| {
            let mut figure =
                json!({ "resource": resource.name(), "used": used(resource), "monthly": resource.is_monthly() });
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
