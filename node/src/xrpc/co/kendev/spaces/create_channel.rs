//! `co.kendev.spaces.createChannel`: a new channel of a space.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::Shared;
use crate::http::XrpcError;
use crate::spaces::{Asker, NewSettings};
use crate::xrpc::input::Input;
use crate::xrpc::types::spaces::CreateChannelInput;
use angel_protocol::spaces::ChannelVisibility;

pub(crate) async fn handler(
    State(host): State<Shared>,
    asker: Asker,
    Input(request): Input<CreateChannelInput>,
) -> Result<Json<Value>, XrpcError> {
    host.limits.writes(asker.somebody()?, 3)?;
    let mut record = json!({
        "name": request.name,
        "channelType": request.channel_type,
        "accessControl": { "visibility": request.visibility.unwrap_or(ChannelVisibility::Public) },
    });
    if let Some(description) = request.description {
        record["description"] = description.into();
    }
    let settings = NewSettings {
        department: request.department,
        allowed_roles: request.allowed_roles.map(|roles| roles.into_iter().collect()),
        guest_access: request.guest_access,
    };
    let written = host.spaces.create_channel(&asker, &request.space, record, settings).await?;
    Ok(super::written(&written))
}
