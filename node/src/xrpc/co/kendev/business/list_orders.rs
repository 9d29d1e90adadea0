//! `co.kendev.business.listOrders`: the orders of a business, the newest first: all of them for staff, and for anybody
//! else their own.

use std::sync::Arc;

use angel_protocol::tenants::Permission;
use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::super::tenants::{Asker, find};
use super::{cursor, page};
use crate::business::OrderFilter;
use crate::http::XrpcError;
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;
use crate::xrpc::types::business::ListOrdersParameters;

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    asker: Asker,
    Params(query): Params<ListOrdersParameters>,
) -> Result<Json<Value>, XrpcError> {
    let asking = asker.person()?.clone();
    let tenant = find(&host, &query.tenant).await?;
    let is_staff = host.tenants.allows(tenant.did(), &asking, Permission::ManageOrders);
    let tenant =
        if is_staff { asker.acts(&host, tenant.did().as_str(), Permission::ManageOrders).await?.0 } else { tenant };
    let customer = if is_staff { query.customer } else { Some(asking) };
    let filter = OrderFilter { customer, status: query.status };
    let limit = usize::from(query.limit);
    let after = cursor(query.cursor.as_deref())?;
    let found = host.business.orders(&tenant, &filter, is_staff, after, limit).await?;
    Ok(Json(page("orders", tenant.did(), found)))
}
