//! `com.atproto.space.notifyWrite`: another host says that a repository there has advanced in a space of this host.

use angel_protocol::permissioned::wire::notice::WriteNotice;
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
    Input(notice): Input<WriteNotice>,
) -> Result<Json<Value>, XrpcError> {
    if issuer != notice.repo || account.did() != &notice.space.authority {
        let text = "a write is told by whose repository it is, to the authority of the space";
        return Err(XrpcError::new(StatusCode::FORBIDDEN, "Forbidden", text));
    }
    host.permissioned.heard_write(notice).await?;
    Ok(Json(json!({})))
}
