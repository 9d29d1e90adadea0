//! `co.kendev.spaces.notifyInvitation`: the node of a space says that somebody here was asked into it.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::Shared;
use crate::http::XrpcError;
use crate::xrpc::com::atproto::space::Spoken;
use crate::xrpc::input::Input;
use crate::xrpc::types::spaces::NotifyInvitationInput;

pub(crate) async fn handler(
    State(host): State<Shared>,
    Spoken { account, issuer }: Spoken,
    Input(request): Input<NotifyInvitationInput>,
) -> Result<Json<Value>, XrpcError> {
    if *account.did() != request.user {
        let text = "the token is for somebody else than the invitation";
        return Err(XrpcError::new(StatusCode::FORBIDDEN, "NotAllowed", text));
    }
    host.spaces.heard_asking(&request.user, &issuer, &request.space).await?;
    Ok(Json(json!({})))
}
