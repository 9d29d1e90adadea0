//! `/api/spaces/events`: what happens in a space as server-sent events (WHATWG HTML, section "Server-sent events"), for
//! clients to which a WebSocket is too much. The same entries as `co.kendev.spaces.subscribeSpace` gives in JSON, and the
//! same rules; a client that comes back says with `Last-Event-ID` what it heard last.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::Stream as Events;
use tokio::sync::{broadcast, watch};

use super::XrpcError;
use crate::blocking;
use crate::firehose::{Begin, Next, Place, Stream};
use crate::rate_limits::ClientAddress;
use crate::spaces::Asker;
use crate::spaces::live::{Entry, SpaceStream};
use crate::xrpc::co::kendev::spaces::subscribe_space::place;
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;
use crate::xrpc::types::spaces::SubscribeSpaceParameters;

/// How often a client hears something when nothing happens, so that nobody in between takes the connection for dead.
const ALIVE_EVERY: Duration = Duration::from_secs(20);

pub(crate) async fn events(
    State(host): State<Arc<Host>>,
    address: ClientAddress,
    asker: Asker,
    headers: HeaderMap,
    Params(query): Params<SubscribeSpaceParameters>,
) -> Result<Sse<impl Events<Item = Result<Event, Infallible>>>, XrpcError> {
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).and_then(|id| id.parse().ok());
    let place = place(&host, address)?;
    let (spaces, uri, did) = (host.spaces.clone(), query.space, asker.did.clone());
    let found = blocking::run(move || spaces.find_live(&uri, did.as_ref())).await?;
    let (stream, begin) = host.spaces.follow(found.id, asker.did, last.or(query.cursor)).await?;
    let position = match begin {
        Begin::At(position) | Begin::Outdated(position) => position,
        Begin::Future => return Err(XrpcError::invalid_request("the cursor is ahead of everything that happened")),
    };
    let listener = Listener {
        head: stream.head(),
        aside: stream.aside(),
        stream,
        position,
        current: false,
        ended: false,
        waiting: VecDeque::new(),
        _place: place,
    };
    let events = futures::stream::unfold(listener, |mut listener| async move {
        let event = listener.next().await?;
        Some((Ok(event), listener))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(ALIVE_EVERY)))
}

/// One client that listens.
struct Listener {
    stream: SpaceStream,
    head: watch::Receiver<u64>,
    aside: broadcast::Receiver<Arc<Entry>>,
    position: u64,
    current: bool,
    ended: bool,
    waiting: VecDeque<Arc<Entry>>,
    _place: Place,
}

impl Listener {
    /// The next event; `None` when there will be none.
    async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some(entry) = self.waiting.pop_front() {
                if self.stream.hears(&entry) {
                    return Some(event(&entry));
                }
            }
            if self.ended {
                return None;
            }
            self.head.borrow_and_update();
            match self.stream.next(self.position, self.current).await.ok()? {
                Next::Entries(entries, behind) => {
                    self.waiting.extend(entries);
                    self.position = behind;
                }
                // The client comes back with the last id that it heard.
                Next::TooSlow => return None,
                Next::Nothing => {
                    self.current = true;
                    if let Some(goodbye) = self.wait().await {
                        return Some(goodbye);
                    }
                }
            }
        }
    }

    /// Waits until there may be more; the last word when the client has to go.
    async fn wait(&mut self) -> Option<Event> {
        tokio::select! {
            _ = self.head.changed() => {}
            entry = self.aside.recv() => self.waiting.extend(entry.ok()),
            goodbye = self.stream.closing() => {
                self.ended = true;
                return Some(Event::default().event("error").data(format!("{}: {}", goodbye.name, goodbye.message)));
            }
        }
        None
    }
}

/// An entry: kept ones with their number as id, so that a client knows where it was.
fn event(entry: &Entry) -> Event {
    let event = Event::default().event(entry.told.name()).data(String::from_utf8_lossy(entry.text().payload()));
    if entry.number > 0 { event.id(entry.number.to_string()) } else { event }
}
