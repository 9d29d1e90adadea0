//! `com.atproto.simplespace.putMember`: what somebody may do in a space.

use angel_protocol::ids::Did;
use angel_protocol::permissioned::{Member, SpaceUri};
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use crate::http::XrpcError;
use crate::xrpc::auth::{ActiveAccess, FullAccess};
use crate::xrpc::input::Input;

#[derive(Deserialize)]
pub(crate) struct Request {
    space: SpaceUri,
    did: Did,
    read: bool,
    write: bool,
}

pub(crate) async fn handler(
    State(host): State<Shared>,
    _active: ActiveAccess,
    FullAccess(account): FullAccess,
    Input(Request { space, did, read, write }): Input<Request>,
) -> Result<Json<Value>, XrpcError> {
    super::own(&host, &account, &space).await?;
    host.limits.writes(account.did(), 1)?;
    host.permissioned.set_member(&space, &did, Some(Member { read, write })).await?;
    Ok(Json(json!({})))
}
