//! `co.kendev.business.enterMetrics`: how a campaign goes, entered by hand and noted.

use std::sync::Arc;

use angel_protocol::business::CAMPAIGN;
use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::super::tenants::Asker;
use super::{figured_view, person, record_of};
use crate::http::XrpcError;
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;
use crate::xrpc::types::business::EnterMetricsInput;

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    asker: Asker,
    Input(request): Input<EnterMetricsInput>,
) -> Result<Json<Value>, XrpcError> {
    let (tenant, path, actor) = record_of(&host, &asker, &request.campaign, CAMPAIGN).await?;
    let by = person(actor.clone())?;
    host.limits.writes(&by, 1)?;
    // The document of the method has seen to it that this is an object, and that those which it names are numbers.
    let metrics = request.metrics.as_object().into_iter().flatten();
    let metrics = metrics.filter_map(|(name, figure)| Some((name.clone(), figure.as_i64()?))).collect();
    let after = host.business.enter_metrics(&tenant, &actor, &by, &path, &metrics).await?;
    Ok(Json(figured_view(tenant.did(), after)))
}
