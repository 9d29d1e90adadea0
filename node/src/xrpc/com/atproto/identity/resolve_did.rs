//! `com.atproto.identity.resolveDid`: the document of a DID.

use std::sync::Arc;

use angel_protocol::ids::Did;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::document;
use crate::http::XrpcError;
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;

#[derive(Deserialize)]
pub(crate) struct Request {
    did: Did,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Output {
    did_doc: Value,
}

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    Params(Request { did }): Params<Request>,
) -> Result<Json<Output>, XrpcError> {
    Ok(Json(Output { did_doc: document(host.resolver.did(&did).await?) }))
}
