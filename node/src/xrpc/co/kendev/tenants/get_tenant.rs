//! `co.kendev.tenants.getTenant`: one tenant.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::asker::{self, Asker};
use super::view;
use crate::http::XrpcError;
use crate::tenants::TenantError;
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;
use crate::xrpc::types::tenants::GetTenantParameters;

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    asker: Asker,
    Params(query): Params<GetTenantParameters>,
) -> Result<Json<Value>, XrpcError> {
    let tenant = asker::find(&host, &query.tenant).await?;
    // A notice that it is suspended is for everybody; what is being set up or put away is not.
    let is_told = tenant.status().is_listed()
        || tenant.status() == angel_protocol::tenants::TenantStatus::Suspended
        || asker.is_inside(&host, &tenant);
    if !is_told {
        return Err(TenantError::NotFound.into());
    }
    Ok(Json(view::tenant(&host, &tenant, &asker).await?))
}
