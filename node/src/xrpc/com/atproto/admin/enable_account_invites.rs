//! `com.atproto.admin.enableAccountInvites`: an account gets invite codes again.

use std::sync::Arc;

use axum::extract::State;

use super::disable_account_invites::{Request, set};
use crate::http::XrpcError;
use crate::xrpc::auth::Moderator;
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;

pub(crate) async fn handler(
    _: Moderator,
    State(host): State<Arc<Host>>,
    Input(request): Input<Request>,
) -> Result<(), XrpcError> {
    set(&host, request, false).await
}
