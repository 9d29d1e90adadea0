//! `com.atproto.server.deleteSession`: logging out. Takes an expired refresh token as well.

use std::sync::Arc;

use axum::extract::State;

use crate::blocking;
use crate::http::XrpcError;
use crate::xrpc::auth::OldRefresh;
use crate::xrpc::host::Host;

pub(crate) async fn handler(State(host): State<Arc<Host>>, OldRefresh(token): OldRefresh) -> Result<(), XrpcError> {
    if let Some(token) = token
        && let Some(account) = host.accounts.by_did(&token.did).await?
    {
        let sessions = host.sessions.clone();
        blocking::run(move || sessions.end_blocking(account.id(), &token)).await?;
    }
    Ok(())
}
