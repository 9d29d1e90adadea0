//! A tenant's owner claims it for this node: what there is to sign, and what was signed. No secret key comes here.

use std::sync::Arc;

use angel_protocol::crypto::Signature;
use angel_protocol::plc::PlcOperation;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::XrpcError;
use crate::failover::{NotClaimed, SignedClaim, ToSign};
use crate::xrpc::auth::Operator;
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;
use crate::xrpc::who;

/// The routes.
pub(super) fn routes(host: Arc<Host>) -> Router {
    Router::new()
        .route("/admin/replicas/claim", post(claim))
        .route("/admin/replicas/claim/to-sign", post(to_sign))
        .with_state(host)
}

#[derive(Deserialize)]
struct Who {
    account: String,
}

async fn to_sign(
    _: Operator,
    State(host): State<Arc<Host>>,
    Input(wish): Input<Who>,
) -> Result<Json<ToSign>, XrpcError> {
    let account = who::hosted(&host, &wish.account).await?;
    Ok(Json(host.replication.to_sign(&account).await?))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Signed {
    account: String,
    epoch: u64,
    /// Sixty-four bytes, in the letters that did:plc has its own in.
    owner: Option<String>,
    /// As a directory takes it.
    operation: Value,
    #[serde(default)]
    anyway: bool,
}

async fn claim(
    _: Operator,
    State(host): State<Arc<Host>>,
    Input(wish): Input<Signed>,
) -> Result<Json<Value>, XrpcError> {
    let account = who::hosted(&host, &wish.account).await?;
    let signature = |text: &String| {
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
        Signature::try_from(bytes.as_slice()).ok()
    };
    let owner = match &wish.owner {
        Some(text) => Some(signature(text).ok_or_else(|| XrpcError::invalid_request("the owner's signature is none"))?),
        None => None,
    };
    let operation = PlcOperation::from_json(&wish.operation);
    let operation = operation.map_err(|error| XrpcError::invalid_request(error.to_string()))?;
    let signed = SignedClaim { epoch: wish.epoch, owner, operation, anyway: wish.anyway };
    host.replication.claim(&account, signed).await?;
    Ok(Json(json!({ "did": account.did(), "epoch": wish.epoch })))
}

impl From<NotClaimed> for XrpcError {
    fn from(error: NotClaimed) -> Self {
        match error {
            NotClaimed::Replication(error) => error.into(),
            error => Self::new(StatusCode::CONFLICT, error.name(), error.to_string()),
        }
    }
}
