//! `co.kendev.spaces.inviteMember`: an invitation, whose token is shown this once.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use crate::http::XrpcError;
use crate::spaces::Asker;
use crate::xrpc::input::Input;
use angel_protocol::ids::Did;
use angel_protocol::spaces::Role;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request {
    space: String,
    /// Whom it is for; anybody who has it without one.
    user: Option<Did>,
    role: Option<Role>,
    expires_in_days: Option<u32>,
}

pub(crate) async fn handler(
    State(host): State<Shared>,
    asker: Asker,
    Input(request): Input<Request>,
) -> Result<Json<Value>, XrpcError> {
    let (did, role) = (asker.somebody()?, request.role.unwrap_or(Role::Member));
    host.limits.writes(did, 1)?;
    let made = host.spaces.invite(&request.space, did, request.user, role, request.expires_in_days).await?;
    Ok(Json(json!({ "token": made.token, "expiresAt": made.expires_at.to_string() })))
}
