//! `co.kendev.business.logActivity`: notes what happened with a lead, and scores it anew.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::super::tenants::Asker;
use super::{lead_of, person, view};
use crate::business::NewActivity;
use crate::http::XrpcError;
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;
use crate::xrpc::types::business::LogActivityInput;

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    asker: Asker,
    Input(request): Input<LogActivityInput>,
) -> Result<Json<Value>, XrpcError> {
    let (tenant, path, actor) = lead_of(&host, &asker, &request.lead).await?;
    let by = person(actor)?;
    host.limits.writes(&by, 1)?;
    let LogActivityInput { r#type: kind, subject, outcome, next_action, .. } = request;
    let activity = NewActivity { kind, subject, outcome, next_action };
    let after = host.business.log_activity(&tenant, &by, &path, activity).await?;
    Ok(Json(view(tenant.did(), after)))
}
