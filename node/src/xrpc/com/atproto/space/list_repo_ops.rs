//! `com.atproto.space.listRepoOps`: what was written to a repository in a space since a revision.
//!
//! The log keeps the recent past. Who has been away for longer gets no operations and the newest commit, which does not
//! fit what they hold: that is how they learn that they have to fetch the repository anew.

use std::collections::HashMap;

use angel_protocol::data::{self, to_json};
use angel_protocol::ids::{Did, Tid};
use angel_protocol::permissioned::{Op, SpaceUri};
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Reading, Shared, commit_view, parts};
use crate::http::XrpcError;
use crate::permissioned::Permissioned;
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;

/// Operations in a page when the client does not say.
const LIMIT: u16 = 100;

/// Most operations in a page.
const LIMIT_MAX: u16 = 1000;

/// Bytes of records after which a page tells no more of them: they are asked for one by one.
const VALUES_BYTES_MAX: usize = 4 * 1024 * 1024;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Query {
    space: SpaceUri,
    repo: Did,
    since: Option<Tid>,
    limit: Option<u16>,
    #[serde(default)]
    exclude_values: bool,
}

pub(crate) async fn handler(
    State(host): State<Shared>,
    reading: Reading,
    Params(Query { space, repo, since, limit, exclude_values }): Params<Query>,
) -> Result<Json<Value>, XrpcError> {
    let limit = limit.unwrap_or(LIMIT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(XrpcError::invalid_request(format!("limit is between 1 and {LIMIT_MAX}")));
    }
    let (account, found) = reading.repo(&host, &space, &repo).await?;
    let ops = host.permissioned.ops(&account, &found, since, usize::from(limit)).await?.unwrap_or_default();
    // Of what was written between the two reads, the head does not know, and nobody is told before it does.
    let ops: Vec<_> = ops.into_iter().filter(|(rev, _)| *rev <= found.head.rev).collect();
    let mut values = if exclude_values { HashMap::new() } else { values(&host, &space, &repo, &ops).await? };
    let last = ops.last().map(|(rev, _)| *rev);
    let views: Vec<_> = ops
        .into_iter()
        .map(|(rev, op)| {
            let (collection, rkey) = parts(&op.path);
            let mut view =
                json!({ "rev": rev, "collection": collection, "rkey": rkey, "cid": op.cid, "prev": op.prev });
            if let Some(value) = values.remove(&(rev, op.path.to_string())) {
                view["value"] = value;
            }
            view
        })
        .collect();
    let mut answer = json!({ "ops": views });
    match last {
        Some(last) if last < found.head.rev => answer["cursor"] = last.to_string().into(),
        _ => {
            let key = host.accounts.signing_key(account.id()).await?;
            let commit = Permissioned::sign_for_reader(&space, &repo, &found.head, &key);
            answer["commit"] = commit_view(&commit);
        }
    }
    Ok(Json(answer))
}

/// The records that operations left, by revision and path, where they are there still.
async fn values(
    host: &Host,
    space: &SpaceUri,
    repo: &Did,
    ops: &[(Tid, Op)],
) -> Result<HashMap<(Tid, String), Value>, XrpcError> {
    let (mut found, mut bytes) = (HashMap::new(), 0);
    for (rev, op) in ops {
        let Some(cid) = op.cid else { continue };
        let record = host.permissioned.read(space, repo, &op.path).await?;
        if let Some(record) = record.filter(|record| record.cid == cid && record.rev == *rev)
            && bytes < VALUES_BYTES_MAX
        {
            bytes += record.bytes.len();
            let value = data::cbor::decode(&record.bytes).map_err(|error| XrpcError::unexpected(&error))?;
            found.insert((*rev, op.path.to_string()), to_json(&value));
        }
    }
    Ok(found)
}
