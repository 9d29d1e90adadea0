//! `co.kendev.people.revokeRecognition`: takes a recognition back.

use std::sync::Arc;

use angel_protocol::people::RECOGNITION;
use angel_protocol::tenants::Permission;
use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::super::business::{person, view};
use super::super::tenants::Asker;
use crate::business::{BusinessError, address};
use crate::http::XrpcError;
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;
use crate::xrpc::types::people::RevokeRecognitionInput;

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    asker: Asker,
    Input(request): Input<RevokeRecognitionInput>,
) -> Result<Json<Value>, XrpcError> {
    let (did, path) = address(&request.recognition, RECOGNITION).ok_or(BusinessError::RecordNotFound)?;
    // Whether there is such a business here, and such a record in it, is one question to whoever does not belong to it.
    host.tenants.role(&did, asker.person()?).ok_or(BusinessError::RecordNotFound)?;
    let (tenant, actor) = asker.reads(&host, did.as_str()).await?;
    let by = person(actor)?;
    host.limits.writes(&by, 1)?;
    let manages = host.tenants.allows(&did, &by, Permission::ManageUsers);
    let taken_back = host.business.revoke_recognition(&tenant, &by, manages, &path).await?;
    Ok(Json(view(tenant.did(), taken_back)))
}
