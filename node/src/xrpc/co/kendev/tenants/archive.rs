//! `co.kendev.tenants.archive`: puts a tenant away for good; its owner may still take it out. For the owner and the
//! operator, who type its short name again.

use std::sync::Arc;

use angel_protocol::tenants::{Role, TenantStatus};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::Value;

use super::{Asker, view};
use crate::http::XrpcError;
use crate::tenants::Actor;
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;
use crate::xrpc::types::tenants::ArchiveInput;
use crate::{blocking, clock};

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    asker: Asker,
    Input(request): Input<ArchiveInput>,
) -> Result<Json<Value>, XrpcError> {
    let (tenant, actor) = asker.reads(&host, &request.tenant).await?;
    if !matches!(actor, Actor::Operator | Actor::Person(_, Role::Owner)) {
        let text = "a tenant is put away by its owner or the operator";
        return Err(XrpcError::new(StatusCode::FORBIDDEN, "NotAllowed", text));
    }
    if request.slug != tenant.row().slug.as_str() {
        return Err(XrpcError::invalid_request("type the tenant's short name again to put it away for good"));
    }
    let (tenants, did) = (host.tenants.clone(), tenant.did().clone());
    let change = move || tenants.set_status_blocking(&did, &actor, TenantStatus::Archived, clock::now());
    let tenant = blocking::run(change).await?;
    host.business.settings_follow(&tenant).await;
    Ok(Json(view::tenant(&host, &tenant, &asker).await?))
}
