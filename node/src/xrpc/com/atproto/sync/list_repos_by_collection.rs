//! `com.atproto.sync.listReposByCollection`: who has records of a kind.

use std::sync::Arc;

use angel_protocol::ids::{Did, Nsid};
use angel_storage::AccountId;
use atrium_api::types::LimitedNonZeroU16;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use crate::blocking;
use crate::http::XrpcError;
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;

const LIMIT_DEFAULT: usize = 500;

#[derive(Deserialize)]
pub(crate) struct Query {
    collection: Nsid,
    limit: Option<LimitedNonZeroU16<2000>>,
    /// The number of the last account of the page before.
    cursor: Option<u64>,
}

#[derive(Serialize)]
pub(crate) struct Answer {
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    repos: Vec<Listed>,
}

#[derive(Serialize)]
struct Listed {
    did: Did,
}

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    Params(Query { collection, limit, cursor }): Params<Query>,
) -> Result<Json<Answer>, XrpcError> {
    let limit = limit.map_or(LIMIT_DEFAULT, |limit| usize::from(u16::from(limit)));
    blocking::run(move || page(&host, &collection, cursor.map(AccountId), limit)).await.map(Json)
}

fn page(host: &Host, collection: &Nsid, after: Option<AccountId>, limit: usize) -> Result<Answer, XrpcError> {
    let accounts = host.repos.accounts_with_blocking(collection, after, limit)?;
    let cursor = accounts.last().filter(|_| accounts.len() == limit).map(|last| last.0.to_string());
    let mut repos = Vec::with_capacity(accounts.len());
    for id in accounts {
        // Others may not see what an inactive account has.
        if let Some(account) = host.accounts.by_id_blocking(id)?
            && account.is_active()
        {
            repos.push(Listed { did: account.did().clone() });
        }
    }
    Ok(Answer { cursor, repos })
}
