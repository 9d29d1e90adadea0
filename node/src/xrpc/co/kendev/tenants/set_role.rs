//! `co.kendev.tenants.setRole`: gives a member another role, ends or restores a membership. Members may end their own.

use std::sync::Arc;

use angel_protocol::tenants::{MembershipStatus, Permission};
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::{Asker, view};
use crate::http::XrpcError;
use crate::tenants::TenantError;
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;
use crate::xrpc::types::tenants::SetRoleInput;
use crate::{blocking, clock};

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    asker: Asker,
    Input(request): Input<SetRoleInput>,
) -> Result<Json<Value>, XrpcError> {
    let leaves = asker.did() == Some(&request.user) && request.status == Some(MembershipStatus::Revoked);
    let (tenant, actor) = if leaves {
        asker.reads(&host, &request.tenant).await?
    } else {
        asker.acts(&host, &request.tenant, Permission::ManageUsers).await?
    };
    let old = host.tenants.membership(tenant.did(), &request.user);
    let old = old.ok_or_else(|| TenantError::NotMember(request.user.clone()))?;
    let status = request.status.unwrap_or(old.status);
    if status == MembershipStatus::Pending {
        return Err(XrpcError::invalid_request("a membership waits only until an invitation is accepted"));
    }
    let to = if leaves {
        (old.role, old.permissions, status)
    } else {
        let permissions = request.permissions.map(|listed| listed.into_iter().collect());
        (request.role.unwrap_or(old.role), permissions.unwrap_or(old.permissions), status)
    };
    let (tenants, did, user) = (host.tenants.clone(), tenant.did().clone(), request.user.clone());
    let change = move || tenants.set_role_blocking(&did, &actor, &user, to, clock::now());
    let row = blocking::run(change).await?;
    Ok(Json(json!({ "membership": view::membership(&tenant, &request.user, &row)? })))
}
