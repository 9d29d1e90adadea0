//! `/metrics`, for Prometheus.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::registry::Registry;

use super::admin::Admin;
use super::error::XrpcError;
use crate::config::MetricsAccess;
use crate::events;

/// What the page shows, and to whom.
#[derive(Clone)]
pub(crate) struct Metrics {
    pub(crate) registry: Arc<Registry>,
    pub(crate) access: MetricsAccess,
    pub(crate) admin: Arc<Admin>,
}

pub(super) async fn page(State(metrics): State<Metrics>, headers: HeaderMap) -> Result<Response, XrpcError> {
    match metrics.access {
        MetricsAccess::Open => {}
        MetricsAccess::Admin => metrics.admin.authorize(&headers)?,
        MetricsAccess::Off => return Err(XrpcError::not_found("the metrics are switched off")),
    }
    // Measuring the process reads files.
    let text = tokio::task::spawn_blocking(move || events::render(&metrics.registry));
    let text = text.await.map_err(|error| XrpcError::unexpected(&error))?;
    Ok(([(header::CONTENT_TYPE, events::CONTENT_TYPE)], text).into_response())
}
