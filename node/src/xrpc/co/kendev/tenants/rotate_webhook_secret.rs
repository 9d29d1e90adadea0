//! `co.kendev.tenants.rotateWebhookSecret`: gives a webhook another secret, told this once.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::{Asker, webhooks};
use crate::http::XrpcError;
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;
use crate::xrpc::types::tenants::RotateWebhookSecretInput;

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    asker: Asker,
    Input(request): Input<RotateWebhookSecretInput>,
) -> Result<Json<Value>, XrpcError> {
    let (tenant, actor) = webhooks::settles(&asker, &host, &request.tenant).await?;
    let secret = host.webhooks.rotate(&tenant, actor, &request.id).await?;
    Ok(Json(json!({ "secret": *secret })))
}
