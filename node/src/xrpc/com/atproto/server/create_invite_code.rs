//! `com.atproto.server.createInviteCode`: an invite code of the operator's, perhaps for an account to give away.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::create_invite_codes::make;
use crate::http::XrpcError;
use crate::xrpc::auth::Operator;
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request {
    use_count: u16,
    for_account: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct Output {
    code: String,
}

pub(crate) async fn handler(
    _: Operator,
    State(host): State<Arc<Host>>,
    Input(Request { use_count, for_account }): Input<Request>,
) -> Result<Json<Output>, XrpcError> {
    let codes = make(&host, for_account.as_deref().unwrap_or("admin"), 1, use_count).await?;
    let code = codes.into_iter().next().ok_or_else(|| XrpcError::unavailable("no code was made; try again"))?;
    Ok(Json(Output { code }))
}
