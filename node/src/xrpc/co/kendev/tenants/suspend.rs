//! `co.kendev.tenants.suspend`: nobody writes for the tenant any more, or again. For the operator.

use std::sync::Arc;

use angel_protocol::tenants::TenantStatus;
use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::{Asker, asker, view};
use crate::http::XrpcError;
use crate::tenants::Actor;
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;
use crate::xrpc::types::tenants::SuspendInput;
use crate::{blocking, clock};

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    asker: Asker,
    Input(request): Input<SuspendInput>,
) -> Result<Json<Value>, XrpcError> {
    asker.operator()?;
    let tenant = asker::find(&host, &request.tenant).await?;
    let to = if request.suspended.unwrap_or(true) { TenantStatus::Suspended } else { TenantStatus::Active };
    let (tenants, did) = (host.tenants.clone(), tenant.did().clone());
    let change = move || tenants.set_status_blocking(&did, &Actor::Operator, to, clock::now());
    let tenant = blocking::run(change).await?;
    host.business.settings_follow(&tenant).await;
    Ok(Json(view::tenant(&host, &tenant, &asker).await?))
}
