//! `com.atproto.server.requestAccountDelete`: sends the code without which an account is not deleted.

use std::sync::Arc;

use angel_storage::accounts::MailPurpose;
use axum::extract::State;

use super::send_code;
use crate::http::XrpcError;
use crate::xrpc::auth::FullAccess;
use crate::xrpc::host::Host;

pub(crate) async fn handler(State(host): State<Arc<Host>>, FullAccess(account): FullAccess) -> Result<(), XrpcError> {
    send_code(&host, account, MailPurpose::DeleteAccount).await
}
