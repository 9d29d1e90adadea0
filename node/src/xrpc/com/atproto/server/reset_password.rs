//! `com.atproto.server.resetPassword`: a new password for whoever has the code from the mail. Ends every session.

use std::sync::Arc;

use angel_storage::accounts::MailPurpose;
use axum::extract::State;
use serde::Deserialize;

use crate::blocking;
use crate::clock;
use crate::http::XrpcError;
use crate::lifecycle::LifecycleError;
use crate::mail::CodeRefused;
use crate::passwords::Password;
use crate::rate_limits::{ClientAddress, Limit};
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;

#[derive(Deserialize)]
pub(crate) struct Request {
    token: String,
    password: Password,
}

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    address: ClientAddress,
    Input(Request { token, password }): Input<Request>,
) -> Result<(), XrpcError> {
    host.limits.spend(Limit::PasswordResets, &address.to_string(), 1)?;
    let hashed = host.passwords.hash(&password).await?;
    let (lifecycle, mail) = (host.lifecycle.clone(), host.mail.clone());
    let reset = move || {
        let id = mail.codes().account_of_reset_blocking(&token)?.ok_or(CodeRefused::Invalid)?;
        let now = clock::now();
        lifecycle.set_password_blocking(id, &hashed, now, |batch| {
            Ok(mail.codes().stage_use(batch, id, MailPurpose::ResetPassword, &token, now)?)
        })
    };
    Ok(blocking::run(reset).await.map_err(|error: LifecycleError| error)?)
}
