//! What happens around every request: an id, a span named by the route, a time limit, a count. A handler that panics
//! is answered like any other that went wrong.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use tracing::{Instrument, info_span};

use super::error::XrpcError;
use crate::config::HttpConfig;
use crate::events::Events;
use crate::tasks::panic_text;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Methods whose bodies are large: they may take as long as a transfer does.
const TRANSFERS: &[&str] = &[
    "com.atproto.repo.uploadBlob",
    "com.atproto.repo.importRepo",
    "co.kendev.spaces.importRepo",
    "co.kendev.spaces.importSpaces",
];

tokio::task_local! {
    static CURRENT: Arc<str>;
}

/// The id of the request that is being answered.
pub(super) fn request_id() -> Option<Arc<str>> {
    CURRENT.try_with(Arc::clone).ok()
}

/// What observing needs. Cheap to clone.
#[derive(Clone)]
pub(super) struct Observer {
    events: Events,
    timeout: Duration,
    transfer_timeout: Duration,
    /// Tells the requests of this start from those of the last one.
    start: Arc<str>,
    count: Arc<AtomicU64>,
    unmatched: Arc<str>,
}

impl Observer {
    pub(super) fn new(events: Events, config: &HttpConfig) -> Self {
        let start = format!("{:08x}", rand::random::<u32>());
        let HttpConfig { request_timeout: timeout, transfer_timeout, .. } = *config;
        Self {
            events,
            timeout,
            transfer_timeout,
            start: start.into(),
            count: Arc::default(),
            unmatched: "unmatched".into(),
        }
    }

    /// The route as the metrics and the log name it: the NSID of a method, the path of anything else.
    fn name(&self, request: &Request) -> Arc<str> {
        request.extensions().get::<MatchedPath>().map_or_else(
            || Arc::clone(&self.unmatched),
            |path| path.as_str().strip_prefix("/xrpc/").unwrap_or(path.as_str()).into(),
        )
    }
}

pub(super) async fn observe(State(observer): State<Observer>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id: Arc<str> = format!("{}-{}", observer.start, observer.count.fetch_add(1, Ordering::Relaxed)).into();
    let name = observer.name(&request);
    let span = info_span!("request", method = &*name, verb = %request.method(), request_id = &*id);
    let answer = async {
        let work = AssertUnwindSafe(next.run(request)).catch_unwind();
        let limit = if TRANSFERS.contains(&&*name) { observer.transfer_timeout } else { observer.timeout };
        match tokio::time::timeout(limit, work).await {
            Ok(Ok(response)) => response,
            Ok(Err(panic)) => XrpcError::broken(&format!("a panic: {}", panic_text(panic.as_ref()))).into_response(),
            Err(_) => XrpcError::request_timeout().into_response(),
        }
    };
    let mut response = CURRENT.scope(Arc::clone(&id), answer).instrument(span.clone()).await;
    let (status, took) = (response.status().as_u16(), started.elapsed());
    observer.events.http_answered(&name, status, took);
    span.in_scope(|| tracing::debug!(status, took_ms = took.as_millis(), "answered"));
    response.headers_mut().insert(REQUEST_ID, HeaderValue::from_str(&id).expect("hexadecimal digits and a hyphen"));
    response
}
