//! `com.atproto.server.getSession`: whose session this is.

use axum::Json;

use super::SessionView;
use crate::xrpc::auth::Access;

pub(crate) async fn handler(access: Access) -> Json<SessionView> {
    Json(SessionView::new(&access.account, None))
}
