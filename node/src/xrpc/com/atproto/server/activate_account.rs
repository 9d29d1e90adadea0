//! `com.atproto.server.activateAccount`: switches an account on, once its identity leads here.

use std::sync::Arc;

use axum::extract::State;

use crate::http::XrpcError;
use crate::xrpc::auth::FullAccess;
use crate::xrpc::host::Host;

pub(crate) async fn handler(State(host): State<Arc<Host>>, FullAccess(account): FullAccess) -> Result<(), XrpcError> {
    Ok(host.lifecycle.activate(&account).await?)
}
