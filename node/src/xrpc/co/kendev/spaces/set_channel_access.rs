//! `co.kendev.spaces.setChannelAccess`: what one member may do in one channel, whatever their role.

use angel_protocol::ids::Did;
use angel_protocol::spaces::ChannelAccess;
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::Value;

use super::{Shared, membership};
use crate::http::XrpcError;
use crate::spaces::Asker;
use crate::xrpc::input::Input;

#[derive(Deserialize)]
pub(crate) struct Request {
    channel: String,
    user: Did,
    /// As the role says, when absent.
    access: Option<ChannelAccess>,
}

pub(crate) async fn handler(
    State(host): State<Shared>,
    asker: Asker,
    Input(Request { channel, user, access }): Input<Request>,
) -> Result<Json<Value>, XrpcError> {
    let did = asker.somebody()?;
    host.limits.writes(did, 1)?;
    Ok(membership(&host.spaces.set_channel_access(&channel, did, &user, access).await?))
}
