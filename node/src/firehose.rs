//! The event stream of this host: what happens to its accounts, to everybody who follows.
//!
//! The log of the store is the truth. One task ([`feed`]) is woken when events are durable, reads them once, makes each a
//! frame once, and puts them into a bounded [`ring`] that all followers share. Those who are up to date are told in a
//! [`round`] that writes the same bytes ([`framed`]) to all of them ([`outlet`]); one that comes with a cursor, or is slow,
//! has a task of its own that reads the log page by page, then the ring, until it is up to date ([`follower`]). Where a
//! cursor begins is decided by [`cursor`], who may follow by [`places`], how long the log goes back by [`trim`], and what is
//! told no more of accounts that were deleted by [`gone`].
//!
//! Nothing here decides what an event says: its frame was encoded when it happened.

mod beside;
mod cursor;
pub(crate) mod feed;
mod follower;
mod framed;
mod gone;
mod metrics;
mod outlet;
mod places;
mod ring;
mod round;
pub(crate) mod trim;
mod upgrade;

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use angel_protocol::time::Timestamp;
use angel_storage::events::Event;
use angel_storage::reader::ReadError;
use angel_storage::{AccountId, Reader, Writer, events, firehose};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::blocking;
use crate::config::FirehoseConfig;
use crate::jetstream::{self, Line};

pub(crate) use beside::Beside;
pub(crate) use cursor::Begin;
pub(crate) use follower::{Cbor, Format, Goodbye, Heard, News, ReadsJson, Stream};
pub(crate) use framed::Framed;
use gone::Gone;
use metrics::Counts;
pub(crate) use metrics::FirehoseCollector;
pub(crate) use outlet::Frames;
pub(crate) use places::{NoPlace, Place, Places};
pub(crate) use ring::{Behind, Numbered};
pub(crate) use round::Round;
pub(crate) use upgrade::Upgrade;

/// Events that are read from the log at a time for all.
const FEED_EVENTS: usize = 512;

/// Events, and about how many bytes of them, that are read from the log at a time for one follower.
const PAGE_EVENTS: usize = 64;
const PAGE_BYTES: usize = 256 * 1024;

/// The stream. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Firehose(Arc<Shared>);

struct Shared {
    reader: Reader,
    writer: Writer,
    backfill: Duration,
    round: Arc<Round<Entry>>,
    /// The newest sequence that is durable.
    durable: watch::Receiver<u64>,
    /// The newest of those that is no commit of a repository, or one behind it.
    beside: watch::Receiver<u64>,
    /// Events up to here are gone from the log.
    trimmed: AtomicU64,
    gone: Gone,
    places: Places,
    /// Everything up to here has been looked at by the feed, so that it is known who is gone.
    fed: watch::Sender<u64>,
    /// Somebody waits for that.
    wanted: Notify,
    /// Followers that read JSON: without any, none is made ahead.
    json_followers: AtomicUsize,
    closing: CancellationToken,
    counts: Counts,
}

impl std::fmt::Debug for Firehose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Firehose")
    }
}

/// An event as followers get it. Made once, shared by all.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Its sequence.
    pub(crate) sequence: u64,
    /// When it happened.
    pub(crate) at: Timestamp,
    account: Option<AccountId>,
    /// The frame.
    pub(crate) frame: Framed,
    lines: OnceLock<Vec<Line>>,
}

impl Entry {
    /// The entry of an event that the stream carries.
    pub(crate) fn of(event: &Event) -> Option<Arc<Self>> {
        let frame = Framed::binary(&firehose::frame(event)?);
        let Event { sequence, at, account, .. } = *event;
        Some(Arc::new(Self { sequence, at, account, frame, lines: OnceLock::new() }))
    }

    /// The same in JSON, made when it is first asked for.
    pub(crate) fn lines(&self) -> &[Line] {
        self.lines.get_or_init(|| jetstream::lines(self.frame.payload(), self.at))
    }
}

impl Numbered for Entry {
    fn sequence(&self) -> u64 {
        self.sequence
    }

    fn bytes(&self) -> usize {
        self.frame.payload().len()
    }
}

/// Where events come from next, for one follower.
#[derive(Debug)]
pub(crate) enum Next<E> {
    /// These, and the position behind them.
    Entries(Vec<Arc<E>>, u64),
    /// None now.
    Nothing,
    /// The follower was up to date and is so no longer: others are not made to wait for it.
    TooSlow,
}

impl Firehose {
    /// The stream of an open store. There is one: it is the listener of the store's writer.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) fn open(reader: Reader, writer: Writer, config: &FirehoseConfig) -> Result<Self, ReadError> {
        let newest = reader.durable_sequence();
        let (wake, durable) = watch::channel(newest);
        let (wake_beside, beside) = watch::channel(newest);
        let told = writer.when_durable(move |newest, kinds| {
            // First, so that whoever sees the newest sees this as well.
            if kinds.iter().any(|kind| *kind != firehose::COMMIT) {
                wake_beside.send_replace(newest);
            }
            wake.send_replace(newest);
        });
        debug_assert!(told, "a store has one stream");
        let trimmed = trim::trimmed(&reader)?;
        let gone = Gone::open(&reader)?;
        Ok(Self(Arc::new(Shared {
            reader,
            writer,
            backfill: config.backfill,
            round: Arc::new(Round::new(newest)),
            durable,
            beside,
            trimmed: AtomicU64::new(trimmed),
            gone,
            places: Places::new(config.subscribers_max),
            fed: watch::Sender::new(newest),
            wanted: Notify::new(),
            json_followers: AtomicUsize::new(0),
            closing: CancellationToken::new(),
            counts: Counts::default(),
        })))
    }

    /// A place for a follower from `address`.
    ///
    /// # Errors
    /// [`NoPlace`] when there are too many.
    pub(crate) fn place(&self, address: std::net::IpAddr) -> Result<Place, NoPlace> {
        self.0.places.take(address)
    }

    /// Where a follower with `cursor` begins.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) async fn begin(&self, cursor: Option<u64>, now: Timestamp) -> Result<Begin, ReadError> {
        let Some(cursor) = cursor else { return Ok(Begin::At(self.0.reader.durable_sequence())) };
        self.until_fed().await;
        let (this, since) = (self.clone(), now - self.0.backfill);
        blocking::run(move || {
            let trimmed = this.0.trimmed.load(Ordering::Acquire);
            cursor::begin(&this.0.reader, cursor, trimmed, since)
        })
        .await
    }

    /// Where a follower begins that wants what happened from `since` on, as far as it is kept.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) async fn begin_at(&self, since: Timestamp, now: Timestamp) -> Result<u64, ReadError> {
        self.until_fed().await;
        let (this, since) = (self.clone(), since.max(now - self.0.backfill));
        blocking::run(move || cursor::last_before(&this.0.reader, since)).await
    }

    /// Waits until the feed has looked at everything that is durable: who reads from the log is not to be told of accounts
    /// that are gone.
    async fn until_fed(&self) {
        let upto = self.0.reader.durable_sequence();
        self.0.wanted.notify_one();
        // The sender is in what `self` holds. At the end of the node nobody is fed any more.
        let mut fed = self.0.fed.subscribe();
        let waiting = fed.wait_for(|fed| *fed >= upto);
        self.0.closing.run_until_cancelled(waiting).await.map(drop).unwrap_or_default();
    }

    /// A page of the log for one follower.
    fn page(&self, position: u64) -> Result<Next<Entry>, ReadError> {
        let durable = self.0.reader.durable_sequence();
        let page = events::page(&self.0.reader, position, PAGE_EVENTS, PAGE_BYTES)?;
        Ok(match page.events.last().map(|event| event.sequence) {
            Some(last) => Next::Entries(self.0.gone.entries(&page.events), last),
            // Before numbers that an unclean stop left unused a follower has everything up to behind them. Left in front
            // of them it would count as one that reads too slowly.
            None if position < durable => Next::Entries(Vec::new(), durable),
            None => Next::Nothing,
        })
    }

    /// Tells when something happened here.
    pub(crate) fn happenings(&self) -> watch::Receiver<u64> {
        self.0.durable.clone()
    }

    /// Tells when something happened here that is no commit of a repository.
    pub(crate) fn beside_commits(&self) -> Beside {
        Beside::new(self.0.durable.clone(), self.0.beside.clone())
    }
}

impl Stream for Firehose {
    type Entry = Entry;

    async fn next(&self, position: u64, current: bool) -> Result<Next<Entry>, ReadError> {
        match self.0.round.after(position) {
            Ok((entries, _)) if entries.is_empty() => Ok(Next::Nothing),
            Ok((entries, position)) => Ok(Next::Entries(entries, position)),
            Err(Behind) if current || position < self.0.trimmed.load(Ordering::Acquire) => Ok(Next::TooSlow),
            Err(Behind) => {
                let this = self.clone();
                blocking::run(move || this.page(position)).await
            }
        }
    }

    fn news(&self) -> News<Entry> {
        News::Round(Arc::clone(&self.0.round))
    }

    async fn closing(&self) -> Goodbye {
        self.0.closing.cancelled().await;
        Goodbye::node_stops()
    }

    fn count_sent(&self, messages: u64) {
        self.0.counts.sent.fetch_add(messages, Ordering::Relaxed);
    }

    fn count_too_slow(&self) {
        self.0.counts.too_slow.fetch_add(1, Ordering::Relaxed);
    }
}
