//! `com.atproto.space.notifyCredentialRevoked`: a space's authority says that credentials of it count no more.

use angel_protocol::limits::REVOKED_CREDENTIALS_MAX;
use angel_protocol::permissioned::wire::notice::RevocationNotice;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{Shared, Spoken};
use crate::http::XrpcError;
use crate::xrpc::input::Input;

pub(crate) async fn handler(
    State(host): State<Shared>,
    Spoken { account, issuer }: Spoken,
    Input(notice): Input<RevocationNotice>,
) -> Result<Json<Value>, XrpcError> {
    if !(1..=REVOKED_CREDENTIALS_MAX).contains(&notice.credentials.len()) {
        let text = format!("a notice revokes between 1 and {REVOKED_CREDENTIALS_MAX} credentials");
        return Err(XrpcError::invalid_request(text));
    }
    if issuer != notice.space.authority {
        let text = "credentials are revoked by the authority of their space";
        return Err(XrpcError::new(StatusCode::FORBIDDEN, "Forbidden", text));
    }
    host.permissioned.heard_revocation(&account, notice).await?;
    Ok(Json(json!({})))
}
