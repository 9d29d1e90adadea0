//! `com.atproto.space.*`: private data after proposal 0016. Of its roles this host has three: it keeps its accounts'
//! repositories in spaces, answers for the spaces under its accounts, and acts for its users towards other hosts.
//!
//! Readers come with their own session, for their own repository, or with a credential of the space. Nobody else learns
//! anything: not whether there is a space, nor whether somebody has a repository in it.

pub(crate) mod apply_writes;
pub(crate) mod create_record;
pub(crate) mod delete_record;
pub(crate) mod get_blob;
pub(crate) mod get_delegation_token;
pub(crate) mod get_latest_commit;
pub(crate) mod get_record;
pub(crate) mod get_repo;
pub(crate) mod get_space_credential;
pub(crate) mod list_blobs;
pub(crate) mod list_records;
pub(crate) mod list_repo_ops;
pub(crate) mod list_repos;
pub(crate) mod list_spaces;
pub(crate) mod notify_credential_revoked;
pub(crate) mod notify_space_deleted;
pub(crate) mod notify_write;
mod prepare;
pub(crate) mod put_record;
mod reader;
pub(crate) mod register_notify;
pub(crate) mod unregister_notify;

use std::sync::Arc;

use angel_protocol::data::{Cid, to_json};
use angel_protocol::ids::{Did, Nsid, RepoPath};
use angel_protocol::limits::BLOCK_BYTES_MAX;
use angel_protocol::permissioned::wire::commit::SignedCommit;
use angel_protocol::permissioned::{SpaceRecordUri, SpaceUri};
use angel_protocol::service_auth::ServiceToken;
use angel_protocol::tenants::Bill;
use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::accounts::Account;
use crate::http::XrpcError;
use crate::permissioned::PermissionedWrite;
use crate::tenants::{Admitted, workspace};
use crate::xrpc::auth::{self, ActiveAccess};
use crate::xrpc::com::atproto::repo;
use crate::xrpc::host::Host;
use crate::xrpc::plans;

pub(super) use reader::{Reading, signed_headers};

/// Largest body of a write, in bytes.
pub(crate) const WRITE_BYTES_MAX: usize = BLOCK_BYTES_MAX * 3;

type Shared = Arc<Host>;

/// The account that is named, if the caller may write records of these collections for it: their own, or that of a tenant
/// where their role opens each of them.
async fn writable<'c>(
    host: &Host,
    access: &ActiveAccess,
    repo: &Did,
    collections: impl IntoIterator<Item = &'c Nsid>,
) -> Result<Account, XrpcError> {
    repo::writable(host, access, &repo.clone().into(), collections).await
}

/// A record that was written, as answers tell it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Written {
    uri: SpaceRecordUri,
    cid: Cid,
    #[serde(skip_serializing_if = "Option::is_none")]
    validation_status: Option<prepare::ValidationStatus>,
}

/// Makes writes, all or none, if the plan has room for what they use: that of the tenant whose records they are, or, for
/// what a person writes into a space of a tenant, that one's.
async fn write(
    host: &Host,
    account: &Account,
    space: &SpaceUri,
    writes: Vec<PermissionedWrite>,
    bill: &Bill,
) -> Result<(), XrpcError> {
    let _names = match *space == workspace(account.did()) {
        true => {
            let named = writes.iter().map(|write| (&write.path, write.action.record()));
            host.business.hold_names(account, named).await?
        }
        false => None,
    };
    let admitted = match pays(host, account, space).await {
        Some(tenant) => plans::admit_for(host, tenant, bill).await?,
        None => Admitted::without_plan(),
    };
    host.permissioned.write(account, space, writes).await?;
    admitted.written();
    Ok(())
}

/// The tenant towards whose plan a write counts. Whoever may not write into a tenant's space is refused as a stranger is,
/// and learns nothing of its plan.
async fn pays<'a>(host: &Host, account: &'a Account, space: &'a SpaceUri) -> Option<&'a Did> {
    if host.tenants.find(account.did()).is_some() {
        return Some(account.did());
    }
    let is_tenants = host.tenants.find(&space.authority).is_some();
    let may_write = is_tenants && matches!(host.permissioned.may_write(space, account.did()).await, Ok(true));
    may_write.then_some(&space.authority)
}

/// A commit as answers tell it.
fn commit_view(commit: &SignedCommit) -> Value {
    to_json(&commit.to_value())
}

/// Splits a stored path.
fn parts(path: &RepoPath) -> (Nsid, String) {
    (path.collection.clone(), path.rkey.to_string())
}

/// The hosted account to which another service speaks, and on whose behalf that service does.
#[derive(Clone, Debug)]
pub(crate) struct Spoken {
    /// To whom.
    pub(crate) account: Account,
    /// By whom.
    pub(crate) issuer: Did,
}

impl FromRequestParts<Arc<Host>> for Spoken {
    type Rejection = XrpcError;

    async fn from_request_parts(parts: &mut Parts, host: &Arc<Host>) -> Result<Self, XrpcError> {
        let refused = |name: &'static str, text: String| XrpcError::new(StatusCode::UNAUTHORIZED, name, text);
        let token: ServiceToken = auth::bearer(&parts.headers)?
            .parse()
            .map_err(|error: angel_protocol::service_auth::Refusal| refused(error.name(), error.to_string()))?;
        let audience = token.claims().audience.did.clone();
        let account = host.accounts.resident(&audience).await?;
        let account = account.ok_or_else(|| refused("BadJwtAudience", "the token is for nobody here".to_owned()))?;
        let method = parts.uri.path().rsplit('/').next().unwrap_or_default();
        let issuer = auth::service_issuer_to(host, &parts.headers, &audience, method).await?;
        Ok(Self { account, issuer })
    }
}

/// The body of a notice about a space.
#[derive(Deserialize)]
pub(crate) struct AboutService {
    space: SpaceUri,
    service: String,
}
