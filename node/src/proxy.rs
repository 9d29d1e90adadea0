//! Methods of other services, called through this host: an app talks to its own host alone, which passes on what it does
//! not serve itself and vouches for the account (AT Protocol "XRPC", section "Service Proxying").
//!
//! The header `atproto-proxy` names the service by DID and fragment; methods of `app.bsky` go to the service that the
//! operator chose when nobody is named. Bodies stream through both ways, within bounds. Only headers that the protocol
//! knows are passed on, and no token of this host ever leaves it.

#[cfg(test)]
mod tests;

use std::time::Duration;

use angel_protocol::crypto::SigningKey;
use angel_protocol::ids::{Did, Nsid};
use angel_protocol::service_auth::{Claims, ServiceId};
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt};
use serde_json::{Value, json};
use url::Url;

use crate::clock;
use crate::config::ServicesConfig;
use crate::fetch::{self, FetchError, Fetcher};
use crate::http::XrpcError;
use crate::network::Scope;
use crate::resolver::Resolver;

/// Names the service that a request is for.
pub(crate) const PROXY: HeaderName = HeaderName::from_static("atproto-proxy");

/// How long a service may take until its answer begins.
const ANSWER_WITHIN: Duration = Duration::from_secs(25);

/// How long a token for a service counts, in seconds.
const TOKEN_SECONDS: u64 = 60;

/// Largest answer that is passed on.
const ANSWER_BYTES_MAX: u64 = 10 << 20;

/// Largest error that is read.
const ERROR_BYTES_MAX: usize = 64 << 10;

/// Longest text of an error that is passed on, in characters.
const ERROR_TEXT_MAX: usize = 1000;

/// What of a request is passed on, besides everything that begins with [`PASSED_PREFIX`].
const REQUEST_HEADERS: [HeaderName; 7] = [
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    HeaderName::from_static("atproto-accept-labelers"),
    HeaderName::from_static("x-bsky-topics"),
];

const PASSED_PREFIX: &str = "x-atproto-";

/// What of an answer is passed on.
const ANSWER_HEADERS: [HeaderName; 7] = [
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_LANGUAGE,
    header::RETRY_AFTER,
    HeaderName::from_static("atproto-repo-rev"),
    HeaderName::from_static("atproto-content-labelers"),
];

/// Methods about the account itself, which are called here or nowhere: no other service may be told to act on them in
/// the account's name. In lower case, sorted.
const PROTECTED: [&str; 16] = [
    "com.atproto.admin.sendemail",
    "com.atproto.identity.requestplcoperationsignature",
    "com.atproto.identity.signplcoperation",
    "com.atproto.identity.updatehandle",
    "com.atproto.server.activateaccount",
    "com.atproto.server.confirmemail",
    "com.atproto.server.createapppassword",
    "com.atproto.server.deactivateaccount",
    "com.atproto.server.getaccountinvitecodes",
    "com.atproto.server.getsession",
    "com.atproto.server.listapppasswords",
    "com.atproto.server.requestaccountdelete",
    "com.atproto.server.requestemailconfirmation",
    "com.atproto.server.requestemailupdate",
    "com.atproto.server.revokeapppassword",
    "com.atproto.server.updateemail",
];

/// Whether a method may be called only at the account's own host.
#[must_use]
pub(crate) fn is_protected(method: &Nsid) -> bool {
    PROTECTED.binary_search(&method.as_str().to_ascii_lowercase().as_str()).is_ok()
}

/// Whether a method is closed to apps that are not privileged: private messages, and accounts on other hosts.
#[must_use]
pub(crate) fn is_privileged(method: &Nsid) -> bool {
    let method = method.as_str().to_ascii_lowercase();
    method.starts_with("chat.bsky.") || method == "com.atproto.server.createaccount"
}

/// A service to pass a request on to.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Who answers: the audience of the token.
    did: Did,
    /// Where.
    url: Url,
    /// Whether the operator named the address, which may then be any.
    chosen: bool,
}

impl Target {
    /// Whether the operator named it.
    pub(crate) const fn is_chosen(&self) -> bool {
        self.chosen
    }
}

/// Passes requests on. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Proxy {
    resolver: Resolver,
    /// For services that clients name.
    named: Fetcher,
    /// For services that the operator chose.
    chosen: Fetcher,
    scope: Scope,
    app_view: Option<(Did, Url)>,
    moderation: Option<(Did, Url)>,
    body_max: u64,
}

/// The service that an `atproto-proxy` header names, as `DID#service`.
fn service_named(header: &str) -> Result<(Did, String), &'static str> {
    match header.split_once('#') {
        Some(("", _)) => Err("no did specified in proxy header"),
        None | Some((_, "")) => Err("no service id specified in proxy header"),
        Some((_, fragment)) if fragment.contains('#') => Err("invalid proxy header format"),
        Some(_) if header.contains(' ') => Err("proxy header cannot contain spaces"),
        Some(_) => match header.parse::<ServiceId>() {
            Ok(ServiceId { did, fragment: Some(fragment) }) => Ok((did, fragment)),
            Ok(_) | Err(_) => Err("invalid proxy header format: a service is named as DID#service"),
        },
    }
}

/// For whom a request is passed on, and which method that allows.
pub(crate) struct Sender<'a> {
    pub(crate) did: &'a Did,
    pub(crate) key: &'a SigningKey,
    pub(crate) method: &'a Nsid,
}

impl Proxy {
    /// `scope` says which addresses count when a client names the service; `body_max` bounds bodies, in bytes.
    ///
    /// # Errors
    /// The TLS library does not start.
    pub(crate) fn new(
        resolver: Resolver,
        services: &ServicesConfig,
        scope: Scope,
        body_max: u64,
    ) -> Result<Self, FetchError> {
        Ok(Self {
            resolver,
            named: Fetcher::streaming(scope)?,
            chosen: Fetcher::streaming(Scope::Loopback)?,
            scope,
            app_view: services.app_view_did.clone().zip(services.app_view_url.clone()),
            moderation: services.moderation_did.clone().zip(services.moderation_url.clone()),
            body_max,
        })
    }

    /// Whom a request is for: `None` when nobody is named and the operator chose nobody for such a method.
    ///
    /// # Errors
    /// The header names no service that can be found.
    pub(crate) async fn target(&self, method: &Nsid, headers: &HeaderMap) -> Result<Option<Target>, XrpcError> {
        let chosen = |(did, url): (Did, Url)| Target { did, url, chosen: true };
        let Some(named) = headers.get(PROXY) else {
            let service = match method.as_str() {
                name if name.starts_with("app.bsky.") => &self.app_view,
                name if name.starts_with("tools.ozone.") => &self.moderation,
                "com.atproto.moderation.createReport" => &self.moderation,
                _ => &None,
            };
            return Ok(service.clone().map(chosen));
        };
        let (did, fragment) = service_named(named.to_str().unwrap_or_default()).map_err(XrpcError::invalid_request)?;
        for (own, name) in [(&self.app_view, "bsky_appview"), (&self.moderation, "atproto_labeler")] {
            if let Some(own) = own.as_ref().filter(|own| own.0 == did && fragment == name) {
                return Ok(Some(chosen(own.clone())));
            }
        }
        let resolved = self.resolver.did(&did).await.map_err(|error| {
            tracing::debug!(%did, %error, "not resolved");
            XrpcError::invalid_request("could not resolve proxy did")
        })?;
        let service = resolved.document.services.iter().find(|service| service.fragment == fragment);
        let url = service.and_then(|service| self.endpoint(&service.endpoint));
        let url = url.ok_or_else(|| XrpcError::invalid_request("could not resolve proxy did service url"))?;
        Ok(Some(Target { did, url, chosen: false }))
    }

    /// The address of a service, when it is one that may be called: over TLS, except on a development machine.
    fn endpoint(&self, text: &str) -> Option<Url> {
        let url = Url::parse(text).ok()?;
        let secure = url.scheme() == "https" || (url.scheme() == "http" && self.scope == Scope::Loopback);
        (secure && url.has_host() && url.username().is_empty() && url.password().is_none()).then_some(url)
    }

    /// Who knows public records of accounts elsewhere, if the operator chose somebody.
    pub(crate) fn app_view(&self) -> Option<Target> {
        self.app_view.clone().map(|(did, url)| Target { did, url, chosen: true })
    }

    /// Passes a request on and its answer back: with a token of the sender, or as anybody might ask.
    ///
    /// # Errors
    /// `UpstreamFailure` and `UpstreamTimeout` when there is no answer; what the service itself refuses is an answer.
    pub(crate) async fn pass_on(
        &self,
        target: &Target,
        sender: Option<Sender<'_>>,
        (method, uri, headers): (Method, &Uri, &HeaderMap),
        body: Body,
    ) -> Result<Response, XrpcError> {
        let mut url = target.url.clone();
        url.set_path(uri.path());
        url.set_query(uri.query());
        let fetcher = if target.chosen { &self.chosen } else { &self.named };
        let has_body = method == Method::POST;
        let mut request = fetcher.request(method, &url).map_err(|error| no_way(&error))?;
        if let Some(sender) = sender {
            request = request.bearer_auth(token(&sender, &target.did));
        }
        request = request.headers(passed(headers, has_body));
        if has_body {
            request = request.body(reqwest::Body::wrap_stream(bounded(body.into_data_stream(), self.body_max)));
        }
        let answer = match tokio::time::timeout(ANSWER_WITHIN, request.send()).await {
            Ok(answer) => answer.map_err(|error| no_way(&fetch::failed(error)))?,
            Err(_) => {
                let text = "the service takes too long to answer";
                return Err(XrpcError::new(StatusCode::GATEWAY_TIMEOUT, "UpstreamTimeout", text));
            }
        };
        let status = StatusCode::from_u16(answer.status().as_u16()).unwrap_or(StatusCode::BAD_GATEWAY);
        if status.is_client_error() || status.is_server_error() {
            return Ok(refusal(status, answer).await);
        }
        if !status.is_success() {
            return Err(no_way(&FetchError::Status(status.as_u16())));
        }
        let mut headers = HeaderMap::new();
        for name in ANSWER_HEADERS {
            if let Some(value) = answer.headers().get(&name) {
                headers.insert(name, value.clone());
            }
        }
        let body = Body::from_stream(bounded(answer.bytes_stream(), ANSWER_BYTES_MAX));
        Ok((status, headers, body).into_response())
    }
}

/// A token for one call of one method.
fn token(sender: &Sender<'_>, audience: &Did) -> String {
    let now = clock::now().as_millis() / 1000;
    let claims = Claims {
        issuer: sender.did.clone().into(),
        audience: audience.clone().into(),
        expires_at: now + TOKEN_SECONDS,
        issued_at: Some(now),
        method: Some(sender.method.clone()),
        nonce: Some(format!("{:032x}", rand::random::<u128>())),
    };
    claims.sign(sender.key)
}

fn passed(headers: &HeaderMap, has_body: bool) -> HeaderMap {
    let mut passed = HeaderMap::new();
    for (name, value) in headers {
        let of_body = name.as_str().starts_with("content-");
        let known = REQUEST_HEADERS.contains(name) || name.as_str().starts_with(PASSED_PREFIX);
        if known && (has_body || !of_body) {
            passed.append(name, value.clone());
        }
    }
    // Left out, it would mean any encoding, and the client may know none.
    passed.entry(header::ACCEPT_ENCODING).or_insert(header::HeaderValue::from_static("identity"));
    passed
}

/// A stream that breaks off when more than `bytes_max` come.
fn bounded<E: Into<axum::BoxError>>(
    stream: impl Stream<Item = Result<Bytes, E>>,
    bytes_max: u64,
) -> impl Stream<Item = Result<Bytes, axum::BoxError>> {
    let mut left = bytes_max;
    stream.map(move |chunk| {
        let chunk = chunk.map_err(Into::into)?;
        left = left.checked_sub(chunk.len() as u64).ok_or("more than is passed on")?;
        Ok(chunk)
    })
}

fn no_way(error: &FetchError) -> XrpcError {
    tracing::debug!(%error, "a service cannot be reached");
    XrpcError::new(StatusCode::BAD_GATEWAY, "UpstreamFailure", "Upstream service unreachable")
}

/// The error of a service in the form of ours. What went wrong there is no fault of this host.
async fn refusal(status: StatusCode, answer: reqwest::Response) -> Response {
    let retry_after = answer.headers().get(header::RETRY_AFTER).cloned();
    let status = if status == StatusCode::INTERNAL_SERVER_ERROR { StatusCode::BAD_GATEWAY } else { status };
    let body = fetch::read(answer, ERROR_BYTES_MAX).await.unwrap_or_default();
    let told: Value = serde_json::from_slice(&body).unwrap_or_default();
    let text = |field: &str| {
        let text = told[field].as_str()?;
        Some(text.chars().filter(|c| !c.is_control()).take(ERROR_TEXT_MAX).collect::<String>())
    };
    let fallback = if status.is_server_error() { "UpstreamFailure" } else { "InvalidRequest" };
    let error = json!({
        "error": text("error").unwrap_or_else(|| fallback.to_owned()),
        "message": text("message").unwrap_or_else(|| format!("the service answered {}", status.as_u16())),
    });
    let mut response = (status, axum::Json(error)).into_response();
    if let Some(retry_after) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, retry_after);
    }
    response
}
