//! `co.kendev.tenants.listWebhooks`: a tenant's webhooks, and how their calls went.

use std::sync::Arc;

use angel_protocol::tenants::Permission;
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::{Asker, webhooks};
use crate::http::XrpcError;
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;
use crate::xrpc::types::tenants::ListWebhooksParameters;

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    asker: Asker,
    Params(query): Params<ListWebhooksParameters>,
) -> Result<Json<Value>, XrpcError> {
    let (tenant, _) = asker.acts(&host, &query.tenant, Permission::ManageSettings).await?;
    let rows = host.webhooks.list(&tenant).await?;
    let listed: Vec<_> = rows.iter().map(|(name, row)| webhooks::view(&tenant, name, row)).collect();
    Ok(Json(json!({ "webhooks": listed })))
}
