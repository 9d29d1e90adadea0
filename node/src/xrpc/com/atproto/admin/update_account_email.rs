//! `com.atproto.admin.updateAccountEmail`: another e-mail address for an account.

use std::sync::Arc;

use angel_protocol::ids::AtIdentifier;
use axum::extract::State;
use serde::Deserialize;

use crate::accounts::AccountError;
use crate::blocking;
use crate::http::XrpcError;
use crate::xrpc::auth::Operator;
use crate::xrpc::com::atproto::server::create_account::checked_email;
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;

#[derive(Deserialize)]
pub(crate) struct Request {
    account: AtIdentifier,
    email: String,
}

pub(crate) async fn handler(
    _: Operator,
    State(host): State<Arc<Host>>,
    Input(Request { account, email }): Input<Request>,
) -> Result<(), XrpcError> {
    let email = checked_email(&email)?;
    let account = host.accounts.find(&account).await?.ok_or(AccountError::NotFound)?;
    let lifecycle = host.lifecycle.clone();
    Ok(blocking::run(move || lifecycle.set_email_blocking(account.id(), &email, |_| Ok(()))).await?)
}
