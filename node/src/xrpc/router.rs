//! Every method with its path, in the order of the specification. Reading goes by `GET`, acting by `POST`.

use std::sync::Arc;

use axum::Router;

use super::host::Host;

/// The methods.
pub(crate) fn routes(host: Arc<Host>) -> Router {
    Router::new().with_state(host)
}
