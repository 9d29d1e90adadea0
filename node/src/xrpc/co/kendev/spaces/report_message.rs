//! `co.kendev.spaces.reportMessage`: a complaint about a message.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use crate::http::XrpcError;
use crate::spaces::Asker;
use crate::xrpc::input::Input;
use angel_storage::accounts::ReportRow;

use crate::blocking;
use crate::clock;
use crate::rate_limits::Limit;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request {
    uri: String,
    reason: String,
}

pub(crate) async fn handler(
    State(host): State<Shared>,
    asker: Asker,
    Input(request): Input<Request>,
) -> Result<Json<Value>, XrpcError> {
    let did = asker.somebody()?.clone();
    if request.reason.is_empty() || request.reason.len() > super::REASON_BYTES_MAX {
        return Err(XrpcError::invalid_request("the reason is missing or too long"));
    }
    host.limits.spend(Limit::Reports, did.as_str(), 1)?;
    let (spaces, reports) = (host.spaces.clone(), host.reports.clone());
    let id = blocking::run(move || {
        let (_, _, _, row) = spaces.find_message(&request.uri, Some(&did))?;
        let report = ReportRow {
            reported_by: did,
            reason_type: "com.atproto.moderation.defs#reasonOther".to_owned(),
            reason: Some(request.reason),
            subject_did: row.author,
            subject_record: Some((request.uri, row.cid.to_string())),
            created_at: clock::now(),
        };
        Ok::<_, XrpcError>(reports.add_blocking(&report)?)
    })
    .await?;
    Ok(Json(json!({ "id": id })))
}
