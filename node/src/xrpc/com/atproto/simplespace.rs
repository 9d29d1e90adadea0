//! `com.atproto.simplespace.*`: the spaces under an account, managed by its owner (proposal 0016, "simplespace").

pub(crate) mod create_space;
pub(crate) mod delete_space;
pub(crate) mod get_space;
pub(crate) mod list_members;
mod policy;
pub(crate) mod put_member;
pub(crate) mod remove_member;
pub(crate) mod update_space;

use std::sync::Arc;

use angel_protocol::permissioned::SpaceUri;
use axum::http::StatusCode;

use crate::accounts::Account;
use crate::http::XrpcError;
use crate::permissioned::PermissionedError;
use crate::xrpc::host::Host;

type Shared = Arc<Host>;

/// Refuses whoever does not own the space. Somebody who may read it is told that it is not theirs, everybody else that
/// there is none.
async fn own(host: &Host, account: &Account, space: &SpaceUri) -> Result<(), XrpcError> {
    if space.authority == *account.did() {
        return Ok(());
    }
    if host.permissioned.may_read(space, account.did()).await.unwrap_or(false) {
        return Err(XrpcError::new(StatusCode::FORBIDDEN, "NotSpaceOwner", "the space is somebody else's"));
    }
    Err(PermissionedError::SpaceNotFound.into())
}
