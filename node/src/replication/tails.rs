//! What the log has of each tenant of which this node is primary: the log is read once, whoever and however many pull.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use angel_storage::belongings::{CHANGED, STATE};
use angel_storage::events::EventKind;
use angel_storage::reader::ReadError;
use angel_storage::{AccountId, Reader, events, firehose};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Replication;
use crate::blocking;
use crate::tasks::TaskResult;

/// Events and bytes of one tenant that are kept at hand; what is older is read from the log.
const EVENTS_MAX: usize = 512;
const BYTES_MAX: usize = 1024 * 1024;

/// Events read from the log at a time.
const PAGE_EVENTS: usize = 500;

/// How long a digest counts: passwords and preferences change seldom, and need not be told at once.
const DIGEST_LIFE: Duration = Duration::from_secs(1);

/// Bytes of one answer, reached by its last event.
const ANSWER_BYTES: usize = 1024 * 1024;

/// The tails of all tenants.
pub(super) struct Tails {
    reader: Reader,
    position: RwLock<u64>,
    by_account: RwLock<HashMap<AccountId, Arc<Tail>>>,
}

struct Tail {
    ring: Mutex<Ring>,
    head: watch::Sender<u64>,
    /// Digest of what else is kept for the account, and when it was made.
    digest: Mutex<Option<(Instant, [u8; 32])>>,
}

struct Ring {
    /// Everything behind this is here.
    from: u64,
    events: VecDeque<(u64, EventKind, Arc<[u8]>)>,
    bytes: usize,
}

/// What a tenant's log has behind a cursor.
pub(super) struct Since {
    /// Events of the firehose: their numbers, and what is stored of them.
    pub(super) events: Vec<(u64, Arc<[u8]>)>,
    /// Events that tell of private rows.
    pub(super) rows: Vec<(u64, Arc<[u8]>)>,
    /// Whether one of the events tells that the account's state is another.
    pub(super) state: bool,
    /// The cursor behind them.
    pub(super) next: u64,
    /// The newest event of the tenant.
    pub(super) head: u64,
}

impl Since {
    fn new(next: u64, head: u64) -> Self {
        Self { events: Vec::new(), rows: Vec::new(), state: false, next, head }
    }

    fn push(&mut self, at: u64, kind: EventKind, body: Arc<[u8]>) {
        match kind {
            // What has changed is told by its digest.
            STATE => self.state = true,
            CHANGED => self.rows.push((at, body)),
            _ => self.events.push((at, body)),
        }
    }
}

impl Tail {
    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tails {
    pub(super) fn new(reader: Reader) -> Self {
        let position = RwLock::new(reader.durable_sequence());
        Self { reader, position, by_account: RwLock::default() }
    }

    fn tail(&self, account: AccountId) -> Arc<Tail> {
        if let Some(tail) = self.by_account.read().unwrap_or_else(PoisonError::into_inner).get(&account) {
            return Arc::clone(tail);
        }
        // Nothing is fed meanwhile: the feed takes the position to write. Both take it before the tails, so that neither
        // waits for the other.
        let position = self.position.read().unwrap_or_else(PoisonError::into_inner);
        let mut tails = self.by_account.write().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            let ring = Mutex::new(Ring { from: *position, events: VecDeque::new(), bytes: 0 });
            Arc::new(Tail { ring, head: watch::Sender::new(*position), digest: Mutex::default() })
        };
        Arc::clone(tails.entry(account).or_insert_with(new))
    }

    /// The newest event of a tenant, and how many of those at hand are behind a given one.
    pub(super) fn head(&self, account: AccountId) -> Option<(u64, impl FnOnce(u64) -> u64)> {
        let tail = self.by_account.read().unwrap_or_else(PoisonError::into_inner).get(&account).cloned()?;
        let head = *tail.head.borrow();
        let behind = move |safe: u64| tail.ring().events.iter().filter(|(at, ..)| *at > safe).count() as u64;
        Some((head, behind))
    }

    /// The digest of what else is kept for an account, made anew when it is older than [`DIGEST_LIFE`].
    pub(super) fn digest<E>(
        &self,
        account: AccountId,
        make: impl FnOnce() -> Result<[u8; 32], E>,
    ) -> Result<[u8; 32], E> {
        let tail = self.tail(account);
        let mut digest = tail.digest.lock().unwrap_or_else(PoisonError::into_inner);
        match *digest {
            Some((at, digest)) if at.elapsed() < DIGEST_LIFE => Ok(digest),
            _ => Ok(digest.insert((Instant::now(), make()?)).1),
        }
    }

    /// The digest as it has just been told to a standby, which is not to ask again for an older one.
    pub(super) fn set_digest(&self, account: AccountId, digest: [u8; 32]) {
        *self.tail(account).digest.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), digest));
    }

    /// What else is kept for the account is another now.
    pub(super) fn forget_digest(&self, account: AccountId) {
        *self.tail(account).digest.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether everything up to an event has been fed.
    pub(super) fn is_fed_to(&self, sequence: u64) -> bool {
        *self.position.read().unwrap_or_else(PoisonError::into_inner) >= sequence
    }

    /// Tells when a tenant has more.
    pub(super) fn watch(&self, account: AccountId) -> watch::Receiver<u64> {
        self.tail(account).head.subscribe()
    }

    /// What comes behind `since`; `None` when the log does not go back so far. Blocks.
    pub(super) fn since_blocking(&self, account: AccountId, since: u64) -> Result<Option<Since>, ReadError> {
        let tail = self.tail(account);
        {
            // Everything of the account up to here is at hand.
            let position = *self.position.read().unwrap_or_else(PoisonError::into_inner);
            let ring = tail.ring();
            let head = *tail.head.borrow();
            let since = since.min(head.max(ring.from));
            if since >= ring.from {
                // With all of it, the cursor is behind everything that was read, whoever it is about: one batch may tell
                // of several accounts, and its last event is what a writer waits for.
                let mut found = Since::new(since.max(position).max(head), head);
                let (mut bytes, mut last) = (0, since);
                for (at, kind, stored) in ring.events.iter().filter(|(at, ..)| *at > since) {
                    if bytes >= ANSWER_BYTES {
                        found.next = last;
                        break;
                    }
                    bytes += stored.len();
                    last = *at;
                    found.push(*at, *kind, Arc::clone(stored));
                }
                return Ok(Some(found));
            }
        }
        self.read_log(account, since, *tail.head.borrow())
    }

    fn read_log(&self, account: AccountId, since: u64, head: u64) -> Result<Option<Since>, ReadError> {
        if events::oldest(&self.reader)?.is_some_and(|oldest| since.saturating_add(1) < oldest) {
            return Ok(None);
        }
        let page = events::page(&self.reader, since, PAGE_EVENTS, ANSWER_BYTES)?;
        let next = page.events.last().map_or(since, |event| event.sequence);
        let mut found = Since::new(next, head);
        for event in page.events.into_iter().filter(|event| event.account == Some(account) && is_told(event)) {
            found.push(event.sequence, event.kind, event.body.into());
        }
        Ok(Some(found))
    }

    /// Passes over what is durable while there are no tails to which it could go; answers whether it did.
    fn pass_over(&self) -> bool {
        let durable = self.reader.durable_sequence();
        let mut position = self.position.write().unwrap_or_else(PoisonError::into_inner);
        if !self.by_account.read().unwrap_or_else(PoisonError::into_inner).is_empty() {
            return false;
        }
        *position = durable.max(*position);
        true
    }

    /// Moves what is durable from the log to the tails; answers whether there may be more. Blocks.
    fn feed_blocking(&self) -> Result<bool, ReadError> {
        let at = *self.position.read().unwrap_or_else(PoisonError::into_inner);
        let page = events::after(&self.reader, at, PAGE_EVENTS)?;
        let Some(last) = page.events.last().map(|event| event.sequence) else { return Ok(false) };
        let mut position = self.position.write().unwrap_or_else(PoisonError::into_inner);
        let tails = self.by_account.read().unwrap_or_else(PoisonError::into_inner);
        for event in page.events.into_iter().filter(is_told) {
            let Some(tail) = event.account.and_then(|account| tails.get(&account)) else { continue };
            if event.kind == STATE {
                *tail.digest.lock().unwrap_or_else(PoisonError::into_inner) = None;
            }
            tail.ring().push(event.sequence, event.kind, event.body.into());
            tail.head.send_replace(event.sequence);
        }
        *position = last;
        Ok(page.more)
    }
}

fn is_told(event: &events::Event) -> bool {
    matches!(event.kind, firehose::COMMIT | firehose::SYNC | firehose::IDENTITY | firehose::ACCOUNT | CHANGED | STATE)
}

impl Ring {
    fn push(&mut self, at: u64, kind: EventKind, stored: Arc<[u8]>) {
        self.bytes += stored.len();
        self.events.push_back((at, kind, stored));
        while self.events.len() > EVENTS_MAX || self.bytes > BYTES_MAX {
            let Some((gone, _, stored)) = self.events.pop_front() else { break };
            self.from = gone;
            self.bytes -= stored.len();
        }
    }
}

impl Replication {
    /// Feeds the tails until told to stop. Woken when events are durable, never by a clock.
    pub(super) async fn feed_tails(self, stop: CancellationToken) -> TaskResult {
        let mut durable = self.0.parts.firehose.happenings();
        loop {
            let this = self.clone();
            let more = !this.0.tails.pass_over() && blocking::run(move || this.0.tails.feed_blocking()).await?;
            if more && !stop.is_cancelled() {
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                changed = durable.changed() => changed.map_err(|_| "the store's writer ended")?,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use angel_protocol::firehose::HostingStatus;
    use angel_protocol::ids::Did;
    use angel_protocol::time::Timestamp;
    use angel_storage::{Batch, Store};

    use super::*;

    fn append(store: &Store, account: u64) -> u64 {
        let did: Did = "did:plc:yk4dd2qkboz2yv6tpubpc6co".parse().expect("a DID");
        let event = firehose::account(AccountId(account), &did, HostingStatus::Active, Timestamp::EPOCH);
        let mut batch = Batch::new();
        batch.append_event(event.expect("small")).expect("fits");
        store.writer().commit(batch).expect("commits").last_sequence.expect("an event")
    }

    fn numbers(since: Option<Since>) -> (Vec<u64>, u64) {
        let since = since.expect("the log goes back so far");
        (since.events.iter().map(|(at, _)| *at).collect(), since.next)
    }

    #[test]
    fn tail_and_log_tell_the_same_of_one_account_alone() {
        let store = Store::in_memory().expect("starts");
        let before: Vec<_> = (0..3).map(|_| append(&store, 1)).collect();
        append(&store, 2);
        let tails = Tails::new(store.reader().clone());
        let (mine, other) = (AccountId(1), AccountId(2));
        // What was there before this node was asked is in the log; the cursor goes on behind others' events too.
        let (found, next) = numbers(tails.since_blocking(mine, 0).expect("reads"));
        assert_eq!((found, next), (before, 4));
        let after: Vec<_> = (0..2).map(|_| (append(&store, 1), append(&store, 2)).0).collect();
        let durable = store.reader().durable_sequence();
        assert!(!tails.is_fed_to(durable));
        assert!(!tails.feed_blocking().expect("reads") && tails.is_fed_to(durable));
        assert_eq!(numbers(tails.since_blocking(mine, 4).expect("reads")), (after.clone(), durable));
        assert_eq!(numbers(tails.since_blocking(mine, after[1]).expect("reads")), (vec![], durable));
        let (head, behind) = tails.head(mine).expect("it is watched");
        assert_eq!((head, behind(after[0])), (after[1], 1), "one event is behind what a standby has");
        assert!(tails.head(other).is_none(), "nobody asked for it");
        // A cursor of another log, as after a failover, is no reason to wait for ever.
        assert_eq!(numbers(tails.since_blocking(mine, 1_000_000).expect("reads")).0, Vec::<u64>::new());
    }

    #[test]
    fn what_happens_before_anybody_asks_is_passed_over_and_lies_in_the_log() {
        let store = Store::in_memory().expect("starts");
        let tails = Tails::new(store.reader().clone());
        let before: Vec<_> = (0..3).map(|_| append(&store, 1)).collect();
        assert!(tails.pass_over() && tails.is_fed_to(before[2]));
        tails.watch(AccountId(1));
        let after = append(&store, 1);
        assert!(!tails.pass_over() && !tails.is_fed_to(after), "there is a tail that is to have it");
        assert!(!tails.feed_blocking().expect("reads"));
        let all: Vec<_> = before.iter().copied().chain([after]).collect();
        assert_eq!(numbers(tails.since_blocking(AccountId(1), 0).expect("reads")), (all, after));
        assert_eq!(numbers(tails.since_blocking(AccountId(1), before[2]).expect("reads")), (vec![after], after));
    }

    #[test]
    fn what_is_not_at_hand_any_more_is_read_from_the_log() {
        let store = Store::in_memory().expect("starts");
        let tails = Tails::new(store.reader().clone());
        tails.watch(AccountId(1));
        let all: Vec<_> = (0..EVENTS_MAX + 10).map(|_| append(&store, 1)).collect();
        while tails.feed_blocking().expect("reads") {}
        let (mut found, mut since) = (Vec::new(), 0);
        while since < *all.last().expect("many") {
            let (page, next) = numbers(tails.since_blocking(AccountId(1), since).expect("reads"));
            assert!(next > since, "it goes on");
            found.extend(page);
            since = next;
        }
        assert_eq!(found, all);
    }
}
