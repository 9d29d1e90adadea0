//! `co.kendev.spaces.setMemberRole`: another role for a member, or permissions besides.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::Shared;
use crate::http::XrpcError;
use crate::spaces::{Asker, Change};
use crate::xrpc::input::Input;
use crate::xrpc::types::spaces::SetMemberRoleInput;

pub(crate) async fn handler(
    State(host): State<Shared>,
    asker: Asker,
    Input(request): Input<SetMemberRoleInput>,
) -> Result<Json<Value>, XrpcError> {
    let permissions = request.custom_permissions.map(|listed| listed.into_iter().collect());
    let change = Change::Role(request.role, permissions);
    let membership = host.spaces.change_member(&request.space, asker.somebody()?, &request.user, change).await?;
    Ok(Json(json!({ "role": membership.role, "status": membership.status })))
}
