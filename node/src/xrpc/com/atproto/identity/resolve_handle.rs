//! `com.atproto.identity.resolveHandle`: the DID of a handle, whether or not the DID knows of it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::handle;
use crate::http::XrpcError;
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;

#[derive(Deserialize)]
pub(crate) struct Request {
    handle: String,
}

#[derive(Serialize)]
pub(crate) struct Output {
    did: String,
}

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    Params(request): Params<Request>,
) -> Result<Json<Output>, XrpcError> {
    let handle = handle(&request.handle)?;
    // A name without servers and one whose servers are silent look alike from here.
    let did = host.resolver.handle(&handle).await.map_err(|error| {
        tracing::debug!(%handle, %error, "not resolved");
        XrpcError::new(StatusCode::BAD_REQUEST, "HandleNotFound", "Unable to resolve handle")
    })?;
    Ok(Json(Output { did: did.to_string() }))
}
