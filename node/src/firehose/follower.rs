//! One follower: a WebSocket that gets what happens, in the form it asked for, until it goes, is too slow, or has to go.
//! Of the stream it knows only what [`Stream`] says, so all streams of this node are followed by the same rules.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use angel_protocol::firehose::{error_frame, info_frame};
use angel_storage::reader::ReadError;
use axum::body::Bytes;
use axum::extract::ws::close_code;
use futures::{FutureExt, SinkExt, StreamExt};
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message};

use super::outlet::{Frames, Outlet, Wire};
use super::round::Listener;
use super::{Begin, Entry, Firehose, Next, Numbered, Place, Round};
use crate::http::socket::Socket;

/// How often a follower is asked for a sign of life.
const PING_EVERY: Duration = Duration::from_secs(20);

/// A follower that gave no sign of life for this long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// How long a follower may take to read what it was sent before it counts as gone.
const SEND_MAX: Duration = Duration::from_secs(30);

/// How long the last words may take.
const LAST_WORDS_MAX: Duration = Duration::from_secs(2);

/// Bytes that are read ahead of a follower, who has next to nothing to say.
const READ_BYTES: usize = 4 * 1024;

/// Something that is followed.
pub(crate) trait Stream: Clone + Send + Sync + 'static {
    /// What it tells.
    type Entry: Numbered + Send + Sync + 'static;

    /// What comes behind `position`; `current` says whether the follower was up to date before.
    fn next(&self, position: u64, current: bool) -> impl Future<Output = Result<Next<Self::Entry>, ReadError>> + Send;

    /// How a follower that is up to date hears of more.
    fn news(&self) -> News<Self::Entry>;

    /// Ends when the follower has to go.
    fn closing(&self) -> impl Future<Output = Goodbye> + Send;

    /// Messages were handed to the connection, other than by a round.
    fn count_sent(&self, messages: u64);

    /// A follower was too slow.
    fn count_too_slow(&self);
}

/// How a follower that is up to date hears of more.
pub(crate) enum News<E> {
    /// It is told in rounds.
    Round(Arc<Round<E>>),
    /// It looks for itself whenever this changes.
    Head(watch::Receiver<u64>),
}

/// Why a follower has to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Goodbye {
    /// The name of the error.
    pub(crate) name: &'static str,
    /// In words.
    pub(crate) message: String,
    /// How the connection is closed.
    pub(crate) code: u16,
}

impl Goodbye {
    /// The node stops.
    pub(crate) fn node_stops() -> Self {
        Self { name: "ServiceUnavailable", message: "the node stops".to_owned(), code: close_code::AWAY }
    }
}

/// The form in which a follower gets events. A copy is with whoever tells it things.
pub(crate) trait Format<E>: Clone + Send + Sync + 'static {
    /// The messages of an event for this follower.
    fn frames(&self, entry: &E, out: &mut Frames);

    /// What the follower said.
    fn heard(&mut self, message: Message) -> Heard {
        let _ = message;
        Heard::Nothing
    }

    /// Whether the follower wants anything yet.
    fn is_open(&self) -> bool {
        true
    }

    /// How an error is told, if there is a way.
    fn error(&self, name: &str, message: &str) -> Option<Message>;

    /// How it is told that the cursor is outdated, if there is a way.
    fn outdated(&self) -> Option<Message>;
}

/// What a message of a follower comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Go on.
    Nothing,
    /// It wants things in another form from now on.
    Changed,
    /// It cannot be served: why.
    Refused(String),
}

/// Frames of DAG-CBOR, as `com.atproto.sync.subscribeRepos` has them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cbor;

impl Format<Entry> for Cbor {
    fn frames(&self, entry: &Entry, out: &mut Frames) {
        out.push_back(entry.frame.wire());
    }

    fn error(&self, name: &str, message: &str) -> Option<Message> {
        Some(Message::Binary(error_frame(name, message).into()))
    }

    fn outdated(&self) -> Option<Message> {
        let text = "events after the cursor are no longer kept: some may have been missed";
        Some(Message::Binary(info_frame("OutdatedCursor", text).into()))
    }
}

/// Why following ends.
enum End {
    /// The follower went, or does not answer.
    Gone,
    /// The follower is told why, and the stream ends.
    Told(Goodbye),
}

impl End {
    fn told(name: &'static str, message: impl Into<String>, code: u16) -> Self {
        Self::Told(Goodbye { name, message: message.into(), code })
    }
}

impl From<ReadError> for End {
    fn from(error: ReadError) -> Self {
        tracing::error!(%error, "cannot read the log for a follower");
        Self::told("InternalServerError", "the log cannot be read", close_code::ERROR)
    }
}

/// A connection that is a follower's now.
pub(super) struct Opened {
    pub(super) socket: Socket,
    /// What it has said already.
    pub(super) read_ahead: Bytes,
    /// The longest message that is taken from it, in bytes.
    pub(super) message_max: usize,
}

/// Serves a follower until it ends. Holds its place meanwhile.
pub(super) async fn follow<S: Stream, F: Format<S::Entry>>(
    opened: Opened,
    stream: S,
    begin: Begin,
    format: F,
    place: Place,
) {
    let Opened { socket, read_ahead, message_max } = opened;
    let outlet = Arc::new(Outlet::new(socket, format.clone()));
    let config = WebSocketConfig::default()
        .max_message_size(Some(message_max))
        .max_frame_size(Some(message_max))
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(0);
    let wire = Wire(Arc::clone(&outlet));
    let socket = WebSocketStream::from_partially_read(wire, read_ahead.into(), Role::Server, Some(config)).await;
    let mut follower = Follower { socket, outlet, stream: stream.clone(), format, last_heard: Instant::now() };
    let end = tokio::select! {
        end = follower.serve(begin) => end,
        goodbye = stream.closing() => End::Told(goodbye),
    };
    follower.outlet.quit();
    // A follower that does not listen is not waited for.
    drop(timeout(LAST_WORDS_MAX, follower.end(end)).await);
    drop(place);
}

struct Follower<S, F> {
    /// What it says, and what is said to it but for what is told.
    socket: WebSocketStream<Wire<F>>,
    outlet: Arc<Outlet<F>>,
    stream: S,
    format: F,
    last_heard: Instant,
}

/// Something that a follower's own task is woken by.
enum Woken {
    /// There may be more, or the round does not serve the follower any longer.
    More,
    Heard(Option<Result<Message, tungstenite::Error>>),
    Ping,
}

impl<S: Stream, F: Format<S::Entry>> Follower<S, F> {
    async fn serve(&mut self, begin: Begin) -> End {
        let position = match begin {
            Begin::At(position) => Ok(position),
            Begin::Outdated(position) => match self.format.outdated() {
                Some(outdated) => self.say(outdated).await.map(|()| position),
                None => Ok(position),
            },
            Begin::Future => {
                let message = "the cursor is ahead of everything that happened here";
                return End::told("FutureCursor", message, close_code::POLICY);
            }
        };
        let end = match position {
            Ok(position) => self.go_on(position).await,
            Err(end) => Err(end),
        };
        match end {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    async fn go_on(&mut self, mut position: u64) -> Result<Infallible, End> {
        let mut news = self.stream.news();
        let _seat = match &news {
            News::Round(round) => {
                let listener: Arc<dyn Listener<S::Entry>> = Arc::<Outlet<F>>::clone(&self.outlet);
                Some(round.join(listener))
            }
            News::Head(_) => None,
        };
        let mut ping = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut current = false;
        loop {
            if let News::Head(head) = &mut news {
                // Seen before looking, so that what comes while looking wakes.
                head.borrow_and_update();
            }
            let next = if self.format.is_open() { self.stream.next(position, current).await? } else { Next::Nothing };
            match next {
                Next::Entries(entries, behind) => {
                    let mut frames = Frames::new();
                    entries.iter().for_each(|entry| self.format.frames(entry, &mut frames));
                    drop(entries);
                    position = behind;
                    self.stream.count_sent(frames.len() as u64);
                    self.send(frames).await?;
                    self.look_up(&mut ping).await?;
                }
                Next::Nothing => {
                    current = self.format.is_open();
                    if let News::Round(round) = &news
                        && current
                        && !self.outlet.enter(round, position)
                    {
                        // What the socket has not taken goes first; then there is more in the ring.
                        self.send(Frames::new()).await?;
                        continue;
                    }
                    let position_left = self.rest(&mut news, &mut ping).await?;
                    // Outside of a round, nobody but this task moves it on.
                    if current && matches!(news, News::Round(_)) {
                        position = position_left;
                    }
                }
                Next::TooSlow => {
                    self.stream.count_too_slow();
                    let message = "the follower reads more slowly than things happen; it may come back with its cursor";
                    return Err(End::told("ConsumerTooSlow", message, close_code::POLICY));
                }
            }
        }
    }

    /// Waits, and hears what the follower says, until its own task has something to do; answers where the round left it.
    async fn rest(&mut self, news: &mut News<S::Entry>, ping: &mut Interval) -> Result<u64, End> {
        let outlet = Arc::clone(&self.outlet);
        loop {
            let more = async {
                match news {
                    News::Round(_) => outlet.left().await,
                    // Streams end with the node, which says so.
                    News::Head(head) => drop(head.changed().await),
                }
            };
            let woken = tokio::select! {
                () = more => Woken::More,
                heard = self.socket.next() => Woken::Heard(heard),
                _ = ping.tick() => Woken::Ping,
            };
            match woken {
                Woken::More => {}
                Woken::Heard(heard) => self.hear(heard)?,
                Woken::Ping => self.ping().await?,
            }
            if let Some(position) = outlet.position() {
                self.send(Frames::new()).await?;
                return Ok(position);
            }
        }
    }

    /// Hears what is there and asks for a sign of life when it is time, without waiting.
    async fn look_up(&mut self, ping: &mut Interval) -> Result<(), End> {
        while let Some(heard) = self.socket.next().now_or_never() {
            self.hear(heard)?;
        }
        if ping.tick().now_or_never().is_some() {
            self.ping().await?;
        }
        Ok(())
    }

    fn hear(&mut self, heard: Option<Result<Message, tungstenite::Error>>) -> Result<(), End> {
        self.last_heard = Instant::now();
        match heard {
            None | Some(Err(_)) => Err(End::Gone),
            Some(Ok(message)) => match self.format.heard(message) {
                Heard::Nothing => Ok(()),
                Heard::Changed => {
                    self.outlet.change(self.format.clone());
                    Ok(())
                }
                Heard::Refused(message) => Err(End::told("InvalidRequest", message, close_code::POLICY)),
            },
        }
    }

    async fn ping(&mut self) -> Result<(), End> {
        if self.last_heard.elapsed() > SILENCE_MAX {
            return Err(End::Gone);
        }
        self.say(Message::Ping(Bytes::new())).await
    }

    /// Hands over what the follower is told.
    async fn send(&self, frames: Frames) -> Result<(), End> {
        timeout(SEND_MAX, self.outlet.send(frames)).await.map_err(|_| End::Gone)?.map_err(|_| End::Gone)
    }

    /// Says something else.
    async fn say(&mut self, message: Message) -> Result<(), End> {
        timeout(SEND_MAX, self.socket.send(message)).await.map_err(|_| End::Gone)?.map_err(|_| End::Gone)
    }

    async fn end(&mut self, end: End) {
        let End::Told(Goodbye { name, message, code }) = end else { return };
        tracing::debug!(name, "a follower is sent away");
        // The goodbye of a stop is the close frame alone: nothing is wrong with the stream.
        if code != close_code::AWAY
            && let Some(error) = self.format.error(name, &message)
        {
            drop(self.socket.send(error).await);
        }
        let close = CloseFrame { code: code.into(), reason: name.into() };
        if self.socket.send(Message::Close(Some(close))).await.is_ok() {
            // The other side's answer ends the connection in order.
            while let Some(Ok(_)) = self.socket.next().await {}
        }
    }
}

impl Firehose {
    /// Counts a follower that reads JSON while the answer is held.
    pub(crate) fn reads_json(&self) -> ReadsJson {
        self.0.json_followers.fetch_add(1, Ordering::Relaxed);
        ReadsJson(self.clone())
    }
}

/// A follower that reads JSON.
#[derive(Debug)]
pub(crate) struct ReadsJson(Firehose);

impl Drop for ReadsJson {
    fn drop(&mut self) {
        self.0.0.json_followers.fetch_sub(1, Ordering::Relaxed);
    }
}
