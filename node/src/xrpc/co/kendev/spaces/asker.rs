//! Who asks, here or from elsewhere.

use std::str::FromStr;
use std::sync::Arc;

use angel_protocol::service_auth::ServiceToken;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Method, header};

use crate::accounts::Account;
use crate::http::XrpcError;
use crate::spaces::Asker;
use crate::xrpc::auth::{ActiveAccess, Operator, bearer, is_basic, service_issuer};
use crate::xrpc::host::Host;

impl FromRequestParts<Arc<Host>> for Asker {
    type Rejection = XrpcError;

    async fn from_request_parts(parts: &mut Parts, host: &Arc<Host>) -> Result<Self, XrpcError> {
        let asker = who(parts, host).await?;
        // Nobody acts without a name, so what they would have done is not read.
        if parts.method == Method::POST {
            asker.somebody()?;
        }
        Ok(asker)
    }
}

async fn who(parts: &mut Parts, host: &Arc<Host>) -> Result<Asker, XrpcError> {
    if !parts.headers.contains_key(header::AUTHORIZATION) {
        return Ok(Asker { did: None, account: None });
    }
    // The operator is nobody in a space, and asks as anybody does.
    if is_basic(&parts.headers) {
        let Operator = Operator::from_request_parts(parts, host).await?;
        return Ok(Asker { did: None, account: None });
    }
    // Sessions are signed with another kind of key, so a token is of one kind or the other.
    if ServiceToken::from_str(bearer(&parts.headers)?).is_ok() {
        let method = parts.uri.path().rsplit('/').next().unwrap_or_default();
        let did = service_issuer(host, &parts.headers, method).await?;
        let account = host.accounts.resident(&did).await?;
        if account.as_ref().is_some_and(|account| !account.is_active()) {
            return Err(XrpcError::authentication_required("the account is not active"));
        }
        return Ok(Asker { did: Some(did), account });
    }
    let ActiveAccess(access) = ActiveAccess::from_request_parts(parts, host).await?;
    let account: Account = access.account;
    Ok(Asker { did: Some(account.did().clone()), account: Some(account) })
}
