//! The admin API: what the operator's command line asks of a running daemon. Every request carries
//! `Authorization: Basic admin:<password>`, as PDS software does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::error::{WRONG_PASSWORD, XrpcError};
use angel_protocol::ids::Did;
use angel_protocol::membership::DeclaredStatus;

use crate::clock;
use crate::control::Control;
use crate::data_dir::Layout;
use crate::facts::NodeFacts;
use crate::health::Health;
use crate::keys::{self, RotationError};
use crate::machine::Load;
use crate::membership::{self, InviteWish};
use crate::secrets::AdminPassword;
use crate::telemetry::LogControl;

/// What the admin API can reach.
pub(crate) struct Admin {
    pub(crate) password: Arc<AdminPassword>,
    pub(crate) membership: membership::Handle,
    pub(crate) facts: Arc<NodeFacts>,
    pub(crate) health: Health,
    pub(crate) load: watch::Receiver<Load>,
    pub(crate) started: Instant,
    pub(crate) settings: Value,
    pub(crate) log: Option<LogControl>,
    pub(crate) control: Control,
    pub(crate) layout: Layout,
    pub(crate) rotation_overlap: Duration,
}

impl Admin {
    /// Lets the operator through.
    pub(super) fn authorize(&self, headers: &HeaderMap) -> Result<(), XrpcError> {
        let offered = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(basic_password);
        match offered {
            Some(password) if self.password.matches(&password) => Ok(()),
            _ => Err(XrpcError::new(
                StatusCode::UNAUTHORIZED,
                WRONG_PASSWORD,
                "this is for the operator: send Authorization: Basic with the user admin and the admin password",
            )),
        }
    }
}

/// The password of `Basic base64("admin:…")` (RFC 7617); the scheme's case does not matter.
pub(crate) fn basic_password(value: &str) -> Option<Zeroizing<Vec<u8>>> {
    let (scheme, token) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = Zeroizing::new(STANDARD.decode(token.trim()).ok()?);
    decoded.strip_prefix(b"admin:").map(|password| Zeroizing::new(password.to_vec()))
}

/// Proof that the request came from the operator.
pub(super) struct Operator;

impl FromRequestParts<Arc<Admin>> for Operator {
    type Rejection = XrpcError;

    async fn from_request_parts(parts: &mut Parts, admin: &Arc<Admin>) -> Result<Self, XrpcError> {
        admin.authorize(&parts.headers).map(|()| Self)
    }
}

pub(super) async fn status(_: Operator, State(admin): State<Arc<Admin>>) -> Json<Value> {
    let load = *admin.load.borrow();
    Json(json!({
        "node": *admin.facts,
        "uptimeSeconds": admin.started.elapsed().as_secs(),
        "health": super::health::report(&admin.health),
        "load": {
            "cpuPercent": load.cpu_percent,
            "memoryPercent": load.memory_percent,
            "diskUsedBytes": load.disk_used_bytes,
            "diskCapacityBytes": load.disk_capacity_bytes,
        },
    }))
}

pub(super) async fn config(_: Operator, State(admin): State<Arc<Admin>>) -> Json<Value> {
    Json(admin.settings.clone())
}

#[derive(Deserialize)]
pub(super) struct LogFilter {
    filter: String,
}

pub(super) async fn set_log_filter(
    _: Operator,
    State(admin): State<Arc<Admin>>,
    Json(request): Json<LogFilter>,
) -> Result<Json<Value>, XrpcError> {
    let log = admin.log.as_ref().ok_or_else(|| XrpcError::unavailable("this process has no log of its own"))?;
    log.set_filter(&request.filter).map_err(|error| XrpcError::invalid_request(error.to_string()))?;
    tracing::info!(filter = request.filter, "the log filter was changed");
    Ok(Json(json!({ "filter": request.filter })))
}

/// Rotates the node's key and starts the node anew under it, once this request is answered.
pub(super) async fn rotate_identity(_: Operator, State(admin): State<Arc<Admin>>) -> Result<Json<Value>, XrpcError> {
    let restart = admin.control.prepare_restart().ok_or_else(|| {
        XrpcError::new(
            StatusCode::CONFLICT,
            "RotationUnderWay",
            "the node is rotating its key or stopping; ask again later",
        )
    })?;
    let (layout, overlap) = (admin.layout.clone(), admin.rotation_overlap);
    // The restart belongs to the rotation, whether or not anybody still waits for the answer.
    let rotating = tokio::task::spawn_blocking(move || {
        let rotation = keys::rotate(&layout, clock::now(), overlap)?;
        restart.go();
        Ok(rotation)
    });
    let rotated = rotating.await.map_err(|error| XrpcError::unexpected(&error))?;
    let rotation = rotated.map_err(|error| match error {
        RotationError::TooMany { .. } => XrpcError::new(StatusCode::CONFLICT, "TooManyRotations", error.to_string()),
        RotationError::Secret(_) => XrpcError::unexpected(&error),
    })?;
    tracing::warn!(previous = %rotation.previous, current = %rotation.current, "the node's key was rotated");
    Ok(Json(rotation.to_json()))
}

/// What an invitation is to allow.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct InviteRequest {
    invitee: Option<Did>,
    #[serde(default = "one")]
    uses: u16,
    #[serde(default = "a_week")]
    valid_seconds: u64,
}

const fn one() -> u16 {
    1
}

const fn a_week() -> u64 {
    7 * 86_400
}

/// Longest life of an invitation.
const INVITE_SECONDS_MAX: u64 = 366 * 86_400;

pub(super) async fn invite(
    _: Operator,
    State(admin): State<Arc<Admin>>,
    Json(request): Json<InviteRequest>,
) -> Result<Json<Value>, XrpcError> {
    if !(1..=INVITE_SECONDS_MAX).contains(&request.valid_seconds) {
        return Err(XrpcError::invalid_request("an invitation is valid for one second to a year"));
    }
    let valid_for = Duration::from_secs(request.valid_seconds);
    let wish = InviteWish { invitee: request.invitee, uses: request.uses, valid_for };
    let invite = admin.membership.invite(wish).await?;
    Ok(Json(json!({
        "invitation": invite.to_string(),
        "uses": invite.terms.uses,
        "expiresAt": invite.terms.expires_at.to_string(),
    })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PeerRequest {
    did: Did,
}

pub(super) async fn remove_peer(
    _: Operator,
    State(admin): State<Arc<Admin>>,
    Json(request): Json<PeerRequest>,
) -> Result<Json<Value>, XrpcError> {
    if admin.membership.remove(request.did.clone()).await? {
        tracing::warn!(peer = %request.did, "removed by the operator");
        Ok(Json(json!({ "removed": request.did })))
    } else {
        Err(XrpcError::not_found(format!("this node does not know {}", request.did)))
    }
}

pub(super) async fn accept_absence(_: Operator, State(admin): State<Arc<Admin>>) -> Result<Json<Value>, XrpcError> {
    admin.membership.accept_absence().await?;
    Ok(Json(json!({})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Declaration {
    status: DeclaredStatus,
}

pub(super) async fn declare(
    _: Operator,
    State(admin): State<Arc<Admin>>,
    Json(request): Json<Declaration>,
) -> Result<Json<Value>, XrpcError> {
    admin.membership.declare(request.status).await?;
    Ok(Json(json!({ "status": request.status })))
}
