//! `com.atproto.space.notifySpaceDeleted`: a space's authority says that the space is gone.

use angel_protocol::permissioned::wire::notice::DeletionNotice;
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
    Input(DeletionNotice { space }): Input<DeletionNotice>,
) -> Result<Json<Value>, XrpcError> {
    if issuer != space.authority {
        let text = "that a space is gone is told by its authority";
        return Err(XrpcError::new(StatusCode::FORBIDDEN, "Forbidden", text));
    }
    host.permissioned.heard_deletion(&account, &space).await?;
    Ok(Json(json!({})))
}
