//! `co.kendev.tenants.updateWebhook`: changes a webhook, pauses it, or has it called again.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::{Asker, webhooks};
use crate::http::XrpcError;
use crate::webhooks::Wishes;
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;
use crate::xrpc::types::tenants::UpdateWebhookInput;

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    asker: Asker,
    Input(request): Input<UpdateWebhookInput>,
) -> Result<Json<Value>, XrpcError> {
    let (tenant, actor) = webhooks::settles(&asker, &host, &request.tenant).await?;
    let wishes = Wishes { url: request.url, events: request.events, paused: request.paused, skip: request.skip };
    let row = host.webhooks.update(&tenant, actor, &request.id, wishes).await?;
    Ok(Json(json!({ "webhook": webhooks::view(&tenant, &request.id, &row) })))
}
