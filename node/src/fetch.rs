//! HTTP requests to addresses that somebody else named.
//!
//! A URL from outside may point at this machine, its neighbours or the router: whoever makes us fetch it would be
//! inside the house. So names are looked up here, and only addresses that count on this network are connected to;
//! redirects are not followed, proxies of the environment are not used, and time and size are bounded.

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use url::{Host, Url};

use crate::facts::VERSION;
use crate::network::Scope;
use crate::tasks::chain;

/// How long a connection may take to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long question and answer may take together.
const TIMEOUT: Duration = Duration::from_secs(10);

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
    /// More than was asked for.
    #[error("the answer has more than {0} bytes")]
    TooLarge(usize),
}

/// Fetches. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Fetcher {
    client: Client,
    scope: Scope,
}

impl Fetcher {
    /// For URLs from others: `scope` says which addresses count.
    ///
    /// # Errors
    /// The TLS library does not start.
    pub(crate) fn new(scope: Scope) -> Result<Self, FetchError> {
        let client = Client::builder()
            .user_agent(format!("angel/{VERSION}"))
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .dns_resolver(Arc::new(ScopedResolver(scope)))
            .build()
            .map_err(|error| FetchError::Failed(chain(&error)))?;
        Ok(Self { client, scope })
    }

    /// The body of an answer, at most `bytes_max` of it.
    ///
    /// # Errors
    /// [`FetchError`].
    pub(crate) async fn get(&self, url: &Url, bytes_max: usize) -> Result<Vec<u8>, FetchError> {
        self.check(url)?;
        body(self.client.get(url.clone()).send().await, bytes_max).await
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

async fn body(response: reqwest::Result<Response>, bytes_max: usize) -> Result<Vec<u8>, FetchError> {
    let failed = |error: reqwest::Error| match forbidden(&error) {
        Some(host) => FetchError::Forbidden { host },
        None => FetchError::Failed(chain(&error.without_url())),
    };
    let mut response = response.map_err(failed)?;
    if !response.status().is_success() {
        return Err(FetchError::Status(response.status().as_u16()));
    }
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
struct ScopedResolver(Scope);

impl Resolve for ScopedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let scope = self.0;
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
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
            .route("/away", get(|| async { Redirect::temporary("/small") }));
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
        let file = "file:///etc/passwd".parse().expect("a URL");
        assert!(matches!(fetcher.get(&file, 4).await, Err(FetchError::Url)));
    }
}
