//! `com.atproto.server.getServiceAuth`: a short-lived token with which another service believes that the account asks.

use std::sync::Arc;

use angel_protocol::ids::Nsid;
use angel_protocol::service_auth::{Claims, ServiceId};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::http::XrpcError;
use crate::proxy::{is_privileged, is_protected};
use crate::secrets::random_bytes;
use crate::sessions::Scope;
use crate::xrpc::auth::AnyAccess;
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;

/// How long a token is good when nobody says how long, in seconds.
const LIFE: u64 = 60;

/// How long a token for one method may be good, in seconds.
const LIFE_MAX: u64 = 3600;

/// How long one for any method may be good, in seconds.
const GENERAL_LIFE_MAX: u64 = 60;

#[derive(Deserialize)]
pub(crate) struct Query {
    aud: String,
    exp: Option<u64>,
    lxm: Option<Nsid>,
}

#[derive(Serialize)]
pub(crate) struct Output {
    token: String,
}

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    AnyAccess(access): AnyAccess,
    Params(Query { aud, exp, lxm }): Params<Query>,
) -> Result<Json<Output>, XrpcError> {
    let audience = audience(&aud)?;
    check_method(access.scope, lxm.as_ref())?;
    let now = clock::now().as_millis() / 1000;
    let expires_at = exp.unwrap_or(now + LIFE);
    check_expiry(now, expires_at, lxm.is_some())?;
    let key = host.accounts.signing_key(access.account.id()).await?;
    let nonce = random_bytes::<16>().map_err(|error| XrpcError::unexpected(&error))?;
    let claims = Claims {
        issuer: access.account.did().clone().into(),
        audience,
        expires_at,
        issued_at: Some(now),
        method: lxm,
        nonce: Some(HEXLOWER.encode(&*nonce)),
    };
    Ok(Json(Output { token: claims.sign(&key) }))
}

/// Who is spoken to: a service by a DID that the network resolves, perhaps with the name of one of its services.
fn audience(text: &str) -> Result<ServiceId, XrpcError> {
    let resolves = |id: &ServiceId| {
        let name = id.did.as_str().split_once(&format!("did:{}:", id.did.method())).map_or("", |(_, name)| name);
        match id.did.method() {
            "plc" => name.len() == 24 && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7')),
            "web" => !name.contains(':'),
            _ => false,
        }
    };
    let refused = || XrpcError::invalid_request("aud must be a valid atproto DID or did#serviceId reference");
    text.parse().ok().filter(resolves).ok_or_else(refused)
}

fn check_method(scope: Scope, method: Option<&Nsid>) -> Result<(), XrpcError> {
    let leaving = || {
        let text = "Bad token scope: of an account that was taken down, this is good for moving to another host alone";
        Err(XrpcError::new(StatusCode::BAD_REQUEST, "InvalidToken", text))
    };
    let Some(method) = method else {
        return if scope == Scope::TakenDown { leaving() } else { Ok(()) };
    };
    if is_protected(method) {
        return Err(XrpcError::invalid_request(format!(
            "cannot request a service auth token for the following protected method: {method}"
        )));
    }
    if scope == Scope::AppPassword && is_privileged(method) {
        return Err(XrpcError::invalid_request(format!(
            "insufficient access to request a service auth token for the following method: {method}"
        )));
    }
    if scope == Scope::TakenDown && method.as_str() != "com.atproto.server.createAccount" {
        return leaving();
    }
    Ok(())
}

fn check_expiry(now: u64, expires_at: u64, for_one_method: bool) -> Result<(), XrpcError> {
    let bad = |message: &str| Err(XrpcError::new(StatusCode::BAD_REQUEST, "BadExpiration", message));
    match expires_at.checked_sub(now) {
        None => bad("exp lies in the past"),
        Some(life) if life > LIFE_MAX => bad("exp lies more than an hour ahead"),
        Some(life) if !for_one_method && life > GENERAL_LIFE_MAX => {
            bad("a token for any method lasts a minute: name the method in lxm")
        }
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_short_lived_and_more_so_without_a_method() {
        assert!(check_expiry(100, 99, true).is_err());
        assert!(check_expiry(100, 100 + LIFE_MAX, true).is_ok() && check_expiry(100, 101 + LIFE_MAX, true).is_err());
        assert!(check_expiry(100, 160, false).is_ok() && check_expiry(100, 161, false).is_err());
    }

    #[test]
    fn rights_are_not_widened_by_a_service_token() {
        let method = |scope, text: &str| check_method(scope, Some(&text.parse().expect("an NSID"))).is_ok();
        assert!(method(Scope::Access, "chat.bsky.convo.listConvos"));
        assert!(method(Scope::AppPasswordPrivileged, "chat.bsky.convo.listConvos"));
        assert!(!method(Scope::AppPassword, "chat.bsky.convo.listConvos"));
        assert!(!method(Scope::AppPassword, "com.atproto.server.createAccount"));
        assert!(!method(Scope::Access, "com.atproto.identity.signPlcOperation"));
        assert!(method(Scope::TakenDown, "com.atproto.server.createAccount"));
        assert!(!method(Scope::TakenDown, "app.bsky.feed.getTimeline"));
        assert!(check_method(Scope::Access, None).is_ok() && check_method(Scope::TakenDown, None).is_err());
    }
}
