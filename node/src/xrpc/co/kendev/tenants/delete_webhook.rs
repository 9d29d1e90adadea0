//! `co.kendev.tenants.deleteWebhook`: takes a webhook away. The operator may, too.

use std::sync::Arc;

use angel_protocol::tenants::Permission;
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::Asker;
use crate::http::XrpcError;
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;
use crate::xrpc::types::tenants::DeleteWebhookInput;

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    asker: Asker,
    Input(request): Input<DeleteWebhookInput>,
) -> Result<Json<Value>, XrpcError> {
    let (tenant, actor) = asker.acts(&host, &request.tenant, Permission::ManageSettings).await?;
    host.webhooks.delete(&tenant, actor, &request.id).await?;
    Ok(Json(json!({})))
}
