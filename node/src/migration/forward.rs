//! Requests of clients that still come to the node where their account was: through the grace they are sent on, so that
//! nobody notices the switch but by its moment. A write that waited at the switch is sent on with them.
//!
//! A client's token is checked here, where it was made; the new node then gives one of its own for it. Nothing is sent on
//! twice, and nothing is sent again that may have been applied.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use angel_protocol::ids::{AtIdentifier, Did};
use angel_protocol::migration::wire::{Allows, Answer, Question, Session};
use angel_protocol::replication::wire::Of;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header, request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use url::Url;

use super::Migrations;
use crate::clock;
use crate::http::XrpcError;
use crate::placement::Tenant;
use crate::sessions::Scope;
use crate::xrpc::auth::bearer;
use crate::xrpc::host::Host;

/// Says that a request was sent on: it is not sent on again.
const FORWARDED: HeaderName = HeaderName::from_static("angel-forwarded");

/// Longest body that is kept so that it can be sent on when its write waited in vain: the largest of a write.
const KEPT_BYTES_MAX: usize = 2 * 1024 * 1024;

/// For how long a request waits for the new node to serve.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long to wait before asking again.
const AGAIN: Duration = Duration::from_millis(25);

/// How long a token of the new node is used: well within its life.
const TOKEN_LIFE: Duration = Duration::from_mins(30);

/// Longest answer that is read to see why a node cannot take a write now.
const REFUSAL_BYTES_MAX: usize = 16 * 1024;

/// Refusals after which nothing was written, and which pass.
const PASSING: [&str; 3] = ["TakingOver", "NotPrimary", "PrimaryUnconfirmed"];

/// Headers that are of one connection, or made anew.
const OWN_HEADERS: [HeaderName; 6] = [
    header::HOST,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::AUTHORIZATION,
    header::ACCEPT_ENCODING,
];

/// Tokens of new nodes, by account and by what they allow: as many as tenants were moved, times three.
#[derive(Default)]
pub(super) struct Tokens(Mutex<BTreeMap<(Did, Allows, u64), Kept>>);

#[derive(Clone)]
struct Kept {
    access: String,
    endpoint: String,
    at: Instant,
}

/// How a request says who it is.
enum Credentials {
    /// Not at all, or in a way that the new node judges.
    AsTheyAre,
    /// By a token of this node.
    Own(Allows),
}

/// Around every method: what concerns an account that was moved away goes to where it is.
pub(crate) async fn or_where_it_moved(State(host): State<Arc<Host>>, request: Request, next: Next) -> Response {
    let migrations = &host.migrations;
    if migrations.running().is_empty() || request.headers().contains_key(&FORWARDED) {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let named = named(&host, &parts).await;
    let is_write = parts.method == Method::POST && !parts.uri.path().ends_with("uploadBlob");
    if named.is_none() && !parts.uri.path().ends_with(".createSession") {
        return next.run(Request::from_parts(parts, body)).await;
    }
    if !is_write {
        let moved = (named.as_ref().and_then(|(did, _)| migrations.moved(did)), named);
        return match moved {
            (Some(tenant), Some((_, credentials))) => migrations.send_on(&tenant, &credentials, &parts, body).await,
            (_, Some((did, credentials))) if parts.method == Method::GET => {
                let here = next.run(Request::from_parts(parts.clone(), body)).await;
                match migrations.moved(&did) {
                    // It was moved away while it was read.
                    Some(tenant) if !here.status().is_success() => {
                        migrations.send_on(&tenant, &credentials, &parts, Body::empty()).await
                    }
                    _ => here,
                }
            }
            _ => next.run(Request::from_parts(parts, body)).await,
        };
    }
    let Ok(kept) = to_bytes(body, KEPT_BYTES_MAX).await else {
        return XrpcError::new(StatusCode::PAYLOAD_TOO_LARGE, "PayloadTooLarge", "the body is too large")
            .into_response();
    };
    let named = match named {
        Some(named) => Some(named),
        None => who_logs_in(&host, &kept).await,
    };
    let Some((did, credentials)) = named.filter(|(did, _)| migrations.is_moving(did)) else {
        return next.run(Request::from_parts(parts, kept.into())).await;
    };
    if migrations.moved(&did).is_none() {
        let here = next.clone().run(Request::from_parts(parts.clone(), kept.clone().into())).await;
        // It waited for the switch, and was not written here.
        if here.status() != StatusCode::SERVICE_UNAVAILABLE || migrations.moved(&did).is_none() {
            return here;
        }
    }
    match migrations.moved(&did) {
        Some(tenant) => migrations.send_on_again(&tenant, &credentials, &parts, kept).await,
        None => next.run(Request::from_parts(parts, kept.into())).await,
    }
}

/// Whom a request is about, and by what right, if that is an account of this node that moves or was moved.
async fn named(host: &Host, parts: &request::Parts) -> Option<(Did, Credentials)> {
    if let Ok(token) = bearer(&parts.headers) {
        return of_token(host, token).filter(|(did, _)| host.migrations.is_moving(did));
    }
    let query: BTreeMap<String, String> = serde_html_form::from_str(parts.uri.query().unwrap_or_default()).ok()?;
    let named = ["repo", "did", "actor"].iter().find_map(|name| query.get(*name))?;
    let did = account_of(host, named).await?;
    host.migrations.is_moving(&did).then_some((did, Credentials::AsTheyAre))
}

async fn account_of(host: &Host, named: &str) -> Option<Did> {
    let who: AtIdentifier = named.parse().ok()?;
    Some(host.accounts.find(&who).await.ok()??.did().clone())
}

async fn who_logs_in(host: &Host, body: &Bytes) -> Option<(Did, Credentials)> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let did = account_of(host, body["identifier"].as_str()?).await?;
    Some((did, Credentials::AsTheyAre))
}

/// Whose token it is. One of this node counts as it did before the switch; what any other says is for the new node to
/// judge.
fn of_token(host: &Host, token: &str) -> Option<(Did, Credentials)> {
    if let Ok(known) = host.sessions.access_token(token, clock::now()) {
        let from = host.migrations.tokens_from(&known.did)?;
        let allows = match known.scope {
            Scope::Access => Allows::Owner,
            Scope::AppPasswordPrivileged => Allows::PrivilegedApp,
            Scope::AppPassword => Allows::App,
            Scope::Refresh | Scope::TakenDown => return None,
        };
        let counts = !known.is_from_before(from);
        return counts.then_some((known.did, Credentials::Own(allows)));
    }
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    Some((claims["sub"].as_str()?.parse().ok()?, Credentials::AsTheyAre))
}

impl Migrations {
    /// The tenant, if it was moved away from here and can be moved back.
    fn moved(&self, did: &Did) -> Option<Arc<Tenant>> {
        let tenant = self.placement().tenant(did)?;
        (!tenant.is_primary() && tenant.is_former(self.own())).then_some(tenant)
    }

    fn tokens_from(&self, did: &Did) -> Option<angel_protocol::time::Timestamp> {
        self.running().get(did).map(|running| running.row.borrow().tokens_from)
    }

    /// Sends a request on as it comes.
    async fn send_on(
        &self,
        tenant: &Tenant,
        credentials: &Credentials,
        parts: &request::Parts,
        body: Body,
    ) -> Response {
        let (method, headers) = (&parts.method, &parts.headers);
        let Some(to) = self.until_served(tenant, credentials).await else { return not_yet() };
        match self.request(method, headers, &to, parts).map(|request| request.body(as_stream(body))) {
            Some(request) => match request.send().await {
                Ok(response) => answered(response),
                Err(error) => unreachable(&error),
            },
            None => not_yet(),
        }
    }

    /// Sends a write on, and again as long as it is known not to have been applied.
    async fn send_on_again(
        &self,
        tenant: &Tenant,
        credentials: &Credentials,
        parts: &request::Parts,
        body: Bytes,
    ) -> Response {
        let until = Instant::now() + PATIENCE;
        loop {
            let Some(to) = self.until_served(tenant, credentials).await else { return not_yet() };
            let Some(request) = self.request(&parts.method, &parts.headers, &to, parts) else { return not_yet() };
            match request.body(body.clone()).send().await {
                Ok(response) if response.status() == StatusCode::SERVICE_UNAVAILABLE => {
                    let (status, bytes) = (response.status(), crate::fetch::read(response, REFUSAL_BYTES_MAX).await);
                    let bytes = bytes.unwrap_or_default();
                    let refusal: Value = serde_json::from_slice(&bytes).unwrap_or_default();
                    let passes = refusal["error"].as_str().is_some_and(|name| PASSING.contains(&name));
                    if !passes || Instant::now() >= until {
                        return (status, [(header::CONTENT_TYPE, "application/json")], bytes).into_response();
                    }
                }
                Ok(response) => return answered(response),
                Err(error) if error.is_connect() && Instant::now() < until => {}
                Err(error) => return unreachable(&error),
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    fn request(
        &self,
        method: &Method,
        headers: &HeaderMap,
        to: &Kept,
        parts: &request::Parts,
    ) -> Option<reqwest::RequestBuilder> {
        let mut url: Url = to.endpoint.parse().ok()?;
        url.set_path(parts.uri.path());
        url.set_query(parts.uri.query());
        let mut request = self.0.parts.fetcher.request(method.clone(), &url).ok()?.header(FORWARDED, "1");
        for (name, value) in headers.iter().filter(|(name, _)| !OWN_HEADERS.contains(name)) {
            request = request.header(name, value);
        }
        Some(match headers.get(header::AUTHORIZATION) {
            Some(_) if !to.access.is_empty() => request.bearer_auth(&to.access),
            Some(theirs) => request.header(header::AUTHORIZATION, theirs),
            None => request,
        })
    }

    /// Where the tenant is served, with a token where the client has one of this node; nothing when that takes too long.
    async fn until_served(&self, tenant: &Tenant, credentials: &Credentials) -> Option<Kept> {
        let until = Instant::now() + PATIENCE;
        // Whatever needs no right to be seen is asked for without one; the address is learned all the same.
        let allows = match credentials {
            Credentials::Own(allows) => *allows,
            Credentials::AsTheyAre => Allows::App,
        };
        let key = (tenant.did.clone(), allows, tenant.placed.epoch);
        loop {
            let kept = self.0.forwards.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
            let kept = match kept.filter(|kept| kept.at.elapsed() < TOKEN_LIFE) {
                Some(kept) => Some(kept),
                None => self.new_token(tenant, allows).await.inspect(|new| {
                    let mut kept = self.0.forwards.0.lock().unwrap_or_else(PoisonError::into_inner);
                    kept.retain(|(did, _, epoch), it| {
                        it.at.elapsed() < TOKEN_LIFE && (*did != tenant.did || *epoch == tenant.placed.epoch)
                    });
                    kept.insert(key.clone(), new.clone());
                }),
            };
            if let Some(kept) = kept {
                return Some(match credentials {
                    Credentials::Own(_) => kept,
                    Credentials::AsTheyAre => Kept { access: String::new(), ..kept },
                });
            }
            if Instant::now() >= until {
                return None;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn new_token(&self, tenant: &Tenant, allows: Allows) -> Option<Kept> {
        let of = Of { tenant: tenant.did.clone(), epoch: tenant.placed.epoch };
        match self.ask(&tenant.placed.primary, &Question::Session(Session { of, allows })).await {
            Ok(Answer::Session { access, endpoint }) => Some(Kept { access, endpoint, at: Instant::now() }),
            Ok(_) => None,
            Err(error) => {
                tracing::debug!(tenant = %tenant.did, %error, "the new node does not serve yet");
                None
            }
        }
    }
}

fn as_stream(body: Body) -> reqwest::Body {
    reqwest::Body::wrap_stream(body.into_data_stream())
}

fn answered(response: reqwest::Response) -> Response {
    let mut answer = Response::builder().status(response.status());
    for (name, value) in response.headers().iter().filter(|(name, _)| !OWN_HEADERS.contains(name)) {
        answer = answer.header(name, value);
    }
    let body = Body::from_stream(response.bytes_stream());
    answer.body(body).unwrap_or_else(|_| not_yet())
}

fn unreachable(error: &reqwest::Error) -> Response {
    let text = format!("the account was moved, and its new host does not answer: {}", crate::tasks::chain(error));
    XrpcError::new(StatusCode::BAD_GATEWAY, "UpstreamFailure", text).into_response()
}

fn not_yet() -> Response {
    let text = "the account is being taken over by another node; try again in a moment";
    XrpcError::new(StatusCode::SERVICE_UNAVAILABLE, "TakingOver", text).into_response()
}
