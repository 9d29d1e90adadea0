//! `com.atproto.server.revokeAppPassword`: the end of an app password and of its sessions.

use std::sync::Arc;

use axum::extract::State;
use serde::Deserialize;

use crate::blocking;
use crate::http::XrpcError;
use crate::xrpc::auth::Access;
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;

#[derive(Deserialize)]
pub(crate) struct Request {
    name: String,
}

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    access: Access,
    Input(Request { name }): Input<Request>,
) -> Result<(), XrpcError> {
    let sessions = host.sessions.clone();
    blocking::run(move || sessions.revoke_app_password_blocking(access.account.id(), &name)).await?;
    Ok(())
}
