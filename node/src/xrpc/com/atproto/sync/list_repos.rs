//! `com.atproto.sync.listRepos`: every repository of this host, with its head.

use std::sync::Arc;

use angel_protocol::data::Cid;
use angel_protocol::ids::{Did, Tid};
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
    limit: Option<LimitedNonZeroU16<1000>>,
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
    head: Cid,
    rev: Tid,
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
}

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    Params(Query { limit, cursor }): Params<Query>,
) -> Result<Json<Answer>, XrpcError> {
    let limit = limit.map_or(LIMIT_DEFAULT, |limit| usize::from(u16::from(limit)));
    blocking::run(move || page(&host, cursor.map(AccountId), limit)).await.map(Json)
}

fn page(host: &Host, after: Option<AccountId>, limit: usize) -> Result<Answer, XrpcError> {
    let heads = host.repos.heads_blocking(after, limit)?;
    let last = heads.last().map(|head| head.contents.account.0.to_string());
    let cursor = last.filter(|_| heads.len() == limit);
    let mut repos = Vec::with_capacity(heads.len());
    for head in heads {
        // An account that is being removed may still have a head.
        let Some(account) = host.accounts.by_id_blocking(head.contents.account)? else { continue };
        // A copy is listed by the node that serves it.
        if host.replication.placement().is_copy(account.id()) {
            continue;
        }
        let status = account.status();
        repos.push(Listed {
            did: account.did().clone(),
            head: head.commit.cid(),
            rev: head.commit.rev(),
            active: status.is_active(),
            status: status.name(),
        });
    }
    Ok(Answer { cursor, repos })
}
