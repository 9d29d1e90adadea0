//! `co.kendev.spaces.setChannelAccess`: what one member may do in one channel, whatever their role.

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::{Shared, membership};
use crate::http::XrpcError;
use crate::spaces::Asker;
use crate::xrpc::input::Input;
use crate::xrpc::types::spaces::SetChannelAccessInput;

pub(crate) async fn handler(
    State(host): State<Shared>,
    asker: Asker,
    Input(SetChannelAccessInput { channel, user, access }): Input<SetChannelAccessInput>,
) -> Result<Json<Value>, XrpcError> {
    let did = asker.somebody()?;
    host.limits.writes(did, 1)?;
    Ok(membership(&host.spaces.set_channel_access(&channel, did, &user, access).await?))
}
