//! `com.atproto.server.deleteAccount`: deletes an account for good. Takes its password and the code from the mail, and
//! no session.

use std::sync::Arc;

use angel_protocol::ids::Did;
use angel_storage::accounts::MailPurpose;
use axum::extract::State;
use serde::Deserialize;

use crate::blocking;
use crate::clock;
use crate::http::XrpcError;
use crate::passwords::Password;
use crate::rate_limits::{ClientAddress, Limit};
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;

#[derive(Deserialize)]
pub(crate) struct Request {
    did: Did,
    password: Password,
    token: String,
}

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    address: ClientAddress,
    Input(request): Input<Request>,
) -> Result<(), XrpcError> {
    host.limits.spend(Limit::Deletions, &address.to_string(), 1)?;
    host.limits.spend(Limit::WrongPasswords, request.did.as_str(), 0)?;
    let account = host.accounts.by_did(&request.did).await?;
    // Who is hosted here is no secret: `com.atproto.sync.listRepos` tells it.
    let account = account.ok_or_else(|| XrpcError::invalid_request("account not found"))?;
    let matches = host.passwords.matches(&request.password, account.row().password.as_deref()).await?;
    if !matches {
        host.limits.spend(Limit::WrongPasswords, request.did.as_str(), 1)?;
        return Err(XrpcError::authentication_required("Invalid did or password"));
    }
    let (mail, id) = (host.mail.clone(), account.id());
    blocking::run(move || mail.codes().use_blocking(id, MailPurpose::DeleteAccount, &request.token, clock::now()))
        .await?;
    Ok(host.lifecycle.delete(id).await?)
}
