//! `co.kendev.spaces.updateChannel`: changes of a channel: the fields that are given.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use crate::http::XrpcError;
use crate::spaces::{Asker, NewSettings};
use crate::xrpc::input::Input;
use std::collections::BTreeSet;

use angel_protocol::spaces::{ChannelVisibility, Role};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request {
    channel: String,
    name: Option<String>,
    description: Option<String>,
    channel_type: Option<String>,
    visibility: Option<ChannelVisibility>,
    /// The department that its messages are of when they do not say.
    department: Option<String>,
    allowed_roles: Option<BTreeSet<Role>>,
    guest_access: Option<bool>,
}

pub(crate) async fn handler(
    State(host): State<Shared>,
    asker: Asker,
    Input(request): Input<Request>,
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
        allowed_roles: request.allowed_roles,
        guest_access: request.guest_access,
    };
    let written = host.spaces.update_channel(&asker, &request.channel, changes, settings).await?;
    Ok(super::written(&written))
}
