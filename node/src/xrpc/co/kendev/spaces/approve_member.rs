//! `co.kendev.spaces.approveMember`: somebody who asked to join is let in, or not.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::Shared;
use crate::http::XrpcError;
use crate::spaces::{Asker, Change};
use crate::xrpc::input::Input;
use crate::xrpc::types::spaces::ApproveMemberInput;

pub(crate) async fn handler(
    State(host): State<Shared>,
    asker: Asker,
    Input(request): Input<ApproveMemberInput>,
) -> Result<Json<Value>, XrpcError> {
    let change = Change::Approve(request.approve.unwrap_or(true));
    let membership = host.spaces.change_member(&request.space, asker.somebody()?, &request.user, change).await?;
    Ok(Json(json!({ "role": membership.role, "status": membership.status })))
}
