//! `com.atproto.server.*`: accounts and sessions.

pub(crate) mod activate_account;
pub(crate) mod check_account_status;
pub(crate) mod confirm_email;
pub(crate) mod create_account;
pub(crate) mod create_app_password;
pub(crate) mod create_invite_code;
pub(crate) mod create_invite_codes;
pub(crate) mod create_session;
pub(crate) mod deactivate_account;
pub(crate) mod delete_account;
pub(crate) mod delete_session;
pub(crate) mod describe_server;
pub(crate) mod get_account_invite_codes;
pub(crate) mod get_service_auth;
pub(crate) mod get_session;
pub(crate) mod list_app_passwords;
pub(crate) mod refresh_session;
pub(crate) mod request_account_delete;
pub(crate) mod request_email_confirmation;
pub(crate) mod request_email_update;
pub(crate) mod request_password_reset;
pub(crate) mod reserve_signing_key;
pub(crate) mod reset_password;
pub(crate) mod revoke_app_password;
pub(crate) mod update_email;

#[cfg(test)]
mod tests;

use angel_storage::accounts::MailPurpose;
use serde::Serialize;

use crate::accounts::Account;
use crate::http::XrpcError;
use crate::rate_limits::Limit;
use crate::sessions::Tokens;
use crate::xrpc::host::Host;
use crate::{blocking, clock};

/// Sends a code to an account, not more often than its owner can mean it.
///
/// # Errors
/// 429 when it was too often, or the mail cannot be taken.
pub(crate) async fn send_code(host: &Host, account: Account, purpose: MailPurpose) -> Result<(), XrpcError> {
    host.limits.spend(Limit::MailsByDay, account.did().as_str(), 1)?;
    host.limits.spend(Limit::Mails, account.did().as_str(), 1)?;
    let mail = host.mail.clone();
    Ok(blocking::run(move || mail.send_code_blocking(&account, purpose, clock::now())).await?)
}

/// An account as its owner sees it: what a login, a refresh and a look at the session answer with.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SessionView {
    #[serde(flatten)]
    tokens: Option<TokensView>,
    did: String,
    handle: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    email_confirmed: bool,
    email_auth_factor: bool,
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TokensView {
    access_jwt: String,
    refresh_jwt: String,
}

impl SessionView {
    /// What the session of `account` looks like, with new tokens when there are some.
    pub(super) fn new(account: &Account, tokens: Option<Tokens>) -> Self {
        let status = account.status();
        Self {
            tokens: tokens.map(|Tokens { access, refresh }| TokensView { access_jwt: access, refresh_jwt: refresh }),
            did: account.did().to_string(),
            handle: account.handle_or_invalid().to_string(),
            email: account.row().email.clone(),
            email_confirmed: account.row().email_confirmed_at.is_some(),
            email_auth_factor: account.row().second_factor,
            active: status.is_active(),
            status: status.name(),
        }
    }
}
