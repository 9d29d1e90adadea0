//! `/.well-known/did.json`: the node's `did:web` document.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::error::XrpcError;
use crate::facts::NodeFacts;
use crate::keys::did_web_document;

pub(super) async fn did_document(State(facts): State<Arc<NodeFacts>>) -> Result<Json<Value>, XrpcError> {
    let document = facts.public_url.as_ref().and_then(|url| did_web_document(&facts.did, url));
    document.map(Json).ok_or_else(|| XrpcError::not_found("this node has no host name, so no did:web"))
}
