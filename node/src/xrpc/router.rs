//! Every method with its path, in the order of the specification. Reading goes by `GET`, acting by `POST`.

use std::sync::Arc;

use axum::routing::{get, post};
use axum::{Router, middleware};

use super::com::atproto::server;
use super::host::Host;
use crate::rate_limits::count_requests;

/// The methods.
pub(crate) fn routes(host: Arc<Host>) -> Router {
    let limits = host.limits.clone();
    Router::new()
        .route("/xrpc/com.atproto.server.createAppPassword", post(server::create_app_password::handler))
        .route("/xrpc/com.atproto.server.createSession", post(server::create_session::handler))
        .route("/xrpc/com.atproto.server.deleteSession", post(server::delete_session::handler))
        .route("/xrpc/com.atproto.server.describeServer", get(server::describe_server::handler))
        .route("/xrpc/com.atproto.server.getSession", get(server::get_session::handler))
        .route("/xrpc/com.atproto.server.listAppPasswords", get(server::list_app_passwords::handler))
        .route("/xrpc/com.atproto.server.refreshSession", post(server::refresh_session::handler))
        .route("/xrpc/com.atproto.server.revokeAppPassword", post(server::revoke_app_password::handler))
        .route_layer(middleware::from_fn_with_state(limits, count_requests))
        .with_state(host)
}
