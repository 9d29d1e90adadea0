//! `com.atproto.server.requestEmailConfirmation`: sends the code that confirms the account's address.

use std::sync::Arc;

use angel_storage::accounts::MailPurpose;
use axum::extract::State;

use super::send_code;
use crate::http::XrpcError;
use crate::xrpc::auth::Access;
use crate::xrpc::host::Host;

pub(crate) async fn handler(State(host): State<Arc<Host>>, access: Access) -> Result<(), XrpcError> {
    if access.account.row().email.is_none() {
        return Err(XrpcError::invalid_request("the account has no e-mail address"));
    }
    send_code(&host, access.account, MailPurpose::ConfirmEmail).await
}
