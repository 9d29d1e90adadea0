//! `co.kendev.business.listCustomers`: what is known about members as customers, for staff who may see figures.

use std::sync::Arc;

use angel_protocol::tenants::Permission;
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::super::tenants::Asker;
use super::{cursor, customer_view, person};
use crate::http::XrpcError;
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;
use crate::xrpc::types::business::ListCustomersParameters;

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    asker: Asker,
    Params(query): Params<ListCustomersParameters>,
) -> Result<Json<Value>, XrpcError> {
    let (tenant, actor) = asker.acts(&host, &query.tenant, Permission::ViewAnalytics).await?;
    person(actor)?;
    let limit = usize::from(query.limit);
    let after = cursor(query.cursor.as_deref())?;
    let found = host.business.customers(&tenant, query.tier.as_deref(), after, limit).await?;
    // A record under a key that names nobody is about nobody.
    let views: Vec<_> = found.entries.into_iter().filter_map(|entry| customer_view(tenant.did(), entry)).collect();
    let mut answer = json!({ "customers": views });
    if let Some(cursor) = found.cursor {
        answer["cursor"] = cursor.into();
    }
    Ok(Json(answer))
}
