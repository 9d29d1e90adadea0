//! `co.kendev.business.getCustomer`: what is known about a member as a customer, for staff who may see figures.

use std::sync::Arc;

use angel_protocol::tenants::Permission;
use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::super::tenants::Asker;
use super::{customer_view, person};
use crate::business::BusinessError;
use crate::http::XrpcError;
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;
use crate::xrpc::types::business::GetCustomerParameters;

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    asker: Asker,
    Params(query): Params<GetCustomerParameters>,
) -> Result<Json<Value>, XrpcError> {
    let (tenant, actor) = asker.acts(&host, &query.tenant, Permission::ViewAnalytics).await?;
    person(actor)?;
    let found = host.business.customer(&tenant, &query.person).await?;
    Ok(Json(customer_view(tenant.did(), found).ok_or(BusinessError::CustomerNotFound)?))
}
