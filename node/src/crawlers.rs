//! Relays that the operator named: each is asked to follow this host at the start, and again when something happens
//! after a pause, because a relay that lost the connection may have given up. Relays that do not answer are asked again
//! later and later.

use std::time::Duration;

use angel_protocol::backoff::{Backoff, Policy};
use futures::future::join_all;
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::clock;
use crate::config::Config;
use crate::fetch::{FetchError, Fetcher};
use crate::firehose::Firehose;
use crate::network::Scope;
use crate::tasks::TaskResult;
use crate::xrpc::host::Service;

/// A relay that was asked is not asked again for this long.
const PAUSE: Duration = Duration::from_mins(20);

/// How long to wait after a relay did not answer.
const RETRY: Policy =
    Policy { base: Duration::from_secs(30), ceiling: Duration::from_hours(1), reset_after: Duration::from_mins(20) };

/// Most bytes of an answer: there is nothing in it to read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Asks relays.
#[derive(Debug)]
pub(crate) struct Crawlers {
    relays: Vec<Url>,
    /// How this host is called; `None` when nobody outside reaches it.
    hostname: Option<String>,
    fetcher: Fetcher,
    firehose: Firehose,
    pause: Duration,
    retry: Policy,
}

impl Crawlers {
    /// Nobody is asked before [`Self::run`].
    ///
    /// # Errors
    /// The TLS library does not start.
    pub(crate) fn new(config: &Config, service: &Service, firehose: Firehose) -> Result<Self, FetchError> {
        let hostname = config.node.public_url.is_some().then(|| hostname(&service.url));
        // The operator may mean any address.
        let fetcher = Fetcher::new(Scope::Loopback)?;
        let (relays, hostname) = (config.firehose.relays.clone(), hostname.flatten());
        Ok(Self { relays, hostname, fetcher, firehose, pause: PAUSE, retry: RETRY })
    }

    /// Asks until told to stop.
    pub(crate) async fn run(self, stop: CancellationToken) -> TaskResult {
        let Some(hostname) = &self.hostname else {
            if !self.relays.is_empty() {
                tracing::warn!("relays are not asked to follow this node: set node.public_url, so that they can");
            }
            stop.cancelled().await;
            return Ok(());
        };
        let all =
            join_all(self.relays.iter().map(|relay| self.keep_asking(relay, hostname, self.firehose.happenings())));
        stop.run_until_cancelled(all).await;
        // Without relays there is nothing to do until then.
        stop.cancelled().await;
        Ok(())
    }

    async fn keep_asking(&self, relay: &Url, hostname: &str, mut happenings: watch::Receiver<u64>) {
        let mut backoff = Backoff::new(self.retry);
        loop {
            happenings.mark_unchanged();
            match self.ask(relay, hostname).await {
                Ok(()) => {
                    backoff.succeeded(clock::now());
                    tracing::debug!(%relay, "asked to follow this node");
                    tokio::time::sleep(self.pause).await;
                    if happenings.changed().await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    let wait = backoff.failed(clock::now(), rand::random());
                    tracing::warn!(%relay, %error, again_in_s = wait.as_secs(), "cannot ask a relay to follow this node");
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    async fn ask(&self, relay: &Url, hostname: &str) -> Result<(), FetchError> {
        let url = relay.join("/xrpc/com.atproto.sync.requestCrawl").map_err(|_| FetchError::Url)?;
        self.fetcher.post_json(&url, &json!({ "hostname": hostname }), ANSWER_BYTES_MAX).await.map(drop)
    }
}

/// The host with its port, if it is not the usual one.
fn hostname(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use angel_protocol::time::Timestamp;
    use angel_storage::events::{EventKind, NewEvent};
    use angel_storage::{Batch, Store};
    use axum::Json;
    use axum::http::StatusCode;
    use axum::routing::post;
    use serde_json::Value;
    use tokio::sync::mpsc;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// A relay that answers what the test says, and tells when it was asked.
    async fn relay(answers: &'static [StatusCode]) -> (Url, mpsc::UnboundedReceiver<Value>) {
        let (told, asked) = mpsc::unbounded_channel();
        let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let handler = move |Json(body): Json<Value>| {
            let answer = answers.get(count.fetch_add(1, std::sync::atomic::Ordering::SeqCst)).copied();
            told.send(body).expect("the test listens");
            async move { answer.unwrap_or(StatusCode::OK) }
        };
        let router = axum::Router::new().route("/xrpc/com.atproto.sync.requestCrawl", post(handler));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound")).parse().expect("a URL");
        tokio::spawn(async move { axum::serve(listener, router).await });
        (url, asked)
    }

    #[tokio::test]
    async fn a_relay_is_asked_until_it_answers_and_again_when_something_happens_after_a_pause() {
        let (url, mut asked) = relay(&[StatusCode::BAD_GATEWAY, StatusCode::INTERNAL_SERVER_ERROR]).await;
        let store = Store::in_memory().expect("starts");
        let mut config = Config::default();
        config.firehose.relays = vec![url];
        let (reader, writer) = (store.reader().clone(), store.writer().clone());
        let firehose = Firehose::open(reader, writer, &config.firehose).expect("opens");
        let crawlers = Crawlers {
            relays: config.firehose.relays.clone(),
            hostname: Some("pds.example".to_owned()),
            fetcher: Fetcher::new(Scope::Loopback).expect("starts"),
            firehose,
            pause: Duration::from_millis(1),
            retry: Policy { base: Duration::from_millis(1), ceiling: Duration::from_millis(4), ..RETRY },
        };
        let stop = CancellationToken::new();
        let running = tokio::spawn(crawlers.run(stop.clone()));
        let mut asked = async || tokio::time::timeout(PATIENCE, asked.recv()).await.expect("asked in time");
        for _ in 0..3 {
            assert_eq!(asked().await, Some(json!({ "hostname": "pds.example" })));
        }
        let mut batch = Batch::new();
        batch.append_event(NewEvent::new(Timestamp::EPOCH, None, EventKind(16), b"").expect("small")).expect("fits");
        store.writer().commit(batch).expect("commits");
        assert!(asked().await.is_some(), "something happened");
        stop.cancel();
        running.await.expect("ends").expect("in order");
    }

    #[test]
    fn a_host_is_named_with_an_unusual_port() {
        let name = |url: &str| hostname(&url.parse().expect("a URL"));
        assert_eq!(name("https://pds.example/"), Some("pds.example".to_owned()));
        assert_eq!(name("http://localhost:2583"), Some("localhost:2583".to_owned()));
    }
}
