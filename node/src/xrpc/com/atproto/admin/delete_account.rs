//! `com.atproto.admin.deleteAccount`: deletes an account for good.

use std::sync::Arc;

use angel_protocol::ids::Did;
use axum::extract::State;
use serde::Deserialize;

use crate::http::XrpcError;
use crate::xrpc::auth::Operator;
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;

#[derive(Deserialize)]
pub(crate) struct Request {
    did: Did,
}

pub(crate) async fn handler(
    _: Operator,
    State(host): State<Arc<Host>>,
    Input(Request { did }): Input<Request>,
) -> Result<(), XrpcError> {
    let account = super::account(&host, &did).await?;
    Ok(host.lifecycle.delete(account.id()).await?)
}
