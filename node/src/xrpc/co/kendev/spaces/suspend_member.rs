//! `co.kendev.spaces.suspendMember`: a membership is switched off for the time being, or on again.

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::{Sanction, Shared};
use crate::http::XrpcError;
use crate::spaces::{Asker, Change};
use crate::xrpc::input::Input;

pub(crate) async fn handler(
    State(host): State<Shared>,
    asker: Asker,
    Input(request): Input<Sanction>,
) -> Result<Json<Value>, XrpcError> {
    let change = Change::Suspend(!request.lift);
    request.change(&host, &asker, change).await
}
