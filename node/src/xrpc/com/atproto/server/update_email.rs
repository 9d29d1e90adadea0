//! `com.atproto.server.updateEmail`: another address. A confirmed one is changed only with a code that was sent to it.

use std::sync::Arc;

use angel_storage::accounts::MailPurpose;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;

use super::create_account::checked_email;
use crate::blocking;
use crate::clock;
use crate::http::XrpcError;
use crate::xrpc::auth::FullAccess;
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;

#[derive(Deserialize)]
pub(crate) struct Request {
    email: String,
    token: Option<String>,
}

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    FullAccess(account): FullAccess,
    Input(Request { email, token }): Input<Request>,
) -> Result<(), XrpcError> {
    let email = checked_email(&email)?;
    let needs_token = account.row().email_confirmed_at.is_some();
    if needs_token && token.is_none() {
        let text = "the present address is confirmed: a code sent to it is needed";
        return Err(XrpcError::new(StatusCode::BAD_REQUEST, "TokenRequired", text));
    }
    let (lifecycle, mail, id) = (host.lifecycle.clone(), host.mail.clone(), account.id());
    let update = move || {
        lifecycle.set_email_blocking(id, &email, |batch| match token.as_deref().filter(|_| needs_token) {
            Some(token) => Ok(mail.codes().stage_use(batch, id, MailPurpose::UpdateEmail, token, clock::now())?),
            None => Ok(()),
        })
    };
    blocking::run(update).await?;
    Ok(())
}
