//! `com.atproto.server.refreshSession`: the next pair of tokens for a refresh token.

use std::sync::Arc;

use angel_storage::accounts::AccountStatus;
use axum::Json;
use axum::extract::State;

use super::SessionView;
use crate::blocking;
use crate::clock;
use crate::http::XrpcError;
use crate::sessions::TokenRefused;
use crate::xrpc::auth::{Refresh, refused, taken_down};
use crate::xrpc::host::Host;

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    Refresh(token): Refresh,
) -> Result<Json<SessionView>, XrpcError> {
    let account = host.accounts.by_did(&token.did).await?.ok_or_else(|| refused(TokenRefused::Revoked))?;
    if matches!(account.status(), AccountStatus::TakenDown { .. } | AccountStatus::Suspended) {
        return Err(taken_down());
    }
    let (sessions, owner) = (host.sessions.clone(), account.clone());
    let tokens = blocking::run(move || sessions.refresh_blocking(&owner, &token, clock::now())).await?;
    Ok(Json(SessionView::new(&account, Some(tokens))))
}
