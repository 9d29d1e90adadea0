//! `com.atproto.server.updateEmail`: another address, or whether logins take a code from its mail (`emailAuthFactor`). A
//! confirmed address is changed only with a code that was sent to it, and so are codes at logins switched off.

use std::sync::Arc;

use angel_storage::accounts::MailPurpose;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;

use super::create_account::checked_email;
use super::send_code;
use crate::accounts::Account;
use crate::blocking;
use crate::clock;
use crate::http::XrpcError;
use crate::xrpc::auth::FullAccess;
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request {
    email: String,
    /// Whether logins shall take a code; counts where the address stays.
    email_auth_factor: Option<bool>,
    token: Option<String>,
}

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    FullAccess(account): FullAccess,
    Input(Request { email, email_auth_factor, token }): Input<Request>,
) -> Result<(), XrpcError> {
    let email = checked_email(&email)?;
    let stays = account.row().email.as_deref().is_some_and(|present| present.eq_ignore_ascii_case(&email));
    match email_auth_factor.filter(|_| stays) {
        Some(wanted) => set_second_factor(&host, account, wanted, token).await,
        None => set_email(&host, &account, email, token).await,
    }
}

async fn set_email(host: &Host, account: &Account, email: String, token: Option<String>) -> Result<(), XrpcError> {
    let needs_token = account.row().email_confirmed_at.is_some();
    if needs_token && token.is_none() {
        return Err(token_required("the present address is confirmed: a code sent to it is needed"));
    }
    let (lifecycle, mail, id) = (host.lifecycle.clone(), host.mail.clone(), account.id());
    let update = move || {
        lifecycle.set_email_blocking(id, &email, |batch| match token.as_deref().filter(|_| needs_token) {
            Some(token) => Ok(mail.codes().stage_use(batch, id, MailPurpose::UpdateEmail, token, clock::now())?),
            None => Ok(()),
        })
    };
    Ok(blocking::run(update).await?)
}

async fn set_second_factor(
    host: &Host,
    account: Account,
    wanted: bool,
    token: Option<String>,
) -> Result<(), XrpcError> {
    if wanted == account.row().second_factor {
        return Ok(());
    }
    if wanted && !host.mail.sends() {
        let text =
            "no mail leaves this host, so no code would reach you at a login; its operator can set mail.smtp_url";
        return Err(XrpcError::invalid_request(text));
    }
    if !wanted && token.is_none() {
        send_code(host, account, MailPurpose::UpdateEmail).await?;
        return Err(token_required("a code that was sent to the address is needed to log in without one from now on"));
    }
    let (lifecycle, mail, id) = (host.lifecycle.clone(), host.mail.clone(), account.id());
    let update = move || {
        // Switching it on makes the account safer, and needs no proof beyond the session.
        lifecycle.set_second_factor_blocking(id, wanted, |batch| match token.as_deref().filter(|_| !wanted) {
            Some(token) => Ok(mail.codes().stage_use(batch, id, MailPurpose::UpdateEmail, token, clock::now())?),
            None => Ok(()),
        })
    };
    Ok(blocking::run(update).await?)
}

fn token_required(text: &str) -> XrpcError {
    XrpcError::new(StatusCode::BAD_REQUEST, "TokenRequired", text)
}
