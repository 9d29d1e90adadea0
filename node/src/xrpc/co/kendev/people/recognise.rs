//! `co.kendev.people.recognise`: recognises somebody of a business for what they did.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::super::business::{person, view};
use super::super::tenants::Asker;
use crate::business::NewRecognition;
use crate::http::XrpcError;
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;
use crate::xrpc::types::people::RecogniseInput;

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    asker: Asker,
    Input(request): Input<RecogniseInput>,
) -> Result<Json<Value>, XrpcError> {
    let (tenant, actor) = asker.reads(&host, &request.tenant).await?;
    let by = person(actor)?;
    host.limits.writes(&by, 1)?;
    let RecogniseInput { to_user: to, r#type: kind, reason, related_content: content, .. } = request;
    let given = host.business.recognise(&tenant, &by, NewRecognition { to, kind, reason, content }).await?;
    Ok(Json(view(tenant.did(), given)))
}
