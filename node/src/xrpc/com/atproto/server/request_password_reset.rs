//! `com.atproto.server.requestPasswordReset`: sends a code to whoever forgot the password. The answer is the same
//! whether or not the address is known, so that nobody learns who lives here.

use std::sync::Arc;

use angel_storage::accounts::MailPurpose;
use axum::extract::State;
use serde::Deserialize;

use super::send_code;
use crate::blocking;
use crate::http::XrpcError;
use crate::rate_limits::{ClientAddress, Limit};
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;

#[derive(Deserialize)]
pub(crate) struct Request {
    email: String,
}

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    address: ClientAddress,
    Input(Request { email }): Input<Request>,
) -> Result<(), XrpcError> {
    host.limits.spend(Limit::MailsByAddress, &address.to_string(), 1)?;
    if email.len() > 254 {
        return Ok(());
    }
    let accounts = host.accounts.clone();
    let account = blocking::run(move || accounts.by_email_blocking(&email)).await?;
    if let Some(account) = account {
        // Past the account's own limit nothing is sent, and nothing is said either.
        drop(send_code(&host, account, MailPurpose::ResetPassword).await);
    }
    Ok(())
}
