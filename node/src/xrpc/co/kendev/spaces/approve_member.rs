//! `co.kendev.spaces.approveMember`: somebody who asked to join is let in, or not.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use crate::http::XrpcError;
use crate::spaces::{Asker, Change};
use crate::xrpc::input::Input;
use angel_protocol::ids::Did;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request {
    space: String,
    user: Did,
    /// Let in, unless it says no.
    approve: Option<bool>,
}

pub(crate) async fn handler(
    State(host): State<Shared>,
    asker: Asker,
    Input(request): Input<Request>,
) -> Result<Json<Value>, XrpcError> {
    let change = Change::Approve(request.approve.unwrap_or(true));
    let membership = host.spaces.change_member(&request.space, asker.somebody()?, &request.user, change).await?;
    Ok(Json(json!({ "role": membership.role, "status": membership.status })))
}
