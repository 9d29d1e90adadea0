//! `co.kendev.tenants.invite`: invites somebody. The token is told this once.

use std::sync::Arc;

use angel_protocol::tenants::Permission;
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::Asker;
use crate::http::XrpcError;
use crate::mail::Invitation;
use crate::tenants::{Actor, Invited, Tenant, Wish};
use crate::xrpc::com::atproto::server::create_account::checked_email;
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;
use crate::xrpc::types::tenants::InviteInput;
use crate::{blocking, clock};

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    asker: Asker,
    Input(request): Input<InviteInput>,
) -> Result<Json<Value>, XrpcError> {
    let (tenant, actor) = asker.acts(&host, &request.tenant, Permission::ManageUsers).await?;
    if actor == Actor::Operator {
        return Err(XrpcError::invalid_request("people are invited by the tenant's own; the operator sets its owner"));
    }
    let expires_at = request.expires_at.map(|moment| {
        let past = || XrpcError::invalid_request("expiresAt lies before 1970");
        moment.timestamp().ok_or_else(past)
    });
    let wish = Wish {
        role: request.role,
        permissions: request.permissions.into_iter().flatten().collect(),
        user: request.user,
        email: request.email.map(|email| checked_email(&email)).transpose()?,
        message: request.message,
        expires_at: expires_at.transpose()?,
    };
    let (tenants, did) = (host.tenants.clone(), tenant.did().clone());
    let to = wish.email.clone();
    let invited = blocking::run(move || tenants.invite_blocking(&did, &actor, wish, clock::now())).await?;
    let mailed = match to {
        Some(to) => mail(&host, &tenant, to, &invited).await,
        None => false,
    };
    Ok(Json(json!({
        "mailed": mailed,
        "tenant": tenant.did(),
        "token": invited.token,
        "role": invited.invitation.role.name(),
        "expiresAt": invited.invitation.expires_at.to_string(),
    })))
}

/// Sends the invitation to its address, if mail leaves this host; else whoever invites hands the token on.
async fn mail(host: &Host, tenant: &Tenant, to: String, invited: &Invited) -> bool {
    let (mail, tenant, invited) = (host.mail.clone(), tenant.clone(), invited.clone());
    let sent = blocking::run(move || {
        let invitation = Invitation {
            tenant: &tenant.row().name,
            slug: tenant.row().slug.as_str(),
            role: invited.invitation.role.name(),
            token: &invited.token,
            message: invited.invitation.message.as_deref(),
            until: invited.invitation.expires_at,
        };
        mail.send_invitation_blocking(&to, &invitation, clock::now())
    });
    match sent.await {
        Ok(()) => true,
        Err(error) => {
            tracing::debug!(%error, "an invitation is not sent by mail");
            false
        }
    }
}
