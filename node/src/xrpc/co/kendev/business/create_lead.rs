//! `co.kendev.business.createLead`: takes a lead in. One that is known by its e-mail address is brought up to date.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::super::tenants::Asker;
use super::{LEADS, person, view};
use crate::http::XrpcError;
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;
use crate::xrpc::types::business::CreateLeadInput;

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    asker: Asker,
    Input(request): Input<CreateLeadInput>,
) -> Result<Json<Value>, XrpcError> {
    let (tenant, actor) = asker.acts(&host, &request.tenant, LEADS).await?;
    let by = person(actor)?;
    host.limits.writes(&by, 1)?;
    let (lead, is_new) = host.business.take_lead(&tenant, &by, &request.record).await?;
    let mut answer = view(tenant.did(), lead);
    answer["created"] = is_new.into();
    Ok(Json(answer))
}
