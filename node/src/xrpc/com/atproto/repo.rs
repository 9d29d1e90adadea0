//! `com.atproto.repo.*`: records, one by one and whole repositories.

pub(crate) mod apply_writes;
pub(crate) mod create_record;
pub(crate) mod delete_record;
pub(crate) mod describe_repo;
pub(crate) mod get_record;
pub(crate) mod import_repo;
mod legacy;
pub(crate) mod list_missing_blobs;
pub(crate) mod list_records;
pub(in crate::xrpc::com::atproto) mod prepare;
pub(crate) mod put_record;
#[cfg(test)]
mod tests;
pub(crate) mod upload_blob;

use std::sync::Arc;

use angel_protocol::data::Cid;
use angel_protocol::ids::{AtIdentifier, Did, Nsid, Tid};
use angel_protocol::lexicon::flags::Holder;
use angel_protocol::limits::COMMIT_CAR_BYTES_MAX;
use angel_protocol::rules;
use angel_protocol::tenants::Permission;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Deserializer, Serialize};

use crate::accounts::Account;
use crate::http::XrpcError;
use crate::repos::{Made, Owner};
use crate::xrpc::auth::ActiveAccess;
use crate::xrpc::host::Host;

/// Largest body of a write, in bytes: JSON takes more room than the commit that it becomes, mostly for bytes and quotes.
pub(crate) const WRITE_BYTES_MAX: usize = COMMIT_CAR_BYTES_MAX * 3 / 2;

/// A commit as answers tell it.
#[derive(Serialize)]
pub(super) struct CommitView {
    cid: Cid,
    rev: Tid,
}

impl From<Made> for CommitView {
    fn from(made: Made) -> Self {
        Self { cid: made.cid, rev: made.rev }
    }
}

/// The account that is named, if the caller may write records of these collections for it: it is their own, or that of
/// a tenant where their role opens each of them; or the node's own, and a super admin writes what is the operator's
/// (RMP-03).
pub(crate) async fn writable<'c>(
    host: &Host,
    access: &ActiveAccess,
    repo: &AtIdentifier,
    collections: impl IntoIterator<Item = &'c Nsid>,
) -> Result<Account, XrpcError> {
    let tenant = match host.accounts.find(repo).await? {
        Some(named) if host.rulebook.holder(named.did()) == Holder::Node => {
            let mut collections = collections.into_iter();
            let may = host.rulebook.is_super_admin(access.did());
            if may && collections.all(|collection| rules::is_operators(collection.as_str())) {
                return Ok(named);
            }
            return Err(XrpcError::authentication_required("the repository is the node's own"));
        }
        Some(named) if named.id() != access.0.account.id() && host.tenants.find(named.did()).is_some() => named,
        _ => {
            let account = own(host, access, repo).await?;
            open_for_writes(host, account.did())?;
            return Ok(account);
        }
    };
    let stranger = || XrpcError::authentication_required("Authentication Required: the repository is somebody else's");
    host.tenants.role(tenant.did(), access.did()).ok_or_else(stranger)?;
    open_for_writes(host, tenant.did())?;
    for collection in collections {
        let needed = rules::permission(collection.as_str());
        if !needed.is_some_and(|needed| host.tenants.allows(tenant.did(), access.did(), needed)) {
            let what = needed.map_or("the tenant itself", Permission::name);
            let text = format!("records of {collection} take {what} in that tenant");
            return Err(XrpcError::new(StatusCode::FORBIDDEN, "NotAllowed", text));
        }
    }
    Ok(tenant)
}

/// Refuses writes for a tenant that is suspended or archived.
fn open_for_writes(host: &Host, account: &Did) -> Result<(), XrpcError> {
    if !host.tenants.takes_writes(account) {
        let text = "the tenant is suspended or archived: nothing is written for it";
        return Err(XrpcError::new(StatusCode::FORBIDDEN, "TenantClosed", text));
    }
    Ok(())
}

/// The account that is named, if it is the caller's own: nobody writes into another's repository.
async fn own(host: &Host, access: &ActiveAccess, repo: &AtIdentifier) -> Result<Account, XrpcError> {
    let ActiveAccess(access) = access;
    let named = match repo {
        AtIdentifier::Did(did) if did == access.account.did() => return Ok(access.account.clone()),
        other => host.accounts.find(other).await?,
    };
    match named {
        None => Err(XrpcError::invalid_request(format!("Could not find repo: {repo}"))),
        Some(named) if named.id() == access.account.id() => Ok(named),
        Some(_) => {
            Err(XrpcError::authentication_required("Authentication Required: the repository is somebody else's"))
        }
    }
}

/// Whose repository is written, with the key that signs for it.
pub(super) async fn owner(host: &Host, account: &Account) -> Result<Owner, XrpcError> {
    let key = host.accounts.signing_key(account.id()).await?;
    Ok(Owner { id: account.id(), did: account.did().clone(), key })
}

/// The account whose records are asked for, if others may see it.
async fn visible(host: &Host, repo: &AtIdentifier) -> Result<Option<Account>, XrpcError> {
    Ok(host.accounts.find(repo).await?.filter(Account::is_active))
}

/// An answer that is JSON already.
fn json(body: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Appends `"uri":…,"cid":…,"value":…` of a record.
fn write_record(out: &mut Vec<u8>, did: &Did, path: &str, cid: Cid, record: &[u8]) -> Result<(), XrpcError> {
    // Neither DIDs nor paths nor CIDs hold anything that JSON would escape.
    for part in ["{\"uri\":\"at://", did.as_str(), "/", path, "\",\"cid\":\"", &*cid.text(), "\",\"value\":"] {
        out.extend_from_slice(part.as_bytes());
    }
    angel_protocol::data::write_json(record, out).map_err(|error| XrpcError::unexpected(&error))?;
    out.push(b'}');
    Ok(())
}

/// Tells a field that is `null` from one that is absent.
fn nullable<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

type Shared = Arc<Host>;
