//! `co.kendev.spaces.settleReport`: somebody who moderates a space has looked at a complaint, and is done with it. What it is
//! about is hidden by `hideMessage`.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::Shared;
use crate::http::XrpcError;
use crate::spaces::Asker;
use crate::xrpc::input::Input;
use crate::xrpc::types::spaces::SettleReportInput;

pub(crate) async fn handler(
    State(host): State<Shared>,
    asker: Asker,
    Input(request): Input<SettleReportInput>,
) -> Result<Json<Value>, XrpcError> {
    let SettleReportInput { space, id, note } = request;
    host.spaces.settle_complaint(&space, asker.somebody()?, id, note).await?;
    Ok(Json(json!({})))
}
