//! `com.atproto.server.deactivateAccount`: switches an account off, for the time being or before it is deleted.

use std::sync::Arc;

use angel_protocol::ids::Datetime;
use axum::extract::State;
use serde::Deserialize;

use crate::http::XrpcError;
use crate::xrpc::auth::LeavingAccess;
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request {
    delete_after: Option<Datetime>,
}

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    LeavingAccess(account): LeavingAccess,
    Input(request): Input<Request>,
) -> Result<(), XrpcError> {
    Ok(host.lifecycle.deactivate(&account, request.delete_after.and_then(|at| at.timestamp())).await?)
}
