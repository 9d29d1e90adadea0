//! `co.kendev.business.refundOrder`: gives back what was paid for an order, or a part of it. For staff.

use std::sync::Arc;

use angel_protocol::business::order::Step;
use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::super::tenants::Asker;
use crate::http::XrpcError;
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;
use crate::xrpc::types::business::RefundOrderInput;

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    asker: Asker,
    Input(request): Input<RefundOrderInput>,
) -> Result<Json<Value>, XrpcError> {
    let beyond = |_| XrpcError::invalid_request("amount: more than was ever paid");
    let amount = request.amount.map(i64::try_from).transpose().map_err(beyond)?;
    Ok(Json(super::step(&host, &asker, &request.order, Step::Refund(amount), &[]).await?))
}
