//! `co.kendev.content.submitForm`: sends answers to a form. Anybody may.

use std::sync::Arc;

use angel_protocol::data::Value as Record;
use angel_protocol::forms::Answer;
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::visitor::Visitor;
use crate::business::{BusinessError, NewSubmission};
use crate::http::XrpcError;
use crate::rate_limits::{ClientAddress, Limit};
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;
use crate::xrpc::types::content::{SubmitFormInput, SubmitFormNewAnswer};

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    address: ClientAddress,
    Visitor(visitor): Visitor,
    Input(request): Input<SubmitFormInput>,
) -> Result<Json<Value>, XrpcError> {
    host.limits.spend(Limit::FormAnswers, &address.to_string(), 1)?;
    if let Some(did) = &visitor {
        host.limits.writes(did, 1)?;
    }
    let form = host.business.form(&request.form).await?;
    host.limits.spend(Limit::AnswersOfForm, &form.uri(), 1)?;
    let is_colleague = visitor.as_ref().is_some_and(|did| host.tenants.role(form.tenant.did(), did).is_some());
    let answer = |answer: SubmitFormNewAnswer| Answer { name: answer.name, value: answer.value, file: answer.file };
    let wish = NewSubmission {
        answers: request.answers.into_iter().map(answer).collect(),
        consent: request.consent == Some(true),
        completion_seconds: request.completion_seconds,
        utm: request.utm,
        submitter: visitor,
    };
    let taken = host.business.submit(&form, wish).await.map_err(|error| told(error, is_colleague))?;
    let mut answer = json!({});
    for field in ["submittedAt", "deleteAfter"] {
        if let Some(at) = taken.record.get(field).and_then(Record::as_str) {
            answer[field] = at.into();
        }
    }
    Ok(Json(answer))
}

/// How a business stands with its plan is for its own people. A stranger learns that there is no room.
fn told(error: BusinessError, is_colleague: bool) -> BusinessError {
    match error {
        BusinessError::Closed(_) => BusinessError::FormNotFound,
        BusinessError::Limit(_) | BusinessError::Feature(_) if !is_colleague => BusinessError::FormClosed,
        error => error,
    }
}
