//! Who may do what with a tenant's webhooks, and how they are shown.

use angel_protocol::forms::FORM;
use angel_protocol::tenants::Permission;
use angel_storage::tenants::WebhookRow;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::Asker;
use crate::http::XrpcError;
use crate::tenants::{Actor, Tenant};
use crate::xrpc::host::Host;

/// The tenant, for somebody of its own who may settle to whom its events are told: what a webhook tells lies in the system
/// space, so it takes what reading that space takes, too. The operator reads nothing of a tenant by this way.
pub(super) async fn settles(asker: &Asker, host: &Host, named: &str) -> Result<(Tenant, Actor), XrpcError> {
    let (tenant, actor) = asker.acts(host, named, Permission::ManageSettings).await?;
    let refused = |text: &str| Err(XrpcError::new(StatusCode::FORBIDDEN, "NotAllowed", text));
    match actor.did() {
        None => {
            refused("webhooks are made and changed by the tenant's own people; the operator lists and deletes them")
        }
        Some(did) if !host.tenants.allows(tenant.did(), did, Permission::ManageSpaces) => {
            refused("this takes manage_spaces in the tenant, too: webhooks tell what its system space tells")
        }
        Some(_) => Ok((tenant, actor)),
    }
}

/// A webhook as it is listed: never with its secret.
pub(super) fn view(tenant: &Tenant, name: &str, row: &WebhookRow) -> Value {
    let (track, paused) = (&row.track, row.track.paused());
    let state = match (paused, track.failing_since()) {
        (Some(_), _) => "paused",
        (None, Some(_)) => "failing",
        (None, None) => "active",
    };
    let form = name.strip_prefix("form.").map(|rkey| format!("at://{}/{FORM}/{rkey}", tenant.did()));
    let mut view = json!({
        "id": name,
        "kind": if form.is_some() { "form" } else { "events" },
        "events": row.events,
        "state": state,
        "delivered": row.delivered,
        "createdAt": row.created_at.to_string(),
    });
    let optional = [
        ("url", row.url.clone()),
        ("form", form),
        ("pausedBecause", paused.map(|paused| paused.why.name().to_owned())),
        ("pausedAt", paused.map(|paused| paused.at.to_string())),
        ("failingSince", track.failing_since().map(|at| at.to_string())),
        ("nextTryAt", track.next_at().map(|at| at.to_string())),
        ("lastSuccessAt", row.accepted_at.map(|at| at.to_string())),
        ("lastFailureAt", row.failed.as_ref().map(|(at, _)| at.to_string())),
        ("lastFailure", row.failed.as_ref().map(|(_, why)| why.clone())),
        ("createdBy", row.created_by.as_ref().map(ToString::to_string)),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            view[name] = value.into();
        }
    }
    view
}
