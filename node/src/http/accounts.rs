//! What the operator's command line asks about accounts beyond the methods of `com.atproto.admin`.

use std::sync::Arc;

use angel_protocol::ids::{AtIdentifier, Did};
use angel_protocol::plc::Counts;
use angel_storage::accounts::MailPurpose;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::XrpcError;
use crate::accounts::Account;
use crate::blocking;
use crate::clock;
use crate::lifecycle::RecoveryTest;
use crate::xrpc::auth::Operator;
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;
use crate::xrpc::who;

/// The routes.
pub(super) fn routes(host: Arc<Host>) -> Router {
    Router::new()
        .route("/admin/accounts/find", post(find))
        .route("/admin/accounts/activate", post(activate))
        .route("/admin/accounts/code", post(code))
        .route("/admin/accounts/recovery", post(test_recovery))
        .route("/admin/accounts/recovery/set", post(set_recovery))
        .with_state(host)
}

#[derive(Deserialize)]
struct Who {
    account: AtIdentifier,
}

/// Which account a handle or a DID means.
async fn find(_: Operator, State(host): State<Arc<Host>>, Input(who): Input<Who>) -> Result<Json<Value>, XrpcError> {
    let account = account(&host, &who.account).await?;
    Ok(Json(json!({
        "did": account.did(),
        "handle": account.handle(),
        "active": account.is_active(),
        "createdAt": account.row().created_at,
    })))
}

/// Switches an account on that was switched off or restored, once its identity is found to lead here.
async fn activate(
    _: Operator,
    State(host): State<Arc<Host>>,
    Input(who): Input<Who>,
) -> Result<Json<Value>, XrpcError> {
    let account = account(&host, &who.account).await?;
    host.lifecycle.activate(&account).await?;
    Ok(Json(json!({ "did": account.did(), "handle": account.handle(), "active": true })))
}

#[derive(Deserialize)]
struct CodeWish {
    account: AtIdentifier,
    purpose: String,
}

/// The code that the account's owner asked for, where no mail brings it.
async fn code(
    _: Operator,
    State(host): State<Arc<Host>>,
    Input(wish): Input<CodeWish>,
) -> Result<Json<Value>, XrpcError> {
    let purpose = MailPurpose::ALL.into_iter().find(|purpose| purpose.name() == wish.purpose).ok_or_else(|| {
        let known = MailPurpose::ALL.map(MailPurpose::name).join(", ");
        XrpcError::invalid_request(format!("codes are for one of {known}"))
    })?;
    let (id, mail) = (account(&host, &wish.account).await?.id(), host.mail.clone());
    let found = blocking::run(move || mail.codes().current_blocking(id, purpose, clock::now())).await?;
    let found = found.ok_or_else(|| {
        let text = "there is no such code: its owner has not asked for one, or it has been used or has expired";
        XrpcError::new(StatusCode::NOT_FOUND, "NotFound", text)
    })?;
    Ok(Json(json!({ "code": found })))
}

#[derive(Deserialize)]
struct KeyWish {
    account: AtIdentifier,
    key: Did,
}

/// What a recovery key, by its public half, is worth to an account.
async fn test_recovery(
    _: Operator,
    State(host): State<Arc<Host>>,
    Input(wish): Input<KeyWish>,
) -> Result<Json<Value>, XrpcError> {
    let account = account(&host, &wish.account).await?;
    let (result, before) = match host.lifecycle.test_recovery_key(&account, &wish.key).await? {
        RecoveryTest::First => ("first", 0),
        RecoveryTest::Later { before } => ("later", before),
        RecoveryTest::Unknown => ("unknown", 0),
    };
    Ok(Json(json!({ "did": account.did(), "key": wish.key, "result": result, "before": before })))
}

#[derive(Deserialize)]
struct OwnersKeyWish {
    account: String,
    key: Did,
}

/// Puts an owner's key, of which the public half comes here, before the others of an identity that names none.
async fn set_recovery(
    _: Operator,
    State(host): State<Arc<Host>>,
    Input(wish): Input<OwnersKeyWish>,
) -> Result<Json<Value>, XrpcError> {
    let account = who::hosted(&host, &wish.account).await?;
    let leave = host.replication.placement().may_write(account.id()).await?;
    let counts = host.lifecycle.add_owners_key(&account, &wish.key).await?;
    drop(leave);
    host.lifecycle.tell_identity(&account).await?;
    Ok(Json(json!({ "did": account.did(), "key": wish.key, "atOnce": counts == Counts::AtOnce })))
}

async fn account(host: &Host, who: &AtIdentifier) -> Result<Account, XrpcError> {
    let found = host.accounts.find(who).await?;
    found.ok_or_else(|| XrpcError::new(StatusCode::NOT_FOUND, "AccountNotFound", format!("{who} has no account here")))
}
