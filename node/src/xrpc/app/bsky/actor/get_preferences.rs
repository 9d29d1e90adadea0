//! `app.bsky.actor.getPreferences`: what apps keep for an account.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::blocking;
use crate::clock;
use crate::http::XrpcError;
use crate::xrpc::auth::AnyAccess;
use crate::xrpc::host::Host;

#[derive(Serialize)]
pub(crate) struct Output {
    preferences: Vec<Map<String, Value>>,
}

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    AnyAccess(access): AnyAccess,
) -> Result<Json<Output>, XrpcError> {
    let (preferences, is_owner) = (host.preferences.clone(), access.is_owner());
    let known = move || preferences.get_blocking(access.account.id(), is_owner, clock::now());
    Ok(Json(Output { preferences: blocking::run(known).await? }))
}
