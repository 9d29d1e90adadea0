//! `co.kendev.spaces.blockPerson`: the caller takes no direct messages from somebody, or takes them again.

use angel_protocol::ids::Did;
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use crate::http::XrpcError;
use crate::spaces::Asker;
use crate::xrpc::input::Input;

#[derive(Deserialize)]
pub(crate) struct Request {
    user: Did,
    /// Taken again.
    #[serde(default)]
    lift: bool,
}

pub(crate) async fn handler(
    State(host): State<Shared>,
    asker: Asker,
    Input(Request { user, lift }): Input<Request>,
) -> Result<Json<Value>, XrpcError> {
    host.limits.writes(asker.somebody()?, 1)?;
    host.spaces.block(&asker, &user, lift).await?;
    Ok(Json(json!({})))
}
