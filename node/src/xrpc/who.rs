//! Which account of this host is meant: one resolver for every verb and method that names one.

use angel_protocol::ids::AtIdentifier;
use angel_protocol::tenants::Slug;
use axum::http::StatusCode;

use super::host::Host;
use crate::accounts::Account;
use crate::http::XrpcError;

/// The account here that a short name, a handle or a DID means. A copy of another node's tenant has no handle here, so a
/// handle that is not known here is looked up.
///
/// # Errors
/// It is none of these, or no account here.
pub(crate) async fn hosted(host: &Host, named: &str) -> Result<Account, XrpcError> {
    let unknown = || XrpcError::new(StatusCode::NOT_FOUND, "AccountNotFound", format!("{named} has no account here"));
    if let Ok(slug) = named.parse::<Slug>() {
        let tenant = host.tenants.by_slug(&slug).ok_or_else(unknown)?;
        return host.accounts.by_id(tenant.id()).await?.ok_or_else(unknown);
    }
    let who: AtIdentifier = named.parse().map_err(|_| {
        XrpcError::invalid_request("an account is named by its DID or its handle, a tenant also by its short name")
    })?;
    if let Some(account) = host.accounts.find(&who).await? {
        return Ok(account);
    }
    let AtIdentifier::Handle(handle) = who else { return Err(unknown()) };
    let did = host.resolver.handle(&handle).await.map_err(|_| unknown())?;
    host.accounts.by_did(&did).await?.ok_or_else(unknown)
}
