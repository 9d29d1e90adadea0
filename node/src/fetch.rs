//! HTTP requests to addresses that somebody else named.
//!
//! A URL from outside may point at this machine, its neighbours or the router: whoever makes us fetch it would be
//! inside the house. So names are looked up here, and only addresses that count on this network are connected to;
//! redirects are not followed, proxies of the environment are not used, and time and size are bounded.

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{
    ACCEPT, CONNECTION, LOCATION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Method, RequestBuilder, Response, StatusCode, Upgraded};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use url::{Host, Url};

use crate::dns::Dns;
use crate::facts::VERSION;
use crate::network::Scope;
use crate::tasks::chain;

/// How long a connection may take to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long question and answer may take together.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Most redirects that are followed where they are.
const REDIRECTS_MAX: usize = 3;

/// How long a stream may stay silent.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No address of the host counts on this network.
    #[error("{host} is no address that this network reaches; nothing was sent")]
    Forbidden {
        /// The name or address.
        host: String,
    },
    /// Not http or https, or without a host.
    #[error("not an http or https URL with a host")]
    Url,
    /// No connection, no answer in time, or a broken one.
    #[error("{0}")]
    Failed(String),
    /// An error status.
    #[error("it answered {0}")]
    Status(u16),
    /// One redirect after the other.
    #[error("it redirects more than {REDIRECTS_MAX} times")]
    Redirects,
    /// More than was asked for.
    #[error("the answer has more than {0} bytes")]
    TooLarge(usize),
}

/// Fetches. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Fetcher {
    client: Client,
    names: Arc<Names>,
    scope: Scope,
}

impl Fetcher {
    /// For URLs from others: `scope` says which addresses count.
    ///
    /// # Errors
    /// The TLS library does not start.
    pub(crate) fn new(scope: Scope) -> Result<Self, FetchError> {
        Self::with(scope, Names::of_system(scope), |client| client.timeout(TIMEOUT))
    }

    /// The same, with names looked up at `dns`.
    ///
    /// # Errors
    /// The TLS library does not start.
    pub(crate) fn with_dns(scope: Scope, dns: Dns) -> Result<Self, FetchError> {
        Self::with(scope, Names { scope, dns: Some(dns), port: 0 }, |client| client.timeout(TIMEOUT))
    }

    /// The same for answers that take as long as they take, as long as something comes.
    ///
    /// # Errors
    /// The TLS library does not start.
    pub(crate) fn streaming(scope: Scope) -> Result<Self, FetchError> {
        Self::with(scope, Names::of_system(scope), |client| client.read_timeout(SILENCE_MAX))
    }

    /// The same for connections that become something else ([`Self::upgrade`]): HTTP/1.1 alone, and answers within a
    /// bounded time.
    ///
    /// # Errors
    /// The TLS library does not start.
    pub(crate) fn upgrading(scope: Scope) -> Result<Self, FetchError> {
        Self::with(scope, Names::of_system(scope), |client| client.http1_only().read_timeout(SILENCE_MAX))
    }

    /// For servers of a test: names are looked up at `dns`, https leads to `port`, and `root` vouches for certificates.
    #[cfg(test)]
    pub(crate) fn for_test(scope: Scope, dns: Dns, port: u16, root: reqwest::Certificate) -> Self {
        let names = Names { scope, dns: Some(dns), port };
        Self::with(scope, names, |client| client.timeout(TIMEOUT).tls_certs_merge([root])).expect("starts")
    }

    fn with(scope: Scope, names: Names, more: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Result<Self, FetchError> {
        let names = Arc::new(names);
        let client = Client::builder()
            .user_agent(format!("angel/{VERSION}"))
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .dns_resolver(Arc::clone(&names));
        let client = more(client).build().map_err(|error| FetchError::Failed(chain(&error)))?;
        Ok(Self { client, names, scope })
    }

    /// The body of an answer, at most `bytes_max` of it.
    ///
    /// # Errors
    /// [`FetchError`].
    pub(crate) async fn get(&self, url: &Url, bytes_max: usize) -> Result<Vec<u8>, FetchError> {
        self.check(url)?;
        body(self.client.get(url.clone()).send().await, bytes_max).await
    }

    /// The same, asking for media types.
    ///
    /// # Errors
    /// [`FetchError`].
    pub(crate) async fn get_as(&self, url: &Url, accept: &str, bytes_max: usize) -> Result<Vec<u8>, FetchError> {
        self.check(url)?;
        body(self.client.get(url.clone()).header(ACCEPT, accept).send().await, bytes_max).await
    }

    /// The same, going where redirects lead: each address is judged as the first one was, and none leaves https.
    ///
    /// # Errors
    /// [`FetchError`].
    pub(crate) async fn get_following(&self, url: &Url, accept: &str, bytes_max: usize) -> Result<Vec<u8>, FetchError> {
        let mut url = url.clone();
        for _ in 0..=REDIRECTS_MAX {
            self.check(&url)?;
            let response = self.client.get(url.clone()).header(ACCEPT, accept).send().await;
            let Some(next) = response.as_ref().ok().and_then(redirect) else { return body(response, bytes_max).await };
            let next = url.join(&next).map_err(|_| FetchError::Url)?;
            if url.scheme() == "https" && next.scheme() != "https" {
                return Err(FetchError::Url);
            }
            url = next;
        }
        Err(FetchError::Redirects)
    }

    /// What is answered to a posted JSON body, whatever the status.
    ///
    /// # Errors
    /// [`FetchError`], but never its `Status`.
    pub(crate) async fn post_for_answer(
        &self,
        url: &Url,
        json: &serde_json::Value,
        bytes_max: usize,
    ) -> Result<(u16, Vec<u8>), FetchError> {
        self.check(url)?;
        let response = self.client.post(url.clone()).json(json).send().await.map_err(failed)?;
        let status = response.status().as_u16();
        Ok((status, read(response, bytes_max).await?))
    }

    /// A connection that the other side has made a WebSocket (RFC 6455, section 4).
    ///
    /// # Errors
    /// [`FetchError`]; `Status` when the other side answers anything else.
    pub(crate) async fn upgrade(&self, url: &Url) -> Result<Upgraded, FetchError> {
        self.check(url)?;
        let key = STANDARD.encode(rand::random::<[u8; 16]>());
        let request = self.client.get(url.clone()).header(CONNECTION, "Upgrade").header(UPGRADE, "websocket");
        let request = request.header(SEC_WEBSOCKET_VERSION, "13").header(SEC_WEBSOCKET_KEY, &key);
        let response = request.send().await.map_err(failed)?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(FetchError::Status(response.status().as_u16()));
        }
        let accept = response.headers().get(SEC_WEBSOCKET_ACCEPT);
        if accept.is_none_or(|accept| accept.as_bytes() != derive_accept_key(key.as_bytes()).as_bytes()) {
            return Err(FetchError::Failed("it does not speak WebSocket".to_owned()));
        }
        response.upgrade().await.map_err(failed)
    }

    /// A request to be filled in and sent by the caller.
    ///
    /// # Errors
    /// The address does not count.
    pub(crate) fn request(&self, method: Method, url: &Url) -> Result<RequestBuilder, FetchError> {
        self.check(url)?;
        Ok(self.client.request(method, url.clone()))
    }

    /// The same for a posted JSON body.
    ///
    /// # Errors
    /// [`FetchError`].
    pub(crate) async fn post_json(
        &self,
        url: &Url,
        json: &serde_json::Value,
        bytes_max: usize,
    ) -> Result<Vec<u8>, FetchError> {
        self.check(url)?;
        body(self.client.post(url.clone()).json(json).send().await, bytes_max).await
    }

    /// Whether the host of a URL counts on this network, as it is looked up now. What it is when it is connected to is looked
    /// at again then.
    ///
    /// # Errors
    /// [`FetchError::Forbidden`] when it does not count; `Failed` when that cannot be found out.
    pub(crate) async fn admits(&self, url: &Url) -> Result<(), FetchError> {
        self.check(url)?;
        let Some(Host::Domain(host)) = url.host() else { return Ok(()) };
        let name: Name = host.parse().map_err(|_| FetchError::Url)?;
        match tokio::time::timeout(CONNECT_TIMEOUT, self.names.resolve(name)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => match error.downcast() {
                Ok(refused) => Err(*refused),
                Err(error) => Err(FetchError::Failed(chain(&*error))),
            },
            Err(_) => Err(FetchError::Failed("names are not answered".to_owned())),
        }
    }

    /// A host written as an address is not looked up, so it is judged here.
    fn check(&self, url: &Url) -> Result<(), FetchError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(FetchError::Url);
        }
        let ip = match url.host().ok_or(FetchError::Url)? {
            Host::Ipv4(ip) => IpAddr::V4(ip),
            Host::Ipv6(ip) => IpAddr::V6(ip),
            Host::Domain(_) => return Ok(()),
        };
        if Scope::of(ip) <= self.scope { Ok(()) } else { Err(FetchError::Forbidden { host: ip.to_string() }) }
    }
}

/// Where a redirect leads.
fn redirect(response: &Response) -> Option<String> {
    let redirects = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    let location = response.headers().get(LOCATION).filter(|_| redirects)?;
    location.to_str().ok().map(ToOwned::to_owned)
}

async fn body(response: reqwest::Result<Response>, bytes_max: usize) -> Result<Vec<u8>, FetchError> {
    let response = response.map_err(failed)?;
    if !response.status().is_success() {
        return Err(FetchError::Status(response.status().as_u16()));
    }
    read(response, bytes_max).await
}

/// Why a request came to nothing.
pub(crate) fn failed(error: reqwest::Error) -> FetchError {
    match forbidden(&error) {
        Some(host) => FetchError::Forbidden { host },
        None => FetchError::Failed(chain(&error.without_url())),
    }
}

/// The body of an answer, at most `bytes_max` of it.
pub(crate) async fn read(mut response: Response, bytes_max: usize) -> Result<Vec<u8>, FetchError> {
    let mut bytes = vec![];
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if bytes.len() + chunk.len() > bytes_max {
            return Err(FetchError::TooLarge(bytes_max));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// The host that the resolver refused, if it did.
fn forbidden(error: &reqwest::Error) -> Option<String> {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(FetchError::Forbidden { host }) = cause.downcast_ref() {
            return Some(host.clone());
        }
        source = cause.source();
    }
    None
}

/// Looks names up and leaves out what does not count. What it answers is what is connected to, so a name cannot
/// change its meaning in between.
#[derive(Debug)]
struct Names {
    scope: Scope,
    /// Whom to ask; the system when nobody is named.
    dns: Option<Dns>,
    /// Where the default port of a scheme leads; 0 for itself. Anything else is for tests.
    port: u16,
}

impl Names {
    const fn of_system(scope: Scope) -> Self {
        Self { scope, dns: None, port: 0 }
    }
}

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let (scope, dns, port) = (self.scope, self.dns.clone(), self.port);
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found: Vec<SocketAddr> = match dns {
                Some(dns) => dns.addresses(&host).await?.into_iter().map(|ip| (ip, port).into()).collect(),
                None => tokio::net::lookup_host((host.as_str(), port)).await?.collect(),
            };
            let counting: Vec<_> = found.into_iter().filter(|address| Scope::of(address.ip()) <= scope).collect();
            if counting.is_empty() {
                return Err(FetchError::Forbidden { host }.into());
            }
            Ok(Box::new(counting.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::response::Redirect;
    use axum::routing::get;

    use super::*;

    async fn server() -> Url {
        let routes = Router::new()
            .route("/small", get(|| async { "1234" }))
            .route("/away", get(|| async { Redirect::temporary("/small") }))
            .route("/round", get(|| async { Redirect::temporary("/round") }))
            .route("/inside", get(|| async { Redirect::temporary("http://127.0.0.1:1/") }))
            .route("/file", get(|| async { Redirect::temporary("file:///etc/passwd") }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/", listener.local_addr().expect("bound")).parse().expect("a URL");
        tokio::spawn(async move { axum::serve(listener, routes).await });
        url
    }

    #[tokio::test]
    async fn loopback_is_reached_only_where_it_counts() {
        let url = server().await.join("small").expect("a URL");
        let inside = Fetcher::new(Scope::Loopback).expect("starts");
        assert_eq!(inside.get(&url, 4).await.expect("an answer"), b"1234");
        let mut named = url.clone();
        named.set_host(Some("localhost")).expect("a host");
        assert_eq!(inside.get(&named, 4).await.expect("an answer"), b"1234");
        let outside = Fetcher::new(Scope::Public).expect("starts");
        for url in [url, named] {
            assert!(matches!(outside.get(&url, 4).await, Err(FetchError::Forbidden { .. })), "{url}");
            assert!(matches!(outside.admits(&url).await, Err(FetchError::Forbidden { .. })), "{url}");
            inside.admits(&url).await.expect("counts");
        }
    }

    #[tokio::test]
    async fn answers_are_bounded_and_redirects_not_followed() {
        let url = server().await;
        let fetcher = Fetcher::new(Scope::Loopback).expect("starts");
        let small = url.join("small").expect("a URL");
        assert!(matches!(fetcher.get(&small, 3).await, Err(FetchError::TooLarge(3))));
        let away = url.join("away").expect("a URL");
        assert!(matches!(fetcher.get(&away, 4).await, Err(FetchError::Status(307))));
        let follow = async |path: &str| fetcher.get_following(&url.join(path).expect("a URL"), "*/*", 4).await;
        assert_eq!(follow("away").await.expect("an answer"), b"1234");
        assert!(matches!(follow("round").await, Err(FetchError::Redirects)));
        assert!(matches!(follow("file").await, Err(FetchError::Url)));
        let file = "file:///etc/passwd".parse().expect("a URL");
        assert!(matches!(fetcher.get(&file, 4).await, Err(FetchError::Url)));
    }
}
