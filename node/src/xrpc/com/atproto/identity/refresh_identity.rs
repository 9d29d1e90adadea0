//! `com.atproto.identity.refreshIdentity`: the same as `resolveIdentity`, with everybody asked again. Only for accounts
//! of this host: each call makes this node call on others.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;

use super::{IdentityInfo, identifier};
use crate::http::XrpcError;
use crate::xrpc::auth::Access;
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;

#[derive(Deserialize)]
pub(crate) struct Request {
    identifier: String,
}

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    _: Access,
    Input(request): Input<Request>,
) -> Result<Json<IdentityInfo>, XrpcError> {
    Ok(Json(host.resolver.somebody(&identifier(&request.identifier)?, true).await?.into()))
}
