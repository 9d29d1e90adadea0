//! Connections: accepted up to a bound, dropped when slow, finished when the node stops. HTTP/1.1 with upgrades; TLS
//! and HTTP/2 belong to the proxy in front.

use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tower::util::MapRequest;
use tracing::Instrument;

use super::linger::Linger;
use crate::config::HttpConfig;
use crate::events::Events;
use crate::tasks::TaskResult;

/// How long requests may go on after the node was told to stop. The rest of the node needs time too.
const FINISH_LIMIT: Duration = Duration::from_secs(3);

/// Pause after an accept that failed, mostly for want of file descriptors: trying at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Most bytes of a request's header, and of what is read ahead.
const HEADER_BYTES_MAX: usize = 64 << 10;

/// What a connection reads and writes.
pub(crate) type Io = TokioIo<Linger<Pin<Box<TimeoutStream<TcpStream>>>>>;

/// The server cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for HTTP on {addr}: {source}; {}", advice(source))]
pub struct BindError {
    /// Where.
    pub addr: SocketAddr,
    /// Why.
    pub source: io::Error,
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "stop whoever has the port, or choose another with --http",
        io::ErrorKind::PermissionDenied => "choose a port above 1023 with --http",
        _ => "choose an address of this machine with --http",
    }
}

/// A port that is taken and not yet served.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    addr: SocketAddr,
    config: HttpConfig,
}

/// Takes the port.
///
/// # Errors
/// [`BindError`] with what to do.
pub async fn bind(config: &HttpConfig) -> Result<Bound, BindError> {
    let bind_error = |source| BindError { addr: config.listen, source };
    let listener = TcpListener::bind(config.listen).await.map_err(bind_error)?;
    let addr = listener.local_addr().map_err(bind_error)?;
    Ok(Bound { listener, addr, config: config.clone() })
}

impl Bound {
    /// The address in use, with the real port.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves until told to stop, then lets requests finish for a while.
    pub(crate) async fn serve(self, router: Router, events: Events, stop: CancellationToken) -> TaskResult {
        let permits = Arc::new(Semaphore::new(self.config.connections_max as usize));
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            let next = async {
                let permit = Arc::clone(&permits).acquire_owned().await.expect("nobody closes the semaphore");
                self.listener.accept().await.map(|(stream, from)| (stream, from, permit))
            };
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = next => accepted,
            };
            match accepted {
                Ok((stream, from, permit)) => {
                    let slot = Slot::new(events.clone(), permit);
                    let connection = connection(&self.config, stream, from, router.clone(), stop.clone());
                    let held = async move {
                        // Errors of a connection are the client's: it went away, was slow, or spoke no HTTP.
                        if let Err(error) = connection.await {
                            tracing::debug!(%error, "a connection ended");
                        }
                        drop(slot);
                    };
                    connections.spawn(held.in_current_span());
                }
                Err(error) => {
                    events.http_accept_failed();
                    tracing::warn!(%error, "cannot accept HTTP connections; raise the limit of open files if this goes on");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.listener);
        let finished = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(FINISH_LIMIT, finished).await.is_err() {
            tracing::warn!(connections = connections.len(), "cutting off HTTP requests that did not finish");
        }
        connections.shutdown().await;
        Ok(())
    }
}

/// Serves one connection. When the node stops, the request that is being answered is the last one.
fn connection(
    config: &HttpConfig,
    stream: TcpStream,
    from: SocketAddr,
    router: Router,
    stop: CancellationToken,
) -> impl Future<Output = Result<(), hyper::Error>> + use<> {
    // Small answers should not wait for more to come; a stream that cannot be told so works all the same.
    drop(stream.set_nodelay(true));
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(config.write_stall_timeout));
    let service = MapRequest::new(router, move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(from));
        request
    });
    let io: Io = TokioIo::new(Linger::new(Box::pin(stream)));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(config.header_timeout)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(io, TowerToHyperService::new(service))
        .with_upgrades();
    async move {
        let mut connection = pin!(connection);
        tokio::select! {
            ended = connection.as_mut() => return ended,
            () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        connection.await
    }
}

/// A connection's place among those allowed, counted while it is held.
struct Slot {
    events: Events,
    _permit: OwnedSemaphorePermit,
}

impl Slot {
    fn new(events: Events, permit: OwnedSemaphorePermit) -> Self {
        events.http_connected();
        Self { events, _permit: permit }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.events.http_disconnected();
    }
}
