//! Every method that this host does not serve itself: passed on to the service that is meant, or not implemented.

use std::sync::Arc;

use angel_protocol::ids::Nsid;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use super::auth::{Access, AnyAccess};
use super::host::Host;
use crate::http::{XrpcError, nowhere};
use crate::proxy::{PROXY, Sender, is_privileged, is_protected};
use crate::sessions::Scope;

/// The method of complaints and appeals.
const CREATE_REPORT: &str = "com.atproto.moderation.createReport";

pub(crate) async fn handler(State(host): State<Arc<Host>>, request: Request) -> Result<Response, XrpcError> {
    let (mut parts, body) = request.into_parts();
    let lxm: Option<Nsid> = parts.uri.path().strip_prefix("/xrpc/").and_then(|name| name.parse().ok());
    let Some(lxm) = lxm else { return Err(nowhere(parts.uri).await) };
    if !matches!(parts.method, Method::GET | Method::HEAD | Method::POST) {
        return Err(XrpcError::invalid_request("XRPC requests only supports GET and POST"));
    }
    if is_protected(&lxm) {
        return Err(bad_method());
    }
    if is_privileged(&lxm)
        && Access::from_request_parts(&mut parts, &host).await.is_ok_and(|access| access.scope == Scope::AppPassword)
    {
        return Err(bad_method());
    }
    let Some(target) = host.proxy.target(&lxm, &parts.headers).await? else {
        // Whoever has an account here is served by others as well; what this network lacks, nobody else has.
        let is_ours = lxm.as_str().starts_with("co.kendev.");
        if !is_ours && Access::from_request_parts(&mut parts, &host).await.is_ok() {
            return Err(XrpcError::invalid_request(format!("No service configured for {lxm}")));
        }
        return Err(nowhere(parts.uri).await);
    };
    let access = if lxm.as_str() == CREATE_REPORT {
        // Whoever was taken down may say what they think of it; what else they may say, the service judges.
        AnyAccess::from_request_parts(&mut parts, &host).await?.0
    } else {
        Access::from_request_parts(&mut parts, &host).await?
    };
    let key = host.accounts.signing_key(access.account.id()).await?;
    let sender = Sender { did: access.account.did(), key: &key, method: &lxm };
    host.proxy.pass_on(&target, Some(sender), (parts.method, &parts.uri, &parts.headers), body).await
}

/// Around a method that this host serves itself unless another service is meant.
pub(crate) async fn or_here(
    State(host): State<Arc<Host>>,
    request: Request,
    next: Next,
) -> Result<Response, XrpcError> {
    let lxm = request.uri().path().strip_prefix("/xrpc/").and_then(|name| name.parse::<Nsid>().ok());
    let elsewhere = match &lxm {
        Some(lxm) => host.proxy.target(lxm, request.headers()).await?.is_some(),
        None => false,
    };
    if elsewhere { handler(State(host), request).await } else { Ok(next.run(request).await) }
}

/// The same, where only a client can mean another service, by naming it: what it asks of the operator's app view is kept
/// here.
pub(crate) async fn or_here_unless_named(
    State(host): State<Arc<Host>>,
    request: Request,
    next: Next,
) -> Result<Response, XrpcError> {
    let lxm = request.uri().path().strip_prefix("/xrpc/").and_then(|name| name.parse::<Nsid>().ok());
    let target = match &lxm {
        Some(lxm) if request.headers().contains_key(PROXY) => host.proxy.target(lxm, request.headers()).await?,
        _ => None,
    };
    let elsewhere = target.is_some_and(|target| !target.is_chosen());
    if elsewhere { handler(State(host), request).await } else { Ok(next.run(request).await) }
}

fn bad_method() -> XrpcError {
    XrpcError::new(StatusCode::BAD_REQUEST, "InvalidToken", "Bad token method")
}
