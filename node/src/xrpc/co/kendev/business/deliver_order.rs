//! `co.kendev.business.deliverOrder`: notes that an order has arrived. For staff.

use std::sync::Arc;

use angel_protocol::business::order::Step;
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::Value;

use super::super::tenants::Asker;
use crate::http::XrpcError;
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;

#[derive(Deserialize)]
pub(crate) struct Request {
    order: String,
}

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    asker: Asker,
    Input(request): Input<Request>,
) -> Result<Json<Value>, XrpcError> {
    Ok(Json(super::step(&host, &asker, &request.order, Step::Deliver, &[]).await?))
}
