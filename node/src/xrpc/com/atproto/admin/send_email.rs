//! `com.atproto.admin.sendEmail`: a letter of the operator's to the owner of an account.

use std::sync::Arc;

use angel_protocol::ids::Did;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use crate::blocking;
use crate::clock;
use crate::http::XrpcError;
use crate::xrpc::auth::Moderator;
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;

/// Longest letter, in bytes: what fits a row of the outbox.
const CONTENT_BYTES_MAX: usize = 12 * 1024;

/// Longest subject line, in bytes.
const SUBJECT_BYTES_MAX: usize = 512;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request {
    recipient_did: Did,
    content: String,
    subject: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct Output {
    sent: bool,
}

pub(crate) async fn handler(
    _: Moderator,
    State(host): State<Arc<Host>>,
    Input(Request { recipient_did, content, subject }): Input<Request>,
) -> Result<Json<Output>, XrpcError> {
    if content.len() > CONTENT_BYTES_MAX || subject.as_ref().is_some_and(|subject| subject.len() > SUBJECT_BYTES_MAX) {
        let text = format!("a letter has at most {CONTENT_BYTES_MAX} bytes, its subject {SUBJECT_BYTES_MAX}");
        return Err(XrpcError::invalid_request(text));
    }
    let account = super::account(&host, &recipient_did).await?;
    let mail = host.mail.clone();
    let send = move || mail.send_text_blocking(&account, subject.as_deref(), &content, clock::now());
    blocking::run(send).await?;
    Ok(Json(Output { sent: true }))
}
