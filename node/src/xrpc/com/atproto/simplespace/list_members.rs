//! `com.atproto.simplespace.listMembers`: who is on the list of a space, for its owner.

use angel_protocol::ids::Did;
use angel_protocol::permissioned::SpaceUri;
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use crate::http::XrpcError;
use crate::xrpc::auth::FullAccess;
use crate::xrpc::params::Params;

/// Members in a page when the client does not say.
const LIMIT: u16 = 100;

/// Most members in a page.
const LIMIT_MAX: u16 = 1000;

#[derive(Deserialize)]
pub(crate) struct Query {
    space: SpaceUri,
    limit: Option<u16>,
    /// The member behind whom the page begins.
    cursor: Option<Did>,
}

pub(crate) async fn handler(
    State(host): State<Shared>,
    FullAccess(account): FullAccess,
    Params(Query { space, limit, cursor }): Params<Query>,
) -> Result<Json<Value>, XrpcError> {
    let limit = limit.unwrap_or(LIMIT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(XrpcError::invalid_request(format!("limit is between 1 and {LIMIT_MAX}")));
    }
    super::own(&host, &account, &space).await?;
    let page = host.permissioned.members(&space, cursor, usize::from(limit)).await?;
    let view = |(did, row): (Did, angel_storage::permissioned::MemberRow)| json!({ "did": did, "read": row.member.read, "write": row.member.write });
    let members: Vec<_> = page.members.into_iter().map(view).collect();
    let mut answer = json!({ "members": members });
    if let Some(cursor) = page.cursor {
        answer["cursor"] = cursor.to_string().into();
    }
    Ok(Json(answer))
}
