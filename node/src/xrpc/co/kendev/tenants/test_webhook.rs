//! `co.kendev.tenants.testWebhook`: calls a webhook once, to see whether it takes calls.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::{Asker, webhooks};
use crate::http::XrpcError;
use crate::webhooks::Tried;
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;
use crate::xrpc::types::tenants::TestWebhookInput;

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    asker: Asker,
    Input(request): Input<TestWebhookInput>,
) -> Result<Json<Value>, XrpcError> {
    let (tenant, actor) = webhooks::settles(&asker, &host, &request.tenant).await?;
    if let Some(did) = actor.did() {
        host.limits.writes(did, 1)?;
    }
    let Tried { delivered, status, why } = host.webhooks.try_out(&tenant, &request.id).await?;
    let mut answer = json!({ "delivered": delivered });
    if let Some(status) = status {
        answer["status"] = status.into();
    }
    if let Some(why) = why {
        answer["message"] = why.into();
    }
    Ok(Json(answer))
}
