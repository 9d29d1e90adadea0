//! `co.kendev.content.deleteSubmission`: deletes answers to a form before their time.

use std::sync::Arc;

use angel_protocol::business::FORM_SUBMISSION;
use angel_protocol::tenants::Permission;
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::super::business::person;
use super::super::tenants::Asker;
use crate::business::{BusinessError, address};
use crate::http::XrpcError;
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;
use crate::xrpc::types::content::DeleteSubmissionInput;

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    asker: Asker,
    Input(request): Input<DeleteSubmissionInput>,
) -> Result<Json<Value>, XrpcError> {
    let (did, path) = address(&request.submission, FORM_SUBMISSION).ok_or(BusinessError::RecordNotFound)?;
    // Whether there is such a business here is no more for strangers than whether there are such answers.
    host.tenants.role(&did, asker.person()?).ok_or(BusinessError::RecordNotFound)?;
    let (tenant, actor) = asker.acts(&host, did.as_str(), Permission::ManageContent).await?;
    host.limits.writes(&person(actor)?, 1)?;
    host.business.forget_submission(&tenant, &path).await?;
    Ok(Json(json!({})))
}
