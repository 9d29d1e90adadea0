//! `co.kendev.business.shipOrder`: notes that an order is sent. For staff.

use std::sync::Arc;

use angel_protocol::business::order::Step;
use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::super::tenants::Asker;
use crate::http::XrpcError;
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;
use crate::xrpc::types::business::ShipOrderInput;

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    asker: Asker,
    Input(request): Input<ShipOrderInput>,
) -> Result<Json<Value>, XrpcError> {
    let said =
        [("fulfillment", "trackingNumber", request.tracking_number), ("fulfillment", "carrier", request.carrier)];
    let said = said.into_iter().filter_map(|(object, field, value)| Some((object, field, value?)));
    let said: Vec<_> = said.collect();
    Ok(Json(super::step(&host, &asker, &request.order, Step::Ship, &said).await?))
}
