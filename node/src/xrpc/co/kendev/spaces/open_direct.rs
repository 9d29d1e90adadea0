//! `co.kendev.spaces.openDirect`: a conversation with one other person.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::Shared;
use crate::http::XrpcError;
use crate::rate_limits::Limit;
use crate::spaces::Asker;
use crate::xrpc::input::Input;
use crate::xrpc::types::spaces::OpenDirectInput;

pub(crate) async fn handler(
    State(host): State<Shared>,
    asker: Asker,
    Input(OpenDirectInput { user }): Input<OpenDirectInput>,
) -> Result<Json<Value>, XrpcError> {
    let did = asker.somebody()?;
    host.limits.spend(Limit::SpaceMessages, did.as_str(), 1)?;
    host.limits.writes(did, 3)?;
    let opened = host.spaces.open_direct(&asker, &user).await?;
    Ok(Json(json!({ "uri": opened.uri, "status": opened.status })))
}
