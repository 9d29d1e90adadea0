//! `co.kendev.business.cancelOrder`: calls an order off. Customers call off their own while it is not paid.

use std::sync::Arc;

use angel_protocol::business::order::{Step, is_paid};
use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::super::tenants::Asker;
use super::{order_of, view};
use crate::business::BusinessError;
use crate::http::XrpcError;
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;
use crate::xrpc::types::business::CancelOrderInput;

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    asker: Asker,
    Input(request): Input<CancelOrderInput>,
) -> Result<Json<Value>, XrpcError> {
    let (tenant, path, stranger) = order_of(&host, &asker, &request.order).await?;
    let Some(customer) = stranger else {
        return Ok(Json(super::step(&host, &asker, &request.order, Step::Cancel, &[]).await?));
    };
    let before = host.business.order(&tenant, &path, Some(&customer)).await?;
    if is_paid(&before.record) {
        return Err(BusinessError::Forbidden("the order is paid: ask the business to call it off").into());
    }
    host.limits.writes(&customer, 1)?;
    host.business.step(&tenant, &customer, &path, Step::Cancel, &[]).await?;
    let after = host.business.order(&tenant, &path, Some(&customer)).await?;
    Ok(Json(view(tenant.did(), after)))
}
