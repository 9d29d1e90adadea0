//! `com.atproto.space.getDelegationToken`: by which an app asks a space for a credential on behalf of the caller.
//!
//! Whether there is such a space, and whether the caller may read it, is for its authority to say.

use angel_protocol::permissioned::SpaceUri;
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use crate::http::XrpcError;
use crate::xrpc::auth::{ActiveAccess, FullAccess};
use crate::xrpc::params::Params;

#[derive(Deserialize)]
pub(crate) struct Query {
    space: SpaceUri,
}

pub(crate) async fn handler(
    State(host): State<Shared>,
    _active: ActiveAccess,
    FullAccess(account): FullAccess,
    Params(Query { space }): Params<Query>,
) -> Result<Json<Value>, XrpcError> {
    let token = host.credentials.delegate(&account, &space).await?;
    Ok(Json(json!({ "token": token })))
}
