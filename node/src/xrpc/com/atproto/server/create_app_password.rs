//! `com.atproto.server.createAppPassword`: a password for one app, shown this once.

use std::sync::Arc;

use angel_storage::accounts::AppPasswordRow;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use crate::blocking;
use crate::clock;
use crate::http::XrpcError;
use crate::passwords::{app_password_digest, new_app_password};
use crate::xrpc::auth::FullAccess;
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;

/// Longest name of an app password, in bytes.
const NAME_BYTES_MAX: usize = 256;

#[derive(Deserialize)]
pub(crate) struct Request {
    name: String,
    #[serde(default)]
    privileged: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Output {
    name: String,
    password: String,
    created_at: String,
    privileged: bool,
}

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    FullAccess(account): FullAccess,
    Input(Request { name, privileged }): Input<Request>,
) -> Result<Json<Output>, XrpcError> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(XrpcError::invalid_request(format!("a name has 1 to {NAME_BYTES_MAX} bytes")));
    }
    let password = new_app_password().map_err(|error| XrpcError::unexpected(&error))?;
    let created_at = clock::now();
    let row = AppPasswordRow { digest: app_password_digest(account.did(), &password), created_at, privileged };
    let (sessions, added) = (host.sessions.clone(), name.clone());
    blocking::run(move || sessions.add_app_password_blocking(account.id(), &added, &row)).await?;
    Ok(Json(Output { name, password: password.to_string(), created_at: created_at.to_string(), privileged }))
}
