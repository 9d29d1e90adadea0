//! `com.atproto.server.createAccount`: a new account, or one that moves in with its identity.

use std::sync::Arc;

use angel_protocol::crypto::VerifyingKey;
use angel_protocol::hosted_handle::{self, HandleKind};
use angel_protocol::ids::{Did, Handle};
use angel_protocol::plc::PlcOperation;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::accounts::AccountError;
use crate::clock;
use crate::handles::HandleError;
use crate::http::XrpcError;
use crate::lifecycle::{LifecycleError, Moved, SignUp};
use crate::mail::is_email;
use crate::passwords::Password;
use crate::rate_limits::{ClientAddress, Limit};
use crate::xrpc::auth;
use crate::xrpc::com::atproto::identity::document;
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;

/// How much of what is no handle is told back.
const HANDLE_CHARS_TOLD: usize = 64;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request {
    handle: String,
    email: Option<String>,
    password: Option<Password>,
    invite_code: Option<String>,
    did: Option<Did>,
    recovery_key: Option<Did>,
    plc_op: Option<Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Output {
    handle: Handle,
    did: Did,
    /// What the identity says by now, where whoever keeps it answers: clients go on at the host it names.
    #[serde(skip_serializing_if = "Option::is_none")]
    did_doc: Option<Value>,
    access_jwt: String,
    refresh_jwt: String,
}

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    address: ClientAddress,
    headers: HeaderMap,
    Input(request): Input<Request>,
) -> Result<Json<Output>, XrpcError> {
    host.limits.spend(Limit::SignUps, &address.to_string(), 1)?;
    let moved = moved(&host, &headers, &request).await?;
    if host.invites.required() && request.invite_code.is_none() {
        let text = "No invite code provided: this host takes new accounts by invitation";
        return Err(XrpcError::new(StatusCode::BAD_REQUEST, "InvalidInviteCode", text));
    }
    let asked_email = request.email.clone();
    let wish = SignUp {
        handle: handle(&host, &request.handle, moved.as_ref()).await?,
        email: request.email.map(|email| checked_email(&email)).transpose()?,
        password: match &request.password {
            Some(password) => Some(host.passwords.hash(password).await?),
            None => None,
        },
        invite_code: request.invite_code,
        recovery_key: request.recovery_key.map(recovery_key).transpose()?,
        moved,
    };
    let made = host.lifecycle.sign_up(wish, clock::now()).await.map_err(|error| match (error, &asked_email) {
        (LifecycleError::Account(AccountError::EmailTaken), Some(email)) => {
            XrpcError::invalid_request(format!("Email already taken: {email}"))
        }
        (error, _) => error.into(),
    })?;
    Ok(Json(Output {
        handle: made.account.handle_or_invalid(),
        did: made.account.did().clone(),
        did_doc: host.resolver.fresh_did(made.account.did()).await.ok().map(document),
        access_jwt: made.tokens.access,
        refresh_jwt: made.tokens.refresh,
    }))
}

/// The identity that is brought along, and whether whoever asks may bring it.
async fn moved(host: &Host, headers: &HeaderMap, request: &Request) -> Result<Option<Moved>, XrpcError> {
    match (&request.did, &request.plc_op) {
        (None, None) => Ok(None),
        (did, Some(operation)) => {
            let refused = |message: String| XrpcError::new(StatusCode::BAD_REQUEST, "IncompatibleDidDoc", message);
            let operation = PlcOperation::from_json(operation).map_err(|error| refused(error.to_string()))?;
            if did.is_some() && operation.creates() != *did {
                return Err(refused("the operation makes another DID than the one named".to_owned()));
            }
            Ok(Some(Moved::Operation(Box::new(operation))))
        }
        (Some(did), None) => {
            let issuer = auth::service_issuer(host, headers, "com.atproto.server.createAccount").await?;
            if issuer != *did {
                let text = format!("the token is for {issuer}: {did} has to ask itself");
                return Err(XrpcError::authentication_required(text));
            }
            Ok(Some(Moved::Existing(did.clone())))
        }
    }
}

/// The handle, if it can be had here: under a domain of this host, or under the owner's own when it leads to the
/// identity that is brought along.
async fn handle(host: &Host, text: &str, moved: Option<&Moved>) -> Result<Handle, XrpcError> {
    let handle = checked_handle(text)?;
    let kind = hosted_handle::check(&handle, &host.service.handle_domains, false).map_err(HandleError::from)?;
    let existing = match moved {
        Some(Moved::Existing(did)) => Some(did),
        _ => None,
    };
    if kind == HandleKind::Custom && existing.is_none() {
        let domains = host.service.handle_domains.join(", ");
        let text = format!("Not a supported handle domain: new handles end in {domains}, another can be chosen later");
        return Err(XrpcError::new(StatusCode::BAD_REQUEST, "UnsupportedDomain", text));
    }
    host.handles.check(&handle, existing, false).await?;
    Ok(handle)
}

/// A handle of the right form. Other text does not fit the method's document, which is no error of its own.
pub(crate) fn checked_handle(text: &str) -> Result<Handle, XrpcError> {
    text.parse().map_err(|error: angel_protocol::ids::InvalidHandle| {
        let told: String = text.chars().take(HANDLE_CHARS_TOLD).collect();
        let text = format!("Invalid handle (got {told:?}) at $.handle: Input/handle must be a valid handle: {error}");
        XrpcError::invalid_request(text)
    })
}

/// An e-mail address that mail could reach.
pub(crate) fn checked_email(text: &str) -> Result<String, XrpcError> {
    if is_email(text) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(XrpcError::invalid_request("This email address is not supported: mail could not reach it"))
    }
}

/// A recovery key of a kind that identities take.
fn recovery_key(key: Did) -> Result<Did, XrpcError> {
    match VerifyingKey::from_did(&key) {
        Ok(_) => Ok(key),
        Err(error) => Err(XrpcError::invalid_request(format!("recoveryKey: {error}"))),
    }
}
