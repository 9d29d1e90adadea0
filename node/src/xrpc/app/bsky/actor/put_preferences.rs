//! `app.bsky.actor.putPreferences`: replaces what apps keep for an account.

use std::sync::Arc;

use axum::extract::State;
use serde::Deserialize;
use serde_json::Value;

use crate::blocking;
use crate::http::XrpcError;
use crate::xrpc::auth::Access;
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;

#[derive(Deserialize)]
pub(crate) struct Request {
    preferences: Vec<Value>,
}

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    access: Access,
    Input(request): Input<Request>,
) -> Result<(), XrpcError> {
    let (preferences, is_owner) = (host.preferences.clone(), access.is_owner());
    let put = move || preferences.put_blocking(access.account.id(), is_owner, request.preferences);
    Ok(blocking::run(put).await?)
}
