//! `co.kendev.spaces.reportMessage`: a complaint about a message, for the operator and for those who moderate the space.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::Shared;
use crate::http::XrpcError;
use crate::spaces::{Asker, NewComplaint, SpaceError};
use crate::xrpc::input::Input;
use crate::xrpc::types::spaces::ReportMessageInput;
use angel_storage::accounts::ReportRow;

use crate::blocking;
use crate::clock;
use crate::rate_limits::Limit;

pub(crate) async fn handler(
    State(host): State<Shared>,
    asker: Asker,
    Input(request): Input<ReportMessageInput>,
) -> Result<Json<Value>, XrpcError> {
    let did = asker.somebody()?.clone();
    if request.reason.is_empty() {
        return Err(XrpcError::invalid_request("the reason is missing or too long"));
    }
    host.limits.spend(Limit::Reports, did.as_str(), 1)?;
    let (spaces, reports) = (host.spaces.clone(), host.reports.clone());
    let (by, reason) = (did.clone(), request.reason.clone());
    let (found, message, id) = blocking::run(move || {
        let (_, found, _, row) = spaces.find_message(&request.uri, Some(&did))?;
        let report = ReportRow {
            reported_by: did,
            reason_type: "com.atproto.moderation.defs#reasonOther".to_owned(),
            reason: Some(request.reason),
            subject_did: row.author.clone(),
            subject_record: Some((request.uri, row.cid.to_string())),
            created_at: clock::now(),
        };
        Ok::<_, XrpcError>((found, row, reports.add_blocking(&report)?))
    })
    .await?;
    match host.spaces.keep_complaint(&found, &message, NewComplaint { number: id, by, reason }).await {
        // Of a space elsewhere only a copy lies here; its own node takes complaints for those who moderate it.
        Ok(()) | Err(SpaceError::HolderElsewhere) => {}
        // The operator has it: whoever complains is not asked to do it again.
        Err(error) => {
            tracing::warn!(holder = %found.row.holder, %error, "a complaint does not reach those who moderate the space");
        }
    }
    Ok(Json(json!({ "id": id })))
}
