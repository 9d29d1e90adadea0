//! Who asks, here or from elsewhere.

use std::str::FromStr;
use std::sync::Arc;

use angel_protocol::service_auth::ServiceToken;
use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;

use crate::accounts::Account;
use crate::http::XrpcError;
use crate::spaces::Asker;
use crate::xrpc::auth::{ActiveAccess, Operator, bearer, is_basic, service_issuer};
use crate::xrpc::host::Host;

impl FromRequestParts<Arc<Host>> for Asker {
    type Rejection = XrpcError;

    async fn from_request_parts(parts: &mut Parts, host: &Arc<Host>) -> Result<Self, XrpcError> {
        if !parts.headers.contains_key(header::AUTHORIZATION) {
            return Ok(Self { did: None, account: None });
        }
        // The operator is nobody in a space, and asks as anybody does.
        if is_basic(&parts.headers) {
            let Operator = Operator::from_request_parts(parts, host).await?;
            return Ok(Self { did: None, account: None });
        }
        // Sessions are signed with another kind of key, so a token is of one kind or the other.
        if ServiceToken::from_str(bearer(&parts.headers)?).is_ok() {
            let method = parts.uri.path().rsplit('/').next().unwrap_or_default();
            let did = service_issuer(host, &parts.headers, method).await?;
            let account = host.accounts.resident(&did).await?;
            if account.as_ref().is_some_and(|account| !account.is_active()) {
                return Err(XrpcError::authentication_required("the account is not active"));
            }
            return Ok(Self { did: Some(did), account });
        }
        let ActiveAccess(access) = ActiveAccess::from_request_parts(parts, host).await?;
        let account: Account = access.account;
        Ok(Self { did: Some(account.did().clone()), account: Some(account) })
    }
}
