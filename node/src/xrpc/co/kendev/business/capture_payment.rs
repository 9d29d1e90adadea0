//! `co.kendev.business.capturePayment`: notes that an order is paid. For staff.

use std::sync::Arc;

use angel_protocol::business::order::Step;
use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::super::tenants::Asker;
use crate::http::XrpcError;
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;
use crate::xrpc::types::business::CapturePaymentInput;

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    asker: Asker,
    Input(request): Input<CapturePaymentInput>,
) -> Result<Json<Value>, XrpcError> {
    let said =
        [("paymentDetails", "transactionId", request.transaction_id), ("paymentDetails", "last4", request.last4)];
    let said = said.into_iter().filter_map(|(object, field, value)| Some((object, field, value?)));
    let said: Vec<_> = said.collect();
    Ok(Json(super::step(&host, &asker, &request.order, Step::Capture, &said).await?))
}
