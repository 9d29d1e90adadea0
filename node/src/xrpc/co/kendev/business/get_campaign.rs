//! `co.kendev.business.getCampaign`: a campaign with its rates, for staff.

use std::sync::Arc;

use angel_protocol::business::CAMPAIGN;
use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::super::tenants::Asker;
use super::figured;
use crate::http::XrpcError;
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;
use crate::xrpc::types::business::GetCampaignParameters;

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    asker: Asker,
    Params(query): Params<GetCampaignParameters>,
) -> Result<Json<Value>, XrpcError> {
    figured(&host, &asker, &query.uri, CAMPAIGN).await
}
