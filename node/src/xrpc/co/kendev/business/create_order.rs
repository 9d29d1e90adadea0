//! `co.kendev.business.createOrder`: orders something. Staff order for somebody else.

use std::sync::Arc;

use angel_protocol::tenants::{Permission, TenantStatus};
use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::super::tenants::{Asker, find};
use super::view;
use crate::business::{BusinessError, NewLine, NewOrder};
use crate::http::XrpcError;
use crate::tenants::TenantError;
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;
use crate::xrpc::types::business::{CreateOrderInput, CreateOrderNewLine};

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    asker: Asker,
    Input(request): Input<CreateOrderInput>,
) -> Result<Json<Value>, XrpcError> {
    let by = asker.person()?.clone();
    host.limits.writes(&by, 1)?;
    let tenant = find(&host, &request.tenant).await?;
    let is_staff = host.tenants.allows(tenant.did(), &by, Permission::ManageOrders);
    // What is not open yet, or no more, is known to its own people alone.
    if tenant.status() == TenantStatus::Pending && !is_staff {
        return Err(TenantError::NotFound.into());
    }
    let customer = request.customer.unwrap_or_else(|| by.clone());
    if customer != by && !is_staff {
        return Err(BusinessError::Forbidden("only the staff of a business orders for others").into());
    }
    let line =
        |line: CreateOrderNewLine| NewLine { product: line.product, quantity: i64::from(line.quantity), sku: line.sku };
    let order = NewOrder {
        line_items: request.line_items.into_iter().map(line).collect(),
        method: request.method,
        payment_method: request.payment_method,
        source: request.source,
        shipping_address: request.shipping_address,
        billing_address: request.billing_address,
        customer_notes: request.customer_notes,
    };
    let placed = host.business.place_order(&tenant, &customer, &by, order).await?;
    let placed = if is_staff { placed } else { host.business.order(&tenant, &placed.path, Some(&customer)).await? };
    Ok(Json(view(tenant.did(), placed)))
}
