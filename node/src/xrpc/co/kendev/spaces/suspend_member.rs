//! `co.kendev.spaces.suspendMember`: a membership is switched off for the time being, or on again.

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::{Shared, sanction};
use crate::http::XrpcError;
use crate::spaces::{Asker, Change};
use crate::xrpc::input::Input;
use crate::xrpc::types::spaces::SuspendMemberInput;

pub(crate) async fn handler(
    State(host): State<Shared>,
    asker: Asker,
    Input(request): Input<SuspendMemberInput>,
) -> Result<Json<Value>, XrpcError> {
    let change = Change::Suspend(!request.lift.unwrap_or_default());
    sanction(&host, &asker, (&request.space, &request.user), change).await
}
