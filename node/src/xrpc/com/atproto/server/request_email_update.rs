//! `com.atproto.server.requestEmailUpdate`: whether changing the address needs a code; if so it is sent, to the address
//! as it is.

use std::sync::Arc;

use angel_storage::accounts::MailPurpose;
use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::send_code;
use crate::http::XrpcError;
use crate::xrpc::auth::FullAccess;
use crate::xrpc::host::Host;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Output {
    token_required: bool,
}

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    FullAccess(account): FullAccess,
) -> Result<Json<Output>, XrpcError> {
    let token_required = account.row().email_confirmed_at.is_some();
    if token_required {
        send_code(&host, account, MailPurpose::UpdateEmail).await?;
    }
    Ok(Json(Output { token_required }))
}
