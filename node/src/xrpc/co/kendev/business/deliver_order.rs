//! `co.kendev.business.deliverOrder`: notes that an order has arrived. For staff.

use std::sync::Arc;

use angel_protocol::business::order::Step;
use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::super::tenants::Asker;
use crate::http::XrpcError;
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;
use crate::xrpc::types::business::DeliverOrderInput;

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    asker: Asker,
    Input(request): Input<DeliverOrderInput>,
) -> Result<Json<Value>, XrpcError> {
    Ok(Json(super::step(&host, &asker, &request.order, Step::Deliver, &[]).await?))
}
