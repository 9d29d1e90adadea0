//! `com.atproto.identity.*`: handles, DIDs and what is behind them.

pub(crate) mod get_recommended_did_credentials;
pub(crate) mod refresh_identity;
pub(crate) mod request_plc_operation_signature;
pub(crate) mod resolve_did;
pub(crate) mod resolve_handle;
pub(crate) mod resolve_identity;
pub(crate) mod sign_plc_operation;
pub(crate) mod submit_plc_operation;
pub(crate) mod update_handle;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use angel_protocol::ids::AtIdentifier;
use axum::http::StatusCode;
use serde::Serialize;
use serde_json::Value;

use crate::handles::HandleError;
use crate::http::XrpcError;
use crate::resolver::{ResolveError, Resolved, Somebody};
use crate::xrpc::com::atproto::server::create_account::checked_handle as handle;

/// Somebody, as `resolveIdentity` and `refreshIdentity` answer (`com.atproto.identity.defs#identityInfo`).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct IdentityInfo {
    did: String,
    handle: String,
    did_doc: Value,
}

impl From<Somebody> for IdentityInfo {
    fn from(Somebody { did, handle, resolved }: Somebody) -> Self {
        Self { did: did.to_string(), handle: handle.to_string(), did_doc: document(resolved) }
    }
}

/// The document for an answer.
pub(crate) fn document(resolved: Arc<Resolved>) -> Value {
    Arc::try_unwrap(resolved).map_or_else(|shared| shared.json.clone(), |own| own.json)
}

/// A DID or a handle as a caller wrote it.
fn identifier(text: &str) -> Result<AtIdentifier, XrpcError> {
    text.parse().map_err(|error| XrpcError::invalid_request(format!("identifier: {error}")))
}

impl From<ResolveError> for XrpcError {
    fn from(error: ResolveError) -> Self {
        let refused = |name| Self::new(StatusCode::BAD_REQUEST, name, error.to_string());
        match error {
            ResolveError::DidNotFound(_) | ResolveError::Unsupported(_) | ResolveError::Document { .. } => {
                refused("DidNotFound")
            }
            ResolveError::DidDeactivated(_) => refused("DidDeactivated"),
            ResolveError::HandleNotFound(_) => refused("HandleNotFound"),
            ResolveError::Unreachable { .. } => {
                Self::new(StatusCode::BAD_GATEWAY, "UpstreamFailure", error.to_string())
            }
        }
    }
}

impl From<HandleError> for XrpcError {
    fn from(error: HandleError) -> Self {
        let refused = |name| Self::new(StatusCode::BAD_REQUEST, name, error.to_string());
        match error {
            HandleError::Refused(why) => refused(why.name()),
            HandleError::Taken(_) => refused("HandleNotAvailable"),
            HandleError::NotTheirs(_) | HandleError::NotClaimed(_) => refused("InvalidRequest"),
            HandleError::Resolve(error) => error.into(),
            HandleError::Directory(error) => error.into(),
            HandleError::Account(error) => error.into(),
        }
    }
}
