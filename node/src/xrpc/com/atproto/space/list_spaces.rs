//! `com.atproto.space.listSpaces`: the spaces in which the caller has a repository.

use angel_protocol::ids::{Did, Nsid};
use angel_protocol::permissioned::SpaceUri;
use atrium_api::types::LimitedNonZeroU8;
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use crate::http::XrpcError;
use crate::xrpc::auth::Access;
use crate::xrpc::params::Params;

/// Spaces in a page when the client does not say.
const LIMIT: u8 = 50;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Query {
    space_type: Option<Nsid>,
    authority: Option<Did>,
    limit: Option<LimitedNonZeroU8<100>>,
    /// The space behind which the page begins.
    cursor: Option<SpaceUri>,
}

pub(crate) async fn handler(
    State(host): State<Shared>,
    Access { account, .. }: Access,
    Params(Query { space_type, authority, limit, cursor }): Params<Query>,
) -> Result<Json<Value>, XrpcError> {
    let limit = usize::from(limit.map_or(LIMIT, u8::from));
    // A page is of what was looked at: with a filter it may be short, and the cursor says whether there is more.
    let repos = host.permissioned.repos_of(&account, cursor.as_ref(), limit).await?;
    let last = repos.last().filter(|_| repos.len() == limit).map(|repo| repo.space.to_string());
    let fits = |space: &SpaceUri| {
        space_type.as_ref().is_none_or(|kind| *kind == space.space_type)
            && authority.as_ref().is_none_or(|did| *did == space.authority)
    };
    let spaces: Vec<_> = repos
        .into_iter()
        .filter(|repo| fits(&repo.space))
        .map(|repo| json!({ "uri": repo.space, "isOwner": repo.space.authority == *account.did() }))
        .collect();
    let mut answer = json!({ "spaces": spaces });
    if let Some(last) = last {
        answer["cursor"] = last.into();
    }
    Ok(Json(answer))
}
