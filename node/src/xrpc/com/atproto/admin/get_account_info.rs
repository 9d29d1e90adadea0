//! `com.atproto.admin.getAccountInfo`: what is known of an account.

use std::sync::Arc;

use angel_protocol::ids::Did;
use axum::Json;
use axum::extract::State;
use serde::Deserialize;

use super::AccountView;
use crate::http::XrpcError;
use crate::xrpc::auth::Moderator;
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;

#[derive(Deserialize)]
pub(crate) struct Query {
    did: Did,
}

pub(crate) async fn handler(
    _: Moderator,
    State(host): State<Arc<Host>>,
    Params(Query { did }): Params<Query>,
) -> Result<Json<AccountView>, XrpcError> {
    let account = super::account(&host, &did).await?;
    Ok(Json(AccountView::of(&host, &account).await?))
}
