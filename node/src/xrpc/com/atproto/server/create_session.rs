//! `com.atproto.server.createSession`: logging in with the account's password or an app password. An account may want a code
//! from its mail beside its own password (`emailAuthFactor`); app passwords go without, for programs read no mail.

use std::sync::Arc;

use angel_protocol::ids::AtIdentifier;
use angel_storage::AccountId;
use angel_storage::accounts::{AccountStatus, MailPurpose};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;

use super::{SessionView, send_code};
use crate::accounts::Account;
use crate::blocking;
use crate::clock;
use crate::http::XrpcError;
use crate::passwords::{Password, find_app_password};
use crate::rate_limits::{ClientAddress, Limit};
use crate::sessions::Login;
use crate::xrpc::auth;
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;

/// Longest identifier that is looked up, in bytes: a DID of the longest kind.
const IDENTIFIER_BYTES_MAX: usize = 2048;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request {
    identifier: String,
    password: Password,
    /// The code from the account's mail.
    auth_factor_token: Option<String>,
    /// Whether the owner of an account that was taken down wants tokens to leave with.
    #[serde(default)]
    allow_takendown: bool,
}

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    address: ClientAddress,
    Input(request): Input<Request>,
) -> Result<Json<SessionView>, XrpcError> {
    let identifier = request.identifier.to_lowercase();
    if identifier.len() > IDENTIFIER_BYTES_MAX {
        return Err(wrong());
    }
    host.limits.login(address, &identifier)?;
    let (account, login) = log_in(&host, &identifier, &request.password).await?;
    let hidden = matches!(account.status(), AccountStatus::TakenDown { .. } | AccountStatus::Suspended);
    if hidden && !request.allow_takendown {
        return Err(auth::taken_down());
    }
    if account.row().second_factor && matches!(login, Login::Owner) {
        second_factor(&host, &account, request.auth_factor_token).await?;
    }
    let (now, sessions) = (clock::now(), host.sessions.clone());
    let tokens = if hidden {
        sessions.tokens_to_leave(account.did(), now)
    } else {
        let account = account.clone();
        blocking::run(move || sessions.create_blocking(&account, login, now)).await?
    };
    Ok(Json(SessionView::new(&account, Some(tokens))))
}

/// Whose password it is. An account that is not there costs as much as one that is.
async fn log_in(host: &Host, identifier: &str, password: &str) -> Result<(Account, Login), XrpcError> {
    let account = find(host, identifier).await?;
    if let Some(account) = &account {
        host.limits.spend(Limit::WrongPasswords, account.did().as_str(), 0)?;
    }
    let hashed = account.as_ref().and_then(|account| account.row().password.as_deref());
    let is_owner = host.passwords.matches(password, hashed).await?;
    if let (true, Some(account)) = (is_owner, &account) {
        return Ok((account.clone(), Login::Owner));
    }
    let (sessions, id) = (host.sessions.clone(), account.as_ref().map_or(AccountId(0), Account::id));
    let known = blocking::run(move || sessions.app_passwords_blocking(id)).await?;
    let Some(account) = account else { return Err(wrong()) };
    if let Some((name, row)) = find_app_password(account.did(), password, &known)
        && !matches!(account.status(), AccountStatus::TakenDown { .. } | AccountStatus::Suspended)
    {
        let login = Login::App { name: name.clone(), privileged: row.privileged };
        return Ok((account, login));
    }
    host.limits.spend(Limit::WrongPasswords, account.did().as_str(), 1)?;
    Err(wrong())
}

/// Takes the code that was sent for this login, or sends one.
async fn second_factor(host: &Host, account: &Account, offered: Option<String>) -> Result<(), XrpcError> {
    let (purpose, mail, id) = (MailPurpose::SignIn, host.mail.clone(), account.id());
    if let Some(offered) = offered.filter(|offered| !offered.trim().is_empty()) {
        let used = move || mail.codes().use_blocking(id, purpose, &offered, clock::now());
        return Ok(blocking::run(used).await?);
    }
    send_code(host, account.clone(), purpose).await?;
    let text = if host.mail.sends() {
        "A sign in code has been sent to your email address"
    } else {
        "A sign in code is needed, and no mail leaves this host: ask whoever runs it for the code"
    };
    Err(XrpcError::new(StatusCode::UNAUTHORIZED, "AuthFactorTokenRequired", text))
}

async fn find(host: &Host, identifier: &str) -> Result<Option<Account>, XrpcError> {
    if identifier.contains('@') {
        let (accounts, email) = (host.accounts.clone(), identifier.to_owned());
        return Ok(blocking::run(move || accounts.by_email_blocking(&email)).await?);
    }
    match identifier.parse::<AtIdentifier>() {
        Ok(who) => Ok(host.accounts.find(&who).await?),
        Err(_) => Ok(None),
    }
}

fn wrong() -> XrpcError {
    XrpcError::authentication_required("Invalid identifier or password")
}
