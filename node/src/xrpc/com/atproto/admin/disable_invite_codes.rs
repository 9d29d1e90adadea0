//! `com.atproto.admin.disableInviteCodes`: switches off invite codes, by name or by account.

use std::sync::Arc;

use angel_protocol::ids::Did;
use axum::extract::State;
use serde::Deserialize;

use crate::blocking;
use crate::http::XrpcError;
use crate::xrpc::auth::Moderator;
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;

/// Codes and accounts that one request names.
const NAMES_MAX: usize = 500;

#[derive(Deserialize)]
pub(crate) struct Request {
    #[serde(default)]
    codes: Vec<String>,
    #[serde(default)]
    accounts: Vec<String>,
}

pub(crate) async fn handler(
    _: Moderator,
    State(host): State<Arc<Host>>,
    Input(Request { codes, accounts }): Input<Request>,
) -> Result<(), XrpcError> {
    if codes.len() + accounts.len() > NAMES_MAX {
        return Err(XrpcError::invalid_request(format!("one request names at most {NAMES_MAX} codes and accounts")));
    }
    if accounts.iter().any(|account| account == "admin") {
        return Err(XrpcError::invalid_request(
            "cannot disable admin invite codes all at once: name each of them in codes",
        ));
    }
    let mut owners = Vec::with_capacity(accounts.len());
    for account in accounts {
        let did: Did = account.parse().map_err(|error| XrpcError::invalid_request(format!("accounts: {error}")))?;
        owners.extend(host.accounts.by_did(&did).await?.map(|account| account.id()));
    }
    let invites = host.invites.clone();
    let disable = move || {
        codes.iter().try_for_each(|code| invites.disable_blocking(code))?;
        owners.into_iter().try_for_each(|id| invites.disable_of_account_blocking(id))
    };
    Ok(blocking::run(disable).await?)
}
