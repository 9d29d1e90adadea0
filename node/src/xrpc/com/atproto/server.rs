//! `com.atproto.server.*`: accounts and sessions.

pub(crate) mod create_app_password;
pub(crate) mod create_session;
pub(crate) mod delete_session;
pub(crate) mod describe_server;
pub(crate) mod get_session;
pub(crate) mod list_app_passwords;
pub(crate) mod refresh_session;
pub(crate) mod revoke_app_password;

use serde::Serialize;
use serde_json::Value;

use crate::accounts::Account;
use crate::sessions::Tokens;

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
    #[serde(skip_serializing_if = "Option::is_none")]
    did_doc: Option<Value>,
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
            did_doc: None,
            active: status.is_active(),
            status: status.name(),
        }
    }
}
