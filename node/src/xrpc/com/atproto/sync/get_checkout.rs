//! `com.atproto.sync.getCheckout`: what `getRepo` was called before.

use std::sync::Arc;

use angel_protocol::ids::Did;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;

use super::get_repo::export;
use crate::http::XrpcError;
use crate::xrpc::auth::Caller;
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;

#[derive(Deserialize)]
pub(crate) struct Query {
    did: Did,
}

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    caller: Caller,
    Params(Query { did }): Params<Query>,
) -> Result<Response, XrpcError> {
    export(&host, &did, &caller, None).await
}
