//! Moving tenants (`network.md` 6.2): `/api/federation/migrate-tenant` and the XRPC methods with the same bodies. For the
//! operator, and for the tenant's owner with the account's own password.
//!
//! What the two nodes say to each other does not come this way: it crosses their own encrypted streams, which say who
//! asks (`crate::migration`).

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::error::XrpcError;
use crate::migration::{NotMoved, view};
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;
use crate::xrpc::owning::Owning;
use crate::xrpc::params::Params;
use crate::xrpc::types::network::{
    CancelMigrationInput, GetMigrationParameters, ListMigrationsParameters, MigrateTenantInput, RollBackMigrationInput,
};

/// Why tenants move, as the record has it. The others are the nodes' own reasons.
const REASONS: [&str; 3] = ["manual", "load_balancing", "geographic_optimization"];

/// Begins a move.
pub(super) async fn begin(
    mover: Owning,
    State(host): State<Arc<Host>>,
    Input(wish): Input<MigrateTenantInput>,
) -> Result<Json<Value>, XrpcError> {
    let reason = wish.migration_type.as_deref().unwrap_or(REASONS[0]);
    let reason = REASONS
        .iter()
        .find(|known| **known == reason)
        .ok_or_else(|| XrpcError::invalid_request(format!("migrationType is one of {}", REASONS.join(", "))))?;
    let account = mover.tenant(&host, &wish.tenant).await?;
    Ok(Json(host.migrations.begin(&account, &wish.to_node, reason, wish.dry_run.unwrap_or_default()).await?))
}

/// How far a move is.
pub(super) async fn get(
    mover: Owning,
    State(host): State<Arc<Host>>,
    Params(GetMigrationParameters { id }): Params<GetMigrationParameters>,
) -> Result<Json<Value>, XrpcError> {
    let (did, row) = host.migrations.find(&id).await?;
    mover.owns(&host, &did)?;
    Ok(Json(view(&did, &id, &row)))
}

/// The same by its path.
pub(super) async fn get_by_path(
    mover: Owning,
    host: State<Arc<Host>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, XrpcError> {
    get(mover, host, Params(GetMigrationParameters { id })).await
}

/// Calls a move off.
pub(super) async fn cancel(
    mover: Owning,
    State(host): State<Arc<Host>>,
    Input(CancelMigrationInput { id }): Input<CancelMigrationInput>,
) -> Result<Json<Value>, XrpcError> {
    let (did, _) = host.migrations.find(&id).await?;
    mover.owns(&host, &did)?;
    Ok(Json(host.migrations.cancel(&id)?))
}

/// The same by its path.
pub(super) async fn cancel_by_path(
    mover: Owning,
    host: State<Arc<Host>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, XrpcError> {
    cancel(mover, host, Input(CancelMigrationInput { id })).await
}

/// Moves a tenant back.
pub(super) async fn roll_back(
    mover: Owning,
    State(host): State<Arc<Host>>,
    Input(wish): Input<RollBackMigrationInput>,
) -> Result<Json<Value>, XrpcError> {
    let account = mover.tenant(&host, &wish.tenant).await?;
    Ok(Json(host.migrations.roll_back(&account).await?))
}

/// Undoes a move, named by its id.
pub(super) async fn roll_back_by_path(
    mover: Owning,
    State(host): State<Arc<Host>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, XrpcError> {
    let (did, _) = host.migrations.find(&id).await?;
    let account = mover.tenant(&host, did.as_str()).await?;
    Ok(Json(host.migrations.roll_back(&account).await?))
}

/// The moves of a tenant that began here.
pub(super) async fn list(
    mover: Owning,
    State(host): State<Arc<Host>>,
    Params(wish): Params<ListMigrationsParameters>,
) -> Result<Json<Value>, XrpcError> {
    let account = mover.tenant(&host, &wish.tenant).await?;
    Ok(Json(json!({ "migrations": host.migrations.list(account.did()).await? })))
}

impl From<NotMoved> for XrpcError {
    fn from(error: NotMoved) -> Self {
        let text = error.to_string();
        let (status, name) = match error {
            NotMoved::Why { why, .. } => {
                let status = StatusCode::from_u16(why.status()).unwrap_or(StatusCode::CONFLICT);
                return Self::new(status, why.name(), text);
            }
            NotMoved::Replication(error) => return error.into(),
            NotMoved::Commit(error) => return Self::unexpected(&error),
            NotMoved::InProgress(_) => (StatusCode::CONFLICT, "MigrationInProgress"),
            NotMoved::TooMany => (StatusCode::TOO_MANY_REQUESTS, "TooManyMigrations"),
            NotMoved::Unknown => (StatusCode::NOT_FOUND, "MigrationNotFound"),
            NotMoved::NothingToReturn => (StatusCode::CONFLICT, "NothingToRollBack"),
            NotMoved::TooLate(_) => (StatusCode::CONFLICT, "TooLate"),
        };
        Self::new(status, name, text)
    }
}
