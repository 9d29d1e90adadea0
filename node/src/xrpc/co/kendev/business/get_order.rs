//! `co.kendev.business.getOrder`: an order, for staff and for whoever placed it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::super::tenants::Asker;
use super::{order_of, view};
use crate::http::XrpcError;
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;
use crate::xrpc::types::business::GetOrderParameters;

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    asker: Asker,
    Params(query): Params<GetOrderParameters>,
) -> Result<Json<Value>, XrpcError> {
    let (tenant, path, customer) = order_of(&host, &asker, &query.uri).await?;
    let found = host.business.order(&tenant, &path, customer.as_ref()).await?;
    Ok(Json(view(tenant.did(), found)))
}
