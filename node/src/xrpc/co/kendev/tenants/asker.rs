//! Who asks about a tenant: the operator, somebody with an account here, or somebody with an account elsewhere who
//! proves it by a service token for the method.

use std::sync::Arc;

use angel_protocol::ids::{AtIdentifier, Did};
use angel_protocol::tenants::{Permission, Resource, Slug, TenantStatus};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};

use crate::accounts::Account;
use crate::http::XrpcError;
use crate::tenants::{Actor, Tenant, TenantError, Use};
use crate::xrpc::auth::{self, Caller};
use crate::xrpc::host::Host;

/// Whoever asks.
#[derive(Clone, Debug)]
pub(crate) enum Asker {
    /// Somebody who does not say who.
    Anyone,
    /// The operator of the node.
    Operator,
    /// Somebody with an account here.
    Local(Account),
    /// Somebody with an account elsewhere.
    Remote(Did),
}

impl FromRequestParts<Arc<Host>> for Asker {
    type Rejection = XrpcError;

    async fn from_request_parts(parts: &mut Parts, host: &Arc<Host>) -> Result<Self, XrpcError> {
        match Caller::from_request_parts(parts, host).await {
            // Nobody acts without a name, so what they would have done is not read.
            Ok(Caller::Anyone) if parts.method == Method::POST => {
                Err(XrpcError::authentication_required("log in first: this is done by somebody"))
            }
            Ok(Caller::Anyone) => Ok(Self::Anyone),
            Ok(Caller::Operator) => Ok(Self::Operator),
            Ok(Caller::Account(access)) if access.account.is_active() => Ok(Self::Local(access.account)),
            Ok(Caller::Account(_)) => {
                let text = "the account is switched off or taken down";
                Err(XrpcError::new(StatusCode::UNAUTHORIZED, "AccountDeactivated", text))
            }
            // No session of this host: perhaps the word of an account elsewhere.
            Err(refused) => {
                let method = parts.uri.path().rsplit('/').next().unwrap_or_default();
                let issuer = auth::service_issuer(host, &parts.headers, method).await;
                issuer.map(Self::Remote).map_err(|_| refused)
            }
        }
    }
}

impl Asker {
    /// Who it is, if it is a person.
    pub(crate) fn did(&self) -> Option<&Did> {
        match self {
            Self::Anyone | Self::Operator => None,
            Self::Local(account) => Some(account.did()),
            Self::Remote(did) => Some(did),
        }
    }

    /// Who it is, or that one has to say so.
    pub(crate) fn person(&self) -> Result<&Did, XrpcError> {
        self.did().ok_or_else(|| XrpcError::authentication_required("log in first: this is done by a person"))
    }

    /// The operator, or a refusal.
    pub(super) fn operator(&self) -> Result<(), XrpcError> {
        match self {
            Self::Operator => Ok(()),
            Self::Anyone => Err(XrpcError::authentication_required("this is for the operator: send Basic credentials")),
            Self::Local(_) | Self::Remote(_) => {
                Err(XrpcError::new(StatusCode::FORBIDDEN, "NotAllowed", "this is for the operator of the node"))
            }
        }
    }

    /// Whether they are told about the tenant what its members are told.
    pub(super) fn is_inside(&self, host: &Host, tenant: &Tenant) -> bool {
        match self {
            Self::Operator => true,
            asker => asker.did().is_some_and(|did| host.tenants.may_read(tenant.did(), did)),
        }
    }

    /// Whether a tenant that they belong to is listed for them: what is put away is its owner's alone.
    pub(super) fn is_listed_for(&self, tenant: &Tenant) -> bool {
        let is_owner = self.did() == Some(&tenant.row().owner);
        is_owner || !matches!(tenant.status(), TenantStatus::Pending | TenantStatus::Archived)
    }

    /// The tenant, for somebody who may see what members see. A call counts.
    pub(crate) async fn reads(&self, host: &Host, named: &str) -> Result<(Tenant, Actor), XrpcError> {
        let (tenant, actor) = self.belongs(host, named).await?;
        if self.is_inside(host, &tenant) {
            count_call(host, &tenant, &actor)?;
            Ok((tenant, actor))
        } else {
            Err(TenantError::Closed(tenant.status()).into())
        }
    }

    /// The tenant, for somebody whose role allows this. A call counts.
    pub(crate) async fn acts(
        &self,
        host: &Host,
        named: &str,
        permission: Permission,
    ) -> Result<(Tenant, Actor), XrpcError> {
        let (tenant, actor) = self.belongs(host, named).await?;
        let Actor::Person(did, _) = &actor else { return Ok((tenant, actor)) };
        if !host.tenants.allows(tenant.did(), did, permission) {
            if !matches!(tenant.status(), TenantStatus::Active | TenantStatus::Trial) && !permission.only_reads() {
                return Err(TenantError::Closed(tenant.status()).into());
            }
            let text = format!("this takes {} in the tenant", permission.name());
            return Err(XrpcError::new(StatusCode::FORBIDDEN, "NotAllowed", text));
        }
        count_call(host, &tenant, &actor)?;
        Ok((tenant, actor))
    }

    /// The tenant and what the asker is there. Strangers are told what they would be told if there were none.
    async fn belongs(&self, host: &Host, named: &str) -> Result<(Tenant, Actor), XrpcError> {
        let tenant = find(host, named).await;
        if matches!(self, Self::Operator) {
            return Ok((tenant?, Actor::Operator));
        }
        let did = self.person()?;
        let tenant = tenant?;
        let role = host.tenants.role(tenant.did(), did).ok_or(TenantError::NotFound)?;
        Ok((tenant, Actor::Person(did.clone(), role)))
    }
}

fn count_call(host: &Host, tenant: &Tenant, actor: &Actor) -> Result<(), XrpcError> {
    if *actor != Actor::Operator {
        host.tenants.check_limit(tenant.did(), Use::one(Resource::ApiCalls))?;
    }
    Ok(())
}

/// The tenant that a DID, a handle or a short name means.
pub(crate) async fn find(host: &Host, named: &str) -> Result<Tenant, XrpcError> {
    let found = match named.parse::<Slug>() {
        Ok(slug) => host.tenants.by_slug(&slug),
        Err(_) => {
            let who: AtIdentifier = named.parse().map_err(|_| {
                XrpcError::invalid_request("a tenant is named by its DID, its handle or its short name")
            })?;
            let account = host.accounts.find(&who).await?;
            account.and_then(|account| host.tenants.find(account.did()))
        }
    };
    Ok(found.ok_or(TenantError::NotFound)?)
}
