//! `com.atproto.server.confirmEmail`: the code from the mail proves that the owner reads it.

use std::sync::Arc;

use angel_storage::accounts::MailPurpose;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;

use crate::blocking;
use crate::clock;
use crate::http::XrpcError;
use crate::xrpc::auth::Access;
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;

#[derive(Deserialize)]
pub(crate) struct Request {
    email: String,
    token: String,
}

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    access: Access,
    Input(Request { email, token }): Input<Request>,
) -> Result<(), XrpcError> {
    let email = email.to_ascii_lowercase();
    if access.account.row().email.as_deref() != Some(email.as_str()) {
        let text = "that is not the address of this account";
        return Err(XrpcError::new(StatusCode::BAD_REQUEST, "InvalidEmail", text));
    }
    let (lifecycle, mail, id) = (host.lifecycle.clone(), host.mail.clone(), access.account.id());
    let confirm = move || {
        lifecycle.confirm_email_blocking(id, &email, clock::now(), |batch| {
            Ok(mail.codes().stage_use(batch, id, MailPurpose::ConfirmEmail, &token, clock::now())?)
        })
    };
    blocking::run(confirm).await?;
    Ok(())
}
