//! `com.atproto.admin.updateSubjectStatus`: takes an account, a record or a blob down, or brings it back; switches an
//! account off or on.

use std::sync::Arc;

use angel_storage::accounts::TakedownRow;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::subject::{Attribute, Subject};
use crate::accounts::Account;
use crate::blocking;
use crate::clock;
use crate::http::XrpcError;
use crate::lifecycle::LifecycleError;
use crate::xrpc::auth::Moderator;
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;

#[derive(Deserialize)]
pub(crate) struct Request {
    subject: Subject,
    takedown: Option<Attribute>,
    deactivated: Option<Attribute>,
}

#[derive(Serialize)]
pub(crate) struct Output {
    subject: Subject,
    #[serde(skip_serializing_if = "Option::is_none")]
    takedown: Option<Attribute>,
}

pub(crate) async fn handler(
    _: Moderator,
    State(host): State<Arc<Host>>,
    Input(Request { subject, takedown, deactivated }): Input<Request>,
) -> Result<Json<Output>, XrpcError> {
    let applied = |attribute: &Option<Attribute>| attribute.as_ref().map(|attribute| attribute.applied);
    if applied(&takedown) == Some(true) && applied(&deactivated) == Some(false) {
        return Err(XrpcError::invalid_request("Cannot activate and takedown an account at the same time"));
    }
    let (did, part) = subject.parts()?;
    let account = super::account(&host, &did).await?;
    match part {
        None => set_account(&host, account, takedown.as_ref(), applied(&deactivated)).await?,
        Some(part) => {
            let takedown = takedown.as_ref().map(row);
            let takedowns = host.takedowns.clone();
            if let Some(takedown) = takedown {
                blocking::run(move || takedowns.set_blocking(account.id(), &part, takedown)).await?;
            }
        }
    }
    Ok(Json(Output { subject, takedown }))
}

async fn set_account(
    host: &Host,
    account: Account,
    takedown: Option<&Attribute>,
    deactivated: Option<bool>,
) -> Result<(), XrpcError> {
    let (lifecycle, id, takedown) = (host.lifecycle.clone(), account.id(), takedown.map(row));
    let changes_nothing = takedown.is_none() && deactivated.is_none();
    if let Some(takedown) = takedown {
        blocking::run(move || lifecycle.set_takedown_blocking(id, takedown)).await?;
    }
    if deactivated == Some(true) {
        host.lifecycle.deactivate(&account, None).await?;
    }
    if changes_nothing {
        let lifecycle = host.lifecycle.clone();
        return Ok(blocking::run(move || lifecycle.announce_blocking(id)).await?);
    }
    if deactivated == Some(false) {
        host.lifecycle.activate(&account).await.map_err(|error| match error {
            LifecycleError::TakenDown => {
                let text = "user not found among those that can be switched on: the account is taken down";
                XrpcError::new(StatusCode::BAD_REQUEST, "AccountNotFound", text)
            }
            error => error.into(),
        })?;
    }
    Ok(())
}

fn row(attribute: &Attribute) -> Option<TakedownRow> {
    let reference = attribute.reference.clone();
    attribute.applied.then(|| TakedownRow { reference, at: clock::now() })
}
