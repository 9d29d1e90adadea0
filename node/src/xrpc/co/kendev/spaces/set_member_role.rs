//! `co.kendev.spaces.setMemberRole`: another role for a member, or permissions besides.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use crate::http::XrpcError;
use crate::spaces::{Asker, Change};
use crate::xrpc::input::Input;
use std::collections::BTreeSet;

use angel_protocol::ids::Did;
use angel_protocol::spaces::{Permission, Role};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request {
    space: String,
    user: Did,
    role: Role,
    custom_permissions: Option<BTreeSet<Permission>>,
}

pub(crate) async fn handler(
    State(host): State<Shared>,
    asker: Asker,
    Input(request): Input<Request>,
) -> Result<Json<Value>, XrpcError> {
    let change = Change::Role(request.role, request.custom_permissions);
    let membership = host.spaces.change_member(&request.space, asker.somebody()?, &request.user, change).await?;
    Ok(Json(json!({ "role": membership.role, "status": membership.status })))
}
