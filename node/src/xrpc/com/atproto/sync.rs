//! `com.atproto.sync.*`: what others copy and verify.

pub(crate) mod get_blob;
pub(crate) mod get_blocks;
pub(crate) mod get_checkout;
pub(crate) mod get_head;
pub(crate) mod get_latest_commit;
pub(crate) mod get_record;
pub(crate) mod get_repo;
pub(crate) mod get_repo_status;
pub(crate) mod list_blobs;
pub(crate) mod list_repos;
pub(crate) mod list_repos_by_collection;
pub(crate) mod subscribe_repos;

use angel_protocol::ids::Did;
use angel_storage::accounts::AccountStatus;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::accounts::Account;
use crate::http::XrpcError;
use crate::xrpc::auth::Caller;
use crate::xrpc::host::Host;

/// The media type of CAR files.
pub(crate) const CAR: &str = "application/vnd.ipld.car";

/// The account `did`, if `caller` may see its repository: everybody sees an active account, its owner and the operator
/// see it always.
pub(super) async fn available(host: &Host, did: &Did, caller: &Caller) -> Result<Account, XrpcError> {
    seen(host.accounts.by_did(did).await?, did, caller)
}

/// The account that was looked up as `name`, under the same condition.
pub(crate) fn seen(
    account: Option<Account>,
    name: impl std::fmt::Display,
    caller: &Caller,
) -> Result<Account, XrpcError> {
    let refused = |error, text: String| Err(XrpcError::new(StatusCode::BAD_REQUEST, error, text));
    let Some(account) = account else {
        return refused("RepoNotFound", format!("Could not find repo for DID: {name}"));
    };
    if caller.may_see(&account) {
        return Ok(account);
    }
    match account.status() {
        AccountStatus::Active => Ok(account),
        AccountStatus::Deactivated { .. } => refused("RepoDeactivated", format!("Repo has been deactivated: {name}")),
        AccountStatus::Suspended => refused("RepoSuspended", format!("Repo has been suspended: {name}")),
        AccountStatus::TakenDown { .. } => refused("RepoTakendown", format!("Repo has been takendown: {name}")),
    }
}

/// An answer that is a CAR file.
fn car(bytes: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, CAR)], bytes).into_response()
}

#[cfg(test)]
mod tests;
