//! What the operator asks about backups: who can open them, that one is made or verified, and which there are.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

use super::error::XrpcError;
use crate::backup::{BackupError, Wish, recovery};
use crate::blocking;
use crate::xrpc::auth::Operator;
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;

/// The routes.
pub(super) fn routes(host: Arc<Host>) -> Router {
    Router::new()
        .route("/admin/backups", get(status))
        .route("/admin/backups/create", post(create))
        .route("/admin/backups/verify", post(verify))
        .route("/admin/backups/list", post(list))
        .route("/admin/backups/jobs/{id}", get(job))
        .route("/admin/backups/recipients", post(challenge))
        .route("/admin/backups/recipients/prove", post(prove))
        .with_state(host)
}

async fn status(_: Operator, State(host): State<Arc<Host>>) -> Result<Json<Value>, XrpcError> {
    let backups = host.backups.clone();
    Ok(Json(blocking::run(move || backups.status_blocking()).await?))
}

async fn create(
    _: Operator,
    State(host): State<Arc<Host>>,
    Input(wish): Input<Wish>,
) -> Result<Json<Value>, XrpcError> {
    Ok(Json(json!({ "job": host.backups.create(wish)? })))
}

async fn verify(
    _: Operator,
    State(host): State<Arc<Host>>,
    Input(wish): Input<Wish>,
) -> Result<Json<Value>, XrpcError> {
    Ok(Json(json!({ "job": host.backups.verify(wish)? })))
}

async fn list(_: Operator, State(host): State<Arc<Host>>, Input(wish): Input<Wish>) -> Result<Json<Value>, XrpcError> {
    let backups = host.backups.clone();
    let snapshots = blocking::run(move || backups.list_blocking(wish.place.as_deref())).await?;
    Ok(Json(json!({ "snapshots": snapshots })))
}

async fn job(_: Operator, State(host): State<Arc<Host>>, Path(id): Path<u64>) -> Result<Json<Value>, XrpcError> {
    let job = host.backups.job(id);
    job.map(Json).ok_or_else(|| XrpcError::not_found(format!("no job {id} of backups is known")))
}

#[derive(Deserialize)]
struct Recipient {
    recipient: String,
}

/// Something that only the holder of the recovery key can read.
async fn challenge(
    _: Operator,
    State(host): State<Arc<Host>>,
    Input(it): Input<Recipient>,
) -> Result<Json<Value>, XrpcError> {
    let layout = host.backups.source().layout.clone();
    let sealed = blocking::run(move || recovery::challenge(&layout, &it.recipient)).await.map_err(BackupError::from)?;
    Ok(Json(json!({ "challenge": STANDARD.encode(sealed) })))
}

#[derive(Deserialize)]
struct Answered {
    recipient: String,
    answer: String,
}

async fn prove(
    _: Operator,
    State(host): State<Arc<Host>>,
    Input(it): Input<Answered>,
) -> Result<Json<Value>, XrpcError> {
    let layout = host.backups.source().layout.clone();
    let recipient = it.recipient.clone();
    let proving = blocking::run(move || recovery::prove(&layout, &it.recipient, &it.answer));
    proving.await.map_err(BackupError::from)?;
    tracing::info!(recipient, "somebody has shown to hold a recovery key");
    Ok(Json(json!({ "recipient": recipient })))
}

impl From<BackupError> for XrpcError {
    fn from(error: BackupError) -> Self {
        let status = match &error {
            BackupError::Busy => StatusCode::CONFLICT,
            BackupError::NoSnapshot { .. } | BackupError::Empty { .. } => StatusCode::NOT_FOUND,
            BackupError::Stopped => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        };
        Self::new(status, error.name(), error.to_string())
    }
}
