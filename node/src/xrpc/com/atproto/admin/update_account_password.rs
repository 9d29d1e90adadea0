//! `com.atproto.admin.updateAccountPassword`: another password for an account. Ends its sessions.

use std::sync::Arc;

use angel_protocol::ids::Did;
use axum::extract::State;
use serde::Deserialize;

use crate::blocking;
use crate::clock;
use crate::http::XrpcError;
use crate::passwords::Password;
use crate::xrpc::auth::Operator;
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;

#[derive(Deserialize)]
pub(crate) struct Request {
    did: Did,
    password: Password,
}

pub(crate) async fn handler(
    _: Operator,
    State(host): State<Arc<Host>>,
    Input(Request { did, password }): Input<Request>,
) -> Result<(), XrpcError> {
    let id = super::account(&host, &did).await?.id();
    let hashed = host.passwords.hash(&password).await?;
    let lifecycle = host.lifecycle.clone();
    let set = move || lifecycle.set_password_blocking(id, &hashed, clock::now(), |_| Ok(()));
    Ok(blocking::run(set).await?)
}
