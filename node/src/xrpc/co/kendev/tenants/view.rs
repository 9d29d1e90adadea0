//! How tenants and memberships are told.

use angel_protocol::data::{Cid, Codec, cbor, from_json};
use angel_protocol::ids::Did;
use angel_protocol::tenants::{Permissions, Role};
use angel_storage::tenants::MembershipRow;
use serde_json::{Value as Json, json};

use super::Asker;
use crate::http::XrpcError;
use crate::tenants::Tenant;
use crate::xrpc::host::Host;

/// A tenant, as whoever asks may know it.
pub(super) async fn tenant(host: &Host, tenant: &Tenant, asker: &Asker) -> Result<Json, XrpcError> {
    let row = tenant.row();
    let account = host.accounts.by_id(tenant.id()).await?;
    let mut view = json!({
        "did": row.did,
        "slug": row.slug,
        "name": row.name,
        "businessType": row.business_type,
        "status": row.status.public_name(),
        "createdAt": row.created_at.to_string(),
    });
    if let Some(handle) = account.as_ref().and_then(|account| account.handle()) {
        view["handle"] = handle.as_str().into();
    }
    if let Some((role, listed)) = asker.did().and_then(|did| host.tenants.standing(&row.did, did)) {
        view["role"] = role.name().into();
        view["permissions"] = names(role.permissions(listed));
    }
    if asker.is_inside(host, tenant) {
        view["owner"] = row.owner.as_str().into();
        view["plan"] = row.allowance.plan.name().into();
        view["template"] = row.template.name().into();
        view["members"] = host.tenants.active_members(&row.did).into();
        view["updatedAt"] = row.updated_at.to_string().into();
    }
    Ok(view)
}

pub(super) fn names(permissions: Permissions) -> Json {
    permissions.iter().map(|permission| Json::from(permission.name())).collect::<Vec<_>>().into()
}

/// A membership as the record that it would be, with its address and hash.
pub(super) fn membership(tenant: &Tenant, member: &Did, row: &MembershipRow) -> Result<Json, XrpcError> {
    const COLLECTION: &str = "co.kendev.tenants.membership";
    let mut record = json!({
        "$type": COLLECTION,
        "user": member,
        "tenant": tenant.did(),
        "role": row.role.record_name(),
        "status": row.status.name(),
        "createdAt": row.created_at.to_string(),
    });
    if row.role == Role::Manager {
        record["permissions"] = names(row.permissions);
    }
    if let Some(joined) = row.joined_at {
        record["joinedAt"] = joined.to_string().into();
    }
    if let Some(by) = &row.invited_by {
        record["invitedBy"] = by.as_str().into();
    }
    if row.updated_at != row.created_at {
        record["updatedAt"] = row.updated_at.to_string().into();
    }
    let value = from_json(&record).map_err(|error| XrpcError::unexpected(&error))?;
    let cid = Cid::of(Codec::DagCbor, &cbor::encode(&value));
    let uri = format!("at://{}/{COLLECTION}/{}", tenant.did(), row.rkey);
    Ok(json!({ "uri": uri, "cid": cid, "value": record, "indexedAt": row.updated_at.to_string() }))
}
