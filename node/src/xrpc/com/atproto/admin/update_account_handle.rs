//! `com.atproto.admin.updateAccountHandle`: another handle for an account, also one that its owner could not choose.

use std::sync::Arc;

use angel_protocol::ids::Did;
use axum::extract::State;
use serde::Deserialize;

use crate::http::XrpcError;
use crate::xrpc::auth::Operator;
use crate::xrpc::com::atproto::server::create_account::checked_handle;
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;

#[derive(Deserialize)]
pub(crate) struct Request {
    did: Did,
    handle: String,
}

pub(crate) async fn handler(
    _: Operator,
    State(host): State<Arc<Host>>,
    Input(Request { did, handle }): Input<Request>,
) -> Result<(), XrpcError> {
    let handle = checked_handle(&handle)?;
    let account = super::account(&host, &did).await?;
    Ok(host.handles.change(&account, &handle, true).await?)
}
