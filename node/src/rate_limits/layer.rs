//! Around every method: who asks, whether that address asks too often, and the headers that say how it stands.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::window::{Verdict, observed};
use super::{Limit, RateLimits, client};
use crate::clock;
use crate::http::XrpcError;

/// A method that reads a whole repository: relays call it for every account, and it has its own bounds.
const UNCOUNTED: &str = "/xrpc/com.atproto.sync.getRepo";

/// The headers, for browsers to be allowed to read them.
pub(crate) const HEADERS: [HeaderName; 4] = [
    HeaderName::from_static("ratelimit-limit"),
    HeaderName::from_static("ratelimit-remaining"),
    HeaderName::from_static("ratelimit-reset"),
    HeaderName::from_static("ratelimit-policy"),
];

/// Where a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientAddress(IpAddr);

impl ClientAddress {
    /// The address itself.
    pub(crate) const fn ip(self) -> IpAddr {
        self.0
    }
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<S: Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = XrpcError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, XrpcError> {
        Ok(parts.extensions.get::<Self>().copied().unwrap_or(Self(Ipv4Addr::UNSPECIFIED.into())))
    }
}

/// Counts the request, serves it, and puts the tightest limit into the answer's headers.
pub(crate) async fn count_requests(State(limits): State<RateLimits>, mut request: Request, next: Next) -> Response {
    let address = client_address(&limits, &request);
    request.extensions_mut().insert(address);
    let counted = request.uri().path() != UNCOUNTED;
    let serve = async {
        match counted.then(|| limits.spend(Limit::Requests, &address.to_string(), 1)) {
            Some(Err(refused)) => refused.into_response(),
            _ => next.run(request).await,
        }
    };
    let (mut response, verdict) = observed(serve).await;
    if let Some(verdict) = verdict {
        tell(response.headers_mut(), verdict);
    }
    response
}

fn tell(headers: &mut HeaderMap, verdict: Verdict) {
    let Verdict { limit, remaining, ends_at, window, .. } = verdict;
    let [limit_name, remaining_name, reset_name, policy_name] = HEADERS;
    headers.insert(limit_name, HeaderValue::from(limit));
    headers.insert(remaining_name, HeaderValue::from(remaining));
    headers.insert(reset_name, HeaderValue::from(ends_at.as_millis().div_ceil(1000)));
    let policy = format!("{limit};w={}", window.as_secs());
    headers.insert(policy_name, policy.parse().expect("digits make a header value"));
    if verdict.exceeded {
        headers.insert(axum::http::header::RETRY_AFTER, HeaderValue::from(verdict.seconds_left(clock::now())));
    }
}

/// The address of the connection, or the one that a trusted proxy names: the last in `X-Forwarded-For` that is not
/// itself a trusted proxy, because each proxy adds who spoke to it and everything before that is hearsay.
fn client_address(limits: &RateLimits, request: &Request) -> ClientAddress {
    let connection = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let connection = connection.map_or(Ipv4Addr::UNSPECIFIED.into(), |ConnectInfo(from)| from.ip().to_canonical());
    let trusted = limits.0.as_ref().map_or(&[][..], |shared| &shared.trusted_proxies);
    let is_trusted = |address: &IpAddr| trusted.iter().any(|proxy| proxy.to_canonical() == *address);
    if !is_trusted(&connection) {
        return ClientAddress(client(connection));
    }
    let named = request.headers().get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
    let named: Vec<_> = named.flat_map(|value| value.split(',')).map(str::trim).collect();
    let parsed = named.iter().rev().map_while(|text| text.parse::<IpAddr>().ok()).map(|address| address.to_canonical());
    let last = parsed.into_iter().find(|address| !is_trusted(address));
    ClientAddress(client(last.unwrap_or(connection)))
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;
    use crate::config::HttpConfig;

    fn request(from: &str, forwarded: &[&str]) -> Request {
        let mut request = Request::new(Body::empty());
        let from: SocketAddr = format!("{from}:1000").parse().expect("an address");
        request.extensions_mut().insert(ConnectInfo(from));
        for value in forwarded {
            request.headers_mut().append("x-forwarded-for", value.parse().expect("a header"));
        }
        request
    }

    fn limits(trusted: &[&str]) -> RateLimits {
        let trusted_proxies = trusted.iter().map(|proxy| proxy.parse().expect("an address")).collect();
        RateLimits::new(&HttpConfig { trusted_proxies, ..HttpConfig::default() })
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        let address = |trusted: &[&str], from: &str, forwarded: &[&str]| {
            client_address(&limits(trusted), &request(from, forwarded)).to_string()
        };
        assert_eq!(address(&[], "192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
        assert_eq!(address(&["127.0.0.1"], "127.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(address(&["127.0.0.1"], "127.0.0.1", &["9.9.9.9, 198.51.100.7"]), "198.51.100.7");
        assert_eq!(address(&["127.0.0.1"], "127.0.0.1", &["9.9.9.9", "198.51.100.7, 127.0.0.1"]), "198.51.100.7");
        assert_eq!(address(&["127.0.0.1"], "127.0.0.1", &["nonsense"]), "127.0.0.1");
        assert_eq!(address(&["127.0.0.1"], "127.0.0.1", &["9.9.9.9, nonsense"]), "127.0.0.1");
        assert_eq!(address(&["127.0.0.1"], "127.0.0.1", &[]), "127.0.0.1");
    }

    #[tokio::test]
    async fn answers_tell_how_it_stands_and_refuse_past_the_limit() {
        let limits = limits(&[]);
        let router = Router::new()
            .route("/", get(|| async { "served" }))
            .layer(axum::middleware::from_fn_with_state(limits.clone(), count_requests));
        let ask = |from: &'static str| router.clone().oneshot(request(from, &[]));
        let first = ask("192.0.2.1").await.expect("answered");
        assert_eq!(first.headers()["ratelimit-limit"], "3000");
        assert_eq!(first.headers()["ratelimit-remaining"], "2999");
        assert_eq!(first.headers()["ratelimit-policy"], "3000;w=300");
        limits.spend(Limit::Requests, "192.0.2.1", 2999).expect("just within");
        let refused = ask("192.0.2.1").await.expect("answered");
        assert_eq!(refused.status(), 429);
        assert!(refused.headers().contains_key("retry-after"));
        assert_eq!(ask("192.0.2.2").await.expect("answered").status(), 200);
    }
}
