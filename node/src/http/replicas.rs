//! What the operator asks about tenants that have copies: how they are, and that one is placed or moved.

use std::path::PathBuf;
use std::sync::Arc;

use angel_protocol::ids::{AtIdentifier, Did};
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::XrpcError;
use crate::accounts::Account;
use crate::blocking;
use crate::drill::{self, NotDrilled};
use crate::losses;
use crate::placement::Tenant;
use crate::replication::{NotExported, NotPlaced, PlaceWish, Replication, ReplicationError, VERSIONS_SHOWN, VersionOf};
use crate::xrpc::auth::Operator;
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;
use crate::xrpc::who;

/// The routes.
pub(super) fn routes(host: Arc<Host>) -> Router {
    Router::new()
        .route("/admin/replicas", get(list))
        .route("/admin/replicas/show", post(show))
        .route("/admin/replicas/dismiss", post(dismiss))
        .route("/admin/replicas/place", post(place))
        .route("/admin/replicas/promote", post(promote))
        .route("/admin/replicas/vault", get(kept_archives))
        .route("/admin/replicas/vault/export", post(export_archive))
        .route("/admin/replicas/drill", post(drill))
        .route("/admin/replicas/drill/state", post(drill_state))
        .route("/admin/replicas/losses", get(losses))
        .route("/admin/replicas/losses/show", post(losses_of))
        .with_state(host)
}

/// Every tenant that this node hosts in whatever role.
async fn list(_: Operator, State(host): State<Arc<Host>>) -> Result<Json<Value>, XrpcError> {
    let replication = host.replication.clone();
    let reports = blocking::run(move || replication.reports_blocking()).await?;
    Ok(Json(json!({ "tenants": reports })))
}

#[derive(Deserialize)]
struct Who {
    account: String,
}

/// One tenant.
async fn show(_: Operator, State(host): State<Arc<Host>>, Input(wish): Input<Who>) -> Result<Json<Value>, XrpcError> {
    let tenant = match vault_of(&host, &wish.account).await {
        Some(tenant) => tenant,
        None => tenant(&host.replication, &who::hosted(&host, &wish.account).await?)?,
    };
    let (replication, did) = (host.replication.clone(), tenant.did.clone());
    let Json(mut answer) = report(&host, tenant).await?;
    answer["versions"] = blocking::run(move || replication.versions_blocking(&did)).await?.into();
    Ok(Json(answer))
}

#[derive(Deserialize)]
struct Dismissing {
    account: String,
    versions: Vec<VersionOf>,
}

/// Forgets second versions of records that the owner has looked at. Copies follow.
async fn dismiss(
    _: Operator,
    State(host): State<Arc<Host>>,
    Input(wish): Input<Dismissing>,
) -> Result<Json<Value>, XrpcError> {
    if wish.versions.len() > VERSIONS_SHOWN {
        return Err(XrpcError::invalid_request(format!("at most {VERSIONS_SHOWN} versions are dismissed at once")));
    }
    let account = who::hosted(&host, &wish.account).await?;
    let tenant = tenant(&host.replication, &account)?;
    let leave = host.replication.placement().may_write(account.id()).await?;
    let (replication, did) = (host.replication.clone(), account.did().clone());
    let dismissed = blocking::run(move || replication.dismiss_blocking(&did, &wish.versions)).await?;
    leave.replicated(dismissed.sequence).await?;
    let Json(mut answer) = report(&host, tenant).await?;
    answer["dismissed"] = dismissed.versions.into();
    Ok(Json(answer))
}

#[derive(Deserialize)]
struct Placing {
    account: String,
    wish: PlaceWish,
}

/// Gives a tenant its backups.
async fn place(
    _: Operator,
    State(host): State<Arc<Host>>,
    Input(placing): Input<Placing>,
) -> Result<Json<Value>, XrpcError> {
    let account = who::hosted(&host, &placing.account).await?;
    host.replication.place(&account, placing.wish).await?;
    let tenant = tenant(&host.replication, &account)?;
    report(&host, tenant).await
}

/// Makes this node the primary of a tenant of which it holds a copy, its present primary consenting.
async fn promote(
    _: Operator,
    State(host): State<Arc<Host>>,
    Input(wish): Input<Who>,
) -> Result<Json<Value>, XrpcError> {
    let account = who::hosted(&host, &wish.account).await?;
    let before = tenant(&host.replication, &account)?;
    if before.is_primary() {
        return Err(XrpcError::new(
            StatusCode::CONFLICT,
            "AlreadyPrimary",
            "this node is the tenant's primary already",
        ));
    }
    host.replication.promote(&before).await?;
    let tenant = tenant(&host.replication, &account)?;
    report(&host, tenant).await
}

/// The archives that this node keeps as a vault.
async fn kept_archives(_: Operator, State(host): State<Arc<Host>>) -> Result<Json<Value>, XrpcError> {
    let replication = host.replication.clone();
    let kept = blocking::run(move || replication.kept_archives_blocking()).await.map_err(ReplicationError::from)?;
    Ok(Json(json!({ "archives": kept })))
}

#[derive(Deserialize)]
struct Exporting {
    account: String,
    file: PathBuf,
}

/// Takes an archive that this node keeps as a vault out, into a file on this machine.
async fn export_archive(
    _: Operator,
    State(host): State<Arc<Host>>,
    Input(wish): Input<Exporting>,
) -> Result<Json<Value>, XrpcError> {
    if !wish.file.is_absolute() {
        return Err(XrpcError::invalid_request("the file is named from the root"));
    }
    let unknown = || XrpcError::not_found("an archive is named by the DID of its tenant, or by its handle");
    let did = named(&host, &wish.account).await.ok_or_else(unknown)?;
    let replication = host.replication.clone();
    let exported = blocking::run(move || replication.export_archive_blocking(&did, &wish.file)).await?;
    Ok(Json(json!(exported)))
}

/// Whom a DID or a handle names, whether or not they have an account here.
async fn named(host: &Host, named: &str) -> Option<Did> {
    match named.parse().ok()? {
        AtIdentifier::Did(did) => Some(did),
        AtIdentifier::Handle(handle) => host.resolver.handle(&handle).await.ok(),
    }
}

/// A tenant of which this node is a vault, and therefore has no account.
async fn vault_of(host: &Host, account: &str) -> Option<Arc<Tenant>> {
    let did = match account.parse().ok()? {
        AtIdentifier::Did(did) => did,
        AtIdentifier::Handle(_) => return None,
    };
    host.replication.placement().tenant(&did).filter(|tenant| tenant.account.is_none())
}

/// Fails a tenant over and back on purpose. Answers once it is asked for; how it goes is asked separately.
async fn drill(_: Operator, State(host): State<Arc<Host>>, Input(wish): Input<Who>) -> Result<Json<Value>, XrpcError> {
    let account = who::hosted(&host, &wish.account).await?;
    host.replication.ask_for_drill(account.did())?;
    Ok(Json(json!({ "tenant": account.did() })))
}

async fn drill_state(
    _: Operator,
    State(host): State<Arc<Host>>,
    Input(wish): Input<Who>,
) -> Result<Json<Value>, XrpcError> {
    let account = who::hosted(&host, &wish.account).await?;
    let never = || XrpcError::not_found("no drill was asked for since this node was started");
    Ok(Json(match host.replication.drill_state(account.did()).ok_or_else(never)? {
        drill::State::Waiting => json!({ "state": "waiting" }),
        drill::State::Running(phase) => json!({ "state": "running", "phase": phase }),
        drill::State::Ended(Ok(drill)) => json!({ "state": "done", "result": drill.to_json() }),
        drill::State::Ended(Err(refused)) => {
            json!({ "state": "refused", "error": refused.name(), "message": refused.to_string() })
        }
    }))
}

/// "If this machine dies now", for all tenants.
async fn losses(_: Operator, State(host): State<Arc<Host>>) -> Result<Json<Value>, XrpcError> {
    Ok(Json(losses::report(&host.replication, &host.tenants, &host.backups).await?))
}

/// The same for one.
async fn losses_of(
    _: Operator,
    State(host): State<Arc<Host>>,
    Input(wish): Input<Who>,
) -> Result<Json<Value>, XrpcError> {
    let account = who::hosted(&host, &wish.account).await?;
    let report = losses::of(&host.replication, &host.backups, account.did()).await?;
    Ok(Json(report))
}

fn tenant(replication: &Replication, account: &Account) -> Result<Arc<Tenant>, XrpcError> {
    let text = "the account is not placed on the network: it has no backups; see `angel tenant place`";
    let none = || XrpcError::new(StatusCode::NOT_FOUND, "NotPlaced", text);
    replication.placement().tenant(account.did()).ok_or_else(none)
}

async fn report(host: &Host, tenant: Arc<Tenant>) -> Result<Json<Value>, XrpcError> {
    let replication = host.replication.clone();
    let report = blocking::run(move || {
        let report = replication.report_blocking(&tenant)?;
        let successors = Replication::successors(&tenant);
        let mut view = json!(report);
        view["successors"] = successors.into_iter().map(|(did, copy)| json!({ "did": did, "copy": copy })).collect();
        Ok::<_, ReplicationError>(view)
    });
    Ok(Json(report.await?))
}

impl From<ReplicationError> for XrpcError {
    fn from(error: ReplicationError) -> Self {
        match &error {
            ReplicationError::Refused(_) => Self::new(StatusCode::CONFLICT, "Refused", error.to_string()),
            ReplicationError::Stream(_) | ReplicationError::Io(_) => {
                Self::new(StatusCode::BAD_GATEWAY, "TargetUnreachable", error.to_string())
            }
            ReplicationError::Submit(_) => Self::new(StatusCode::CONFLICT, "NotDecided", error.to_string()),
            ReplicationError::Account(_)
            | ReplicationError::Identity(_)
            | ReplicationError::Quota
            | ReplicationError::Declined(_) => Self::invalid_request(error.to_string()),
            _ => Self::broken(&error.to_string()),
        }
    }
}

impl From<NotDrilled> for XrpcError {
    fn from(error: NotDrilled) -> Self {
        Self::new(StatusCode::CONFLICT, error.name(), error.to_string())
    }
}

impl From<NotExported> for XrpcError {
    fn from(error: NotExported) -> Self {
        let (status, name) = match &error {
            NotExported::NotKept(_) => (StatusCode::NOT_FOUND, "NotKept"),
            NotExported::Name(_) | NotExported::File { .. } => (StatusCode::BAD_REQUEST, "InvalidRequest"),
            NotExported::Damaged(_) | NotExported::Read(_) => (StatusCode::CONFLICT, "ArchiveDamaged"),
        };
        Self::new(status, name, error.to_string())
    }
}

impl From<NotPlaced> for XrpcError {
    fn from(error: NotPlaced) -> Self {
        match error {
            NotPlaced::Replication(error) => error.into(),
            NotPlaced::NoPlace(_) => Self::new(StatusCode::CONFLICT, "NoRoom", error.to_string()),
            NotPlaced::Declined { .. } => Self::new(StatusCode::CONFLICT, "Declined", error.to_string()),
            NotPlaced::Silent { .. } => Self::new(StatusCode::BAD_GATEWAY, "TargetUnreachable", error.to_string()),
            NotPlaced::NotPrimary(_) => Self::new(StatusCode::CONFLICT, "NotPrimary", error.to_string()),
            NotPlaced::HoldsCopy(_) | NotPlaced::WhichRecoveryKey | NotPlaced::RecoveryKey(_) => {
                Self::invalid_request(error.to_string())
            }
        }
    }
}
