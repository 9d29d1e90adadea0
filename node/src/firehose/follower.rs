//! One follower: a WebSocket that gets what happens, in the form it asked for, until it goes, is too slow, or has to go.
//! Of the stream it knows only what [`Stream`] says, so all streams of this node are followed by the same rules.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use angel_protocol::firehose::{error_frame, info_frame};
use angel_storage::reader::ReadError;
use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use futures::{FutureExt, SinkExt};
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use super::{Begin, Entry, Firehose, Next, Place};

/// How often a follower is asked for a sign of life.
const PING_EVERY: Duration = Duration::from_secs(20);

/// A follower that gave no sign of life for this long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// How long a follower may take to read what it was sent before it counts as gone.
const SEND_MAX: Duration = Duration::from_secs(30);

/// How long the last words may take.
const LAST_WORDS_MAX: Duration = Duration::from_secs(2);

/// Something that is followed.
pub(crate) trait Stream: Clone + Send + Sync + 'static {
    /// What it tells.
    type Entry: Send + Sync + 'static;

    /// What comes behind `position`; `current` says whether the follower was up to date before.
    fn next(&self, position: u64, current: bool) -> impl Future<Output = Result<Next<Self::Entry>, ReadError>> + Send;

    /// Tells when there is more.
    fn head(&self) -> watch::Receiver<u64>;

    /// What is told besides, to those who are there, and kept by nobody.
    fn aside(&self) -> Option<broadcast::Receiver<Arc<Self::Entry>>> {
        None
    }

    /// Ends when the follower has to go.
    fn closing(&self) -> impl Future<Output = Goodbye> + Send;

    /// Messages were handed to the connection.
    fn count_sent(&self, messages: u64);

    /// A follower was too slow.
    fn count_too_slow(&self);
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

/// The form in which a follower gets events.
pub(crate) trait Format<E>: Send + 'static {
    /// The messages of an event for this follower.
    fn messages(&mut self, entry: &E, out: &mut Vec<Message>);

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
    /// It cannot be served: why.
    Refused(String),
}

/// Frames of DAG-CBOR, as `com.atproto.sync.subscribeRepos` has them.
#[derive(Debug)]
pub(crate) struct Frames;

impl Format<Entry> for Frames {
    fn messages(&mut self, entry: &Entry, out: &mut Vec<Message>) {
        out.push(Message::Binary(entry.frame.clone()));
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

/// Serves a follower until it ends. Holds its place meanwhile.
pub(crate) async fn follow<S: Stream>(
    socket: WebSocket,
    stream: S,
    begin: Begin,
    format: impl Format<S::Entry>,
    place: Place,
) {
    let now = Instant::now();
    let mut follower = Follower { socket, stream: stream.clone(), format, last_heard: now, messages: vec![] };
    let end = tokio::select! {
        end = follower.serve(begin) => end,
        goodbye = stream.closing() => End::Told(goodbye),
    };
    // A follower that does not listen is not waited for.
    drop(timeout(LAST_WORDS_MAX, follower.end(end)).await);
    drop(place);
}

struct Follower<S, F> {
    socket: WebSocket,
    stream: S,
    format: F,
    last_heard: Instant,
    messages: Vec<Message>,
}

/// What is told aside; for ever nothing where there is none.
async fn aside<E: Clone + Send>(receiver: &mut Option<broadcast::Receiver<E>>) -> Option<E> {
    let Some(open) = receiver else { return std::future::pending().await };
    match open.recv().await {
        Ok(entry) => Some(entry),
        // What was missed is gone: nobody keeps it.
        Err(broadcast::error::RecvError::Lagged(_)) => None,
        Err(broadcast::error::RecvError::Closed) => {
            *receiver = None;
            None
        }
    }
}

impl<S: Stream, F: Format<S::Entry>> Follower<S, F> {
    async fn serve(&mut self, begin: Begin) -> End {
        let position = match begin {
            Begin::At(position) => position,
            Begin::Outdated(position) => {
                self.messages.extend(self.format.outdated());
                position
            }
            Begin::Future => {
                let message = "the cursor is ahead of everything that happened here";
                return End::told("FutureCursor", message, close_code::POLICY);
            }
        };
        match self.go_on(position).await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    async fn go_on(&mut self, mut position: u64) -> Result<std::convert::Infallible, End> {
        let mut head = self.stream.head();
        let mut asides = self.stream.aside();
        let mut ping = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut current = false;
        self.send().await?;
        loop {
            // Seen before looking, so that what comes while looking wakes.
            head.borrow_and_update();
            let next = if self.format.is_open() { self.stream.next(position, current).await? } else { Next::Nothing };
            match next {
                Next::Entries(entries, behind) => {
                    let format = &mut self.format;
                    entries.iter().for_each(|entry| format.messages(entry, &mut self.messages));
                    drop(entries);
                    position = behind;
                    self.send().await?;
                    self.look_up(&mut ping).await?;
                }
                Next::Nothing => {
                    current = self.format.is_open();
                    tokio::select! {
                        _ = head.changed() => {}
                        told = aside(&mut asides) => {
                            if let Some(entry) = told {
                                self.format.messages(&entry, &mut self.messages);
                                self.send().await?;
                            }
                        }
                        heard = self.socket.recv() => self.hear(heard)?,
                        _ = ping.tick() => self.ping().await?,
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

    /// Hears what is there and asks for a sign of life when it is time, without waiting.
    async fn look_up(&mut self, ping: &mut tokio::time::Interval) -> Result<(), End> {
        while let Some(heard) = self.socket.recv().now_or_never() {
            self.hear(heard)?;
        }
        if ping.tick().now_or_never().is_some() {
            self.ping().await?;
        }
        Ok(())
    }

    fn hear(&mut self, heard: Option<Result<Message, axum::Error>>) -> Result<(), End> {
        self.last_heard = Instant::now();
        match heard {
            None | Some(Err(_)) => Err(End::Gone),
            Some(Ok(message)) => match self.format.heard(message) {
                Heard::Nothing => Ok(()),
                Heard::Refused(message) => Err(End::told("InvalidRequest", message, close_code::POLICY)),
            },
        }
    }

    async fn ping(&mut self) -> Result<(), End> {
        if self.last_heard.elapsed() > SILENCE_MAX {
            return Err(End::Gone);
        }
        self.messages.push(Message::Ping(axum::body::Bytes::new()));
        self.send().await
    }

    /// Sends what is to be sent, all of it with one write if it fits.
    async fn send(&mut self) -> Result<(), End> {
        if self.messages.is_empty() {
            return Ok(());
        }
        self.stream.count_sent(self.messages.len() as u64);
        let (socket, messages) = (&mut self.socket, &mut self.messages);
        let sending = async {
            for message in messages.drain(..) {
                socket.feed(message).await?;
            }
            socket.flush().await
        };
        match timeout(SEND_MAX, sending).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(End::Gone),
        }
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
        let close = CloseFrame { code, reason: name.into() };
        if self.socket.send(Message::Close(Some(close))).await.is_ok() {
            // The other side's answer ends the connection in order.
            while let Some(Ok(_)) = self.socket.recv().await {}
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
