//! `com.atproto.moderation.createReport`: a complaint, kept for the operator. Where the operator names a moderation
//! service, and wherever the client names one, requests go there instead.

use std::sync::Arc;

use angel_protocol::ids::Did;
use angel_storage::accounts::{AccountStatus, ReportRow};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::accounts::Account;
use crate::blocking;
use crate::clock;
use crate::http::XrpcError;
use crate::rate_limits::Limit;
use crate::xrpc::auth::AnyAccess;
use crate::xrpc::com::atproto::admin::subject::{Subject, record};
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;

/// Longest reason in words, in bytes, as the lexicon has it.
const REASON_BYTES_MAX: usize = 20_000;

/// What is kept of it: what fits a row.
const REASON_BYTES_KEPT: usize = 8_000;

/// Longest type of a reason, in bytes.
const TYPE_BYTES_MAX: usize = 512;

/// The reason of whoever wants a decision about themselves changed: the one that an account may give that was taken down.
const APPEAL: &str = "com.atproto.moderation.defs#reasonAppeal";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request {
    reason_type: String,
    reason: Option<String>,
    subject: Subject,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Output {
    id: u64,
    reason_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    subject: Subject,
    reported_by: Did,
    created_at: String,
}

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    AnyAccess(access): AnyAccess,
    Input(Request { reason_type, reason, subject }): Input<Request>,
) -> Result<Json<Output>, XrpcError> {
    let too_long = reason.as_ref().is_some_and(|reason| reason.len() > REASON_BYTES_MAX);
    if too_long || reason_type.is_empty() || reason_type.len() > TYPE_BYTES_MAX {
        return Err(XrpcError::invalid_request("reasonType or reason is missing or too long"));
    }
    let (subject_did, subject_record) = match &subject {
        Subject::Account { did } => (did.clone(), None),
        Subject::Record { uri, cid } => (record(uri)?.0, Some((uri.clone(), cid.clone()))),
        Subject::Blob { .. } => return Err(XrpcError::invalid_request("a complaint is about an account or a record")),
    };
    if is_hidden(&access.account) && reason_type != APPEAL {
        let text = "Report not accepted: the account was taken down";
        return Err(XrpcError::new(StatusCode::FORBIDDEN, "AccountTakedown", text));
    }
    let reported_by = access.account.did().clone();
    host.limits.spend(Limit::Reports, reported_by.as_str(), 1)?;
    let created_at = clock::now();
    let row = ReportRow {
        reported_by: reported_by.clone(),
        reason_type: reason_type.clone(),
        reason: reason.as_deref().map(|reason| shortened(reason).to_owned()),
        subject_did,
        subject_record,
        created_at,
    };
    let reports = host.reports.clone();
    let id = blocking::run(move || reports.add_blocking(&row)).await?;
    tracing::info!(report = id, "somebody complains");
    Ok(Json(Output { id, reason_type, reason, subject, reported_by, created_at: created_at.to_string() }))
}

fn is_hidden(account: &Account) -> bool {
    matches!(account.status(), AccountStatus::TakenDown { .. } | AccountStatus::Suspended)
}

fn shortened(reason: &str) -> &str {
    let mut end = reason.len().min(REASON_BYTES_KEPT);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    &reason[..end]
}
