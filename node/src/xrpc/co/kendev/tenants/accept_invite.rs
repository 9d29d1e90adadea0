//! `co.kendev.tenants.acceptInvite`: joins a tenant with the token of an invitation.

use std::sync::Arc;

use angel_protocol::tenants::invitation::Guest;
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::asker::{self, Asker};
use super::view;
use crate::http::XrpcError;
use crate::rate_limits::{ClientAddress, Limit};
use crate::tenants::TenantError;
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;
use crate::xrpc::types::tenants::AcceptInviteInput;
use crate::{blocking, clock};

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    asker: Asker,
    address: ClientAddress,
    Input(request): Input<AcceptInviteInput>,
) -> Result<Json<Value>, XrpcError> {
    let did = asker.person()?.clone();
    host.limits.spend(Limit::Invitations, &address.to_string(), 1)?;
    let verified_email = match &asker {
        Asker::Local(account) if account.row().email_confirmed_at.is_some() => account.row().email.clone(),
        _ => None,
    };
    // A token for a tenant that is not there is as unknown as any other.
    let tenant = asker::find(&host, &request.tenant).await.map_err(|_| TenantError::NoInvitation)?;
    let (tenants, tenant, guest) = (host.tenants.clone(), tenant.did().clone(), did.clone());
    let rkey = host.repos.next_tid()?;
    let accepted = blocking::run(move || {
        let guest = Guest { did: &guest, verified_email: verified_email.as_deref() };
        tenants.accept_blocking(&tenant, &request.token, guest, rkey, clock::now())
    });
    let accepted = accepted.await?;
    let membership = view::membership(&accepted.tenant, &did, &accepted.membership)?;
    let tenant = view::tenant(&host, &accepted.tenant, &asker).await?;
    Ok(Json(json!({ "tenant": tenant, "membership": membership })))
}
