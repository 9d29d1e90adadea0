//! `com.atproto.server.reserveSigningKey`: the public half of a key for an account that is to move here.

use std::sync::Arc;

use angel_protocol::ids::Did;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use crate::blocking;
use crate::clock;
use crate::http::XrpcError;
use crate::rate_limits::{ClientAddress, Limit};
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;

#[derive(Deserialize)]
pub(crate) struct Request {
    did: Option<Did>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Output {
    signing_key: Did,
}

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    address: ClientAddress,
    Input(Request { did }): Input<Request>,
) -> Result<Json<Output>, XrpcError> {
    host.limits.spend(Limit::SignUps, &address.to_string(), 1)?;
    let accounts = host.accounts.clone();
    let signing_key = blocking::run(move || accounts.reserve_key_blocking(did.as_ref(), clock::now())).await?;
    Ok(Json(Output { signing_key }))
}
