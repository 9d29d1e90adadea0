//! `co.kendev.tenants.createWebhook`: makes a webhook. Its secret is told this once.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::{Asker, webhooks};
use crate::http::XrpcError;
use crate::webhooks::NewWebhook;
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;
use crate::xrpc::types::tenants::CreateWebhookInput;

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    asker: Asker,
    Input(request): Input<CreateWebhookInput>,
) -> Result<Json<Value>, XrpcError> {
    let (tenant, actor) = webhooks::settles(&asker, &host, &request.tenant).await?;
    let wish = NewWebhook { url: request.url, events: request.events.unwrap_or_default() };
    let (name, row, secret) = host.webhooks.create(&tenant, actor, wish).await?;
    Ok(Json(json!({ "webhook": webhooks::view(&tenant, &name, &row), "secret": *secret })))
}
