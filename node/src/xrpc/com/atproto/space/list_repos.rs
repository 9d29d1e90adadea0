//! `com.atproto.space.listRepos`: whose repositories a space has, in the order in which they changed.

use angel_protocol::data::{Value as Data, to_json};
use angel_protocol::ids::Tid;
use angel_protocol::permissioned::SpaceUri;
use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Shared, signed_headers};
use crate::http::XrpcError;
use crate::xrpc::params::Params;

/// Repositories in a page when the client does not say.
const LIMIT: u16 = 100;

/// Most repositories in a page.
const LIMIT_MAX: u16 = 1000;

#[derive(Deserialize)]
pub(crate) struct Query {
    space: SpaceUri,
    limit: Option<u16>,
    /// The revision of the space behind which the page begins.
    cursor: Option<Tid>,
}

pub(crate) async fn handler(
    State(host): State<Shared>,
    headers: HeaderMap,
    Params(Query { space, limit, cursor }): Params<Query>,
) -> Result<Json<Value>, XrpcError> {
    let limit = limit.unwrap_or(LIMIT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(XrpcError::invalid_request(format!("limit is between 1 and {LIMIT_MAX}")));
    }
    host.credentials.check(&signed_headers(&headers), &space, &space.authority).await?;
    let writers = host.permissioned.writers(&space, cursor, usize::from(limit)).await?;
    let last = writers.last().map(|row| row.space_rev);
    let repos: Vec<_> = writers
        .into_iter()
        .map(|row| {
            let hash = to_json(&Data::Bytes(row.hash.to_vec()));
            json!({ "did": row.did, "repoRev": row.rev, "hash": hash, "spaceRev": row.space_rev })
        })
        .collect();
    let mut answer = json!({ "repos": repos });
    if let Some(last) = last {
        answer["cursor"] = last.to_string().into();
    }
    Ok(Json(answer))
}
