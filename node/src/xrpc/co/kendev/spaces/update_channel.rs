//! `co.kendev.spaces.updateChannel`: changes of a channel: the fields that are given.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::Shared;
use crate::http::XrpcError;
use crate::spaces::{Asker, NewSettings};
use crate::xrpc::input::Input;
use crate::xrpc::types::spaces::UpdateChannelInput;
pub(crate) async fn handler(
    State(host): State<Shared>,
    asker: Asker,
    Input(request): Input<UpdateChannelInput>,
) -> Result<Json<Value>, XrpcError> {
    host.limits.writes(asker.somebody()?, 2)?;
    let mut changes = json!({});
    let texts = [("name", request.name), ("description", request.description), ("channelType", request.channel_type)];
    for (name, text) in texts {
        if let Some(text) = text {
            changes[name] = text.into();
        }
    }
    if let Some(visibility) = request.visibility {
        changes["accessControl"] = json!({ "visibility": visibility });
    }
    let settings = NewSettings {
        department: request.department,
        allowed_roles: request.allowed_roles.map(|roles| roles.into_iter().collect()),
        guest_access: request.guest_access,
    };
    let written = host.spaces.update_channel(&asker, &request.channel, changes, settings).await?;
    Ok(super::written(&written))
}
