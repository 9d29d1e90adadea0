//! Methods for a tenant's owner and for the operator: who asks, and whether the tenant that they name is theirs.

use std::sync::Arc;

use angel_protocol::ids::Did;
use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;

use super::auth::{self, Caller};
use super::host::Host;
use super::who;
use crate::accounts::Account;
use crate::http::XrpcError;

/// The operator, or somebody who says who they are with an account's own password; an app may not ask.
#[derive(Clone, Debug)]
pub(crate) enum Owning {
    /// The operator of this node.
    Operator,
    /// Somebody; whether they own the tenant is seen when it is named.
    Person(Did),
}

impl FromRequestParts<Arc<Host>> for Owning {
    type Rejection = XrpcError;

    async fn from_request_parts(parts: &mut Parts, host: &Arc<Host>) -> Result<Self, XrpcError> {
        match Caller::from_request_parts(parts, host).await {
            Ok(Caller::Operator) => Ok(Self::Operator),
            Ok(Caller::Account(access)) if access.is_owner() => Ok(Self::Person(access.account.did().clone())),
            Ok(Caller::Account(_)) => {
                Err(not_authorised("log in with the account's own password: an app may not do this"))
            }
            Ok(Caller::Anyone) => {
                Err(XrpcError::authentication_required("this is for the operator and for the tenant's owner"))
            }
            // Perhaps the word of an owner whose account is elsewhere.
            Err(refused) => {
                let method = parts.uri.path().rsplit('/').next().unwrap_or_default();
                let issuer = auth::service_issuer(host, &parts.headers, method).await;
                issuer.map(Self::Person).map_err(|_| refused)
            }
        }
    }
}

fn not_authorised(text: &str) -> XrpcError {
    XrpcError::new(StatusCode::FORBIDDEN, "NotAuthorised", text)
}

impl Owning {
    /// Whether they are the tenant itself, its owner, or the operator.
    ///
    /// # Errors
    /// They are somebody else.
    pub(crate) fn owns(&self, host: &Host, tenant: &Did) -> Result<(), XrpcError> {
        let Self::Person(person) = self else { return Ok(()) };
        let owns = person == tenant || host.tenants.find(tenant).is_some_and(|it| it.row().owner == *person);
        if owns { Ok(()) } else { Err(not_authorised("only the tenant's owner and the operator may do this")) }
    }

    /// The account that a short name, a handle or a DID means, if it is theirs.
    ///
    /// # Errors
    /// It is no account of this node, or another's.
    pub(crate) async fn tenant(&self, host: &Host, named: &str) -> Result<Account, XrpcError> {
        let account = who::hosted(host, named).await;
        let account = account.map_err(|_| {
            XrpcError::new(StatusCode::NOT_FOUND, "UnknownTenant", format!("{named} is no tenant of this node"))
        })?;
        self.owns(host, account.did())?;
        Ok(account)
    }
}
