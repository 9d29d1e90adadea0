//! `com.atproto.admin.searchAccounts`: the accounts of this host, oldest first, or those with a text in their e-mail
//! address.

use std::sync::Arc;

use angel_storage::AccountId;
use angel_storage::limits::BULK_ROWS;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::AccountView;
use crate::accounts::{Account, AccountError, Accounts};
use crate::blocking;
use crate::http::XrpcError;
use crate::xrpc::auth::Operator;
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;

#[derive(Deserialize)]
pub(crate) struct Query {
    email: Option<String>,
    cursor: Option<String>,
    limit: Option<usize>,
}

#[derive(Serialize)]
pub(crate) struct Output {
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    accounts: Vec<AccountView>,
}

pub(crate) async fn handler(
    _: Operator,
    State(host): State<Arc<Host>>,
    Params(Query { email, cursor, limit }): Params<Query>,
) -> Result<Json<Output>, XrpcError> {
    let limit = limit.unwrap_or(50);
    if !(1..=100).contains(&limit) {
        return Err(XrpcError::invalid_request("limit lies between 1 and 100"));
    }
    let after = cursor.map(|cursor| cursor.parse().map(AccountId)).transpose();
    let after = after.map_err(|_| XrpcError::invalid_request("cursor: not one that this method gave"))?;
    let accounts = host.accounts.clone();
    let found = blocking::run(move || match email {
        Some(text) => with_email(&accounts, &text.to_ascii_lowercase(), after, limit),
        None => accounts.page_blocking(after, limit),
    });
    let (found, more): (Vec<_>, bool) = found.await?;
    let cursor = found.last().filter(|_| more).map(|account| account.id().0.to_string());
    let mut accounts = Vec::with_capacity(found.len());
    for account in &found {
        accounts.push(AccountView::of(&host, account).await?);
    }
    Ok(Json(Output { cursor, accounts }))
}

/// Up to `limit` accounts behind `after` whose address holds `text`, and whether there are more. Blocks.
fn with_email(
    accounts: &Accounts,
    text: &str,
    mut after: Option<AccountId>,
    limit: usize,
) -> Result<(Vec<Account>, bool), AccountError> {
    let mut found = Vec::new();
    loop {
        let (page, more) = accounts.page_blocking(after, BULK_ROWS)?;
        after = page.last().map(Account::id);
        let holds = |account: &Account| account.row().email.as_deref().is_some_and(|email| email.contains(text));
        found.extend(page.into_iter().filter(holds));
        // One more than is asked for tells whether there are more.
        if found.len() > limit || !more {
            let rest = found.len() > limit;
            found.truncate(limit);
            return Ok((found, rest));
        }
    }
}
