//! `com.atproto.simplespace.deleteSpace`: a space is gone, and everybody who follows it is told.

use angel_protocol::permissioned::SpaceUri;
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
}

pub(crate) async fn handler(
    State(host): State<Shared>,
    _active: ActiveAccess,
    FullAccess(account): FullAccess,
    Input(Request { space }): Input<Request>,
) -> Result<Json<Value>, XrpcError> {
    super::own(&host, &account, &space).await?;
    host.limits.writes(account.did(), 3)?;
    host.permissioned.delete_space(&space).await?;
    Ok(Json(json!({})))
}
