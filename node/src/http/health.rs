//! Whether the node works: `/api/health` with its services, `/xrpc/_health` with its version.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use crate::facts::VERSION;
use crate::health::{Health, ServiceState};

/// 503 only when a service fails without which the node is of no use.
pub(super) async fn services(State(health): State<Health>) -> (StatusCode, Json<Value>) {
    let code = if health.is_useless() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    (code, Json(report(&health)))
}

/// Each service is `ok`, `off` or `failing`; `reasons` says why, for those that are not ok.
pub(super) fn report(health: &Health) -> Value {
    let (mut services, mut reasons) = (Map::new(), Map::new());
    for (name, state) in health.services() {
        let (word, why) = match state {
            ServiceState::Ok => ("ok", None),
            ServiceState::Off(why) => ("off", Some(why)),
            ServiceState::Failing(why) => ("failing", Some(why)),
        };
        services.insert(name.to_owned(), word.into());
        if let Some(why) = why {
            reasons.insert(name.to_owned(), why.into());
        }
    }
    let status = if health.is_healthy() { "healthy" } else { "degraded" };
    json!({ "status": status, "services": services, "reasons": reasons })
}

/// The version, where AT Protocol software looks for it.
pub(super) async fn version() -> Json<Value> {
    Json(json!({ "version": VERSION }))
}
