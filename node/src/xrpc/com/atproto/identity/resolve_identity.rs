//! `com.atproto.identity.resolveIdentity`: who a DID or a handle is, from both sides.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;

use super::{IdentityInfo, identifier};
use crate::http::XrpcError;
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;

#[derive(Deserialize)]
pub(crate) struct Request {
    identifier: String,
}

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    Params(request): Params<Request>,
) -> Result<Json<IdentityInfo>, XrpcError> {
    Ok(Json(host.resolver.somebody(&identifier(&request.identifier)?, false).await?.into()))
}
