//! `com.atproto.identity.updateHandle`: another handle for the account.

use std::sync::Arc;

use axum::extract::State;
use serde::Deserialize;

use super::handle;
use crate::http::XrpcError;
use crate::rate_limits::Limit;
use crate::xrpc::auth::Access;
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;

#[derive(Deserialize)]
pub(crate) struct Request {
    handle: String,
}

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    access: Access,
    Input(request): Input<Request>,
) -> Result<(), XrpcError> {
    let account = access.account;
    host.limits.spend(Limit::HandlesByDay, account.did().as_str(), 1)?;
    host.limits.spend(Limit::Handles, account.did().as_str(), 1)?;
    Ok(host.handles.change(&account, &handle(&request.handle)?, false).await?)
}
