//! Who fills in a form: anybody. Somebody with an account here or elsewhere says so; of somebody who says nothing, nothing is
//! known but the address that the request came from.

use std::sync::Arc;

use angel_protocol::ids::Did;
use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;

use super::super::tenants::Asker;
use crate::http::XrpcError;
use crate::xrpc::host::Host;

/// Whoever visits, by their account if they named one. One that is named and not proved is refused: it is a mistake, and
/// whoever made it would not find the answers as theirs.
#[derive(Clone, Debug)]
pub(crate) struct Visitor(pub(crate) Option<Did>);

impl FromRequestParts<Arc<Host>> for Visitor {
    type Rejection = XrpcError;

    async fn from_request_parts(parts: &mut Parts, host: &Arc<Host>) -> Result<Self, XrpcError> {
        if !parts.headers.contains_key(header::AUTHORIZATION) {
            return Ok(Self(None));
        }
        Ok(Self(Asker::from_request_parts(parts, host).await?.did().cloned()))
    }
}
