//! `co.kendev.spaces.inviteMember`: an invitation, whose token is shown this once.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::Shared;
use crate::http::XrpcError;
use crate::spaces::Asker;
use crate::xrpc::input::Input;
use crate::xrpc::types::spaces::InviteMemberInput;
use angel_protocol::spaces::Role;

pub(crate) async fn handler(
    State(host): State<Shared>,
    asker: Asker,
    Input(request): Input<InviteMemberInput>,
) -> Result<Json<Value>, XrpcError> {
    let (did, role) = (asker.somebody()?, request.role.unwrap_or(Role::Member));
    host.limits.writes(did, 1)?;
    let days = Some(u32::from(request.expires_in_days));
    let made = host.spaces.invite(&request.space, did, request.user, role, days).await?;
    Ok(Json(json!({ "token": made.token, "expiresAt": made.expires_at.to_string() })))
}
