//! `com.atproto.server.listAppPasswords`: the names of an account's app passwords, newest first.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use crate::blocking;
use crate::http::XrpcError;
use crate::xrpc::auth::Access;
use crate::xrpc::host::Host;

#[derive(Serialize)]
pub(crate) struct Output {
    passwords: Vec<AppPassword>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AppPassword {
    name: String,
    created_at: String,
    privileged: bool,
}

pub(crate) async fn handler(State(host): State<Arc<Host>>, access: Access) -> Result<Json<Output>, XrpcError> {
    let sessions = host.sessions.clone();
    let mut known = blocking::run(move || sessions.app_passwords_blocking(access.account.id())).await?;
    known.sort_by_key(|(_, row)| std::cmp::Reverse(row.created_at));
    let passwords = known.into_iter().map(|(name, row)| AppPassword {
        name,
        created_at: row.created_at.to_string(),
        privileged: row.privileged,
    });
    Ok(Json(Output { passwords: passwords.collect() }))
}
