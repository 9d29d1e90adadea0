//! The writer with engines that work, that wait, and that fail.

use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use angel_protocol::time::Timestamp;

use super::*;
use crate::codec::Raw;
use crate::engine::{EngineStats, Group, KeyRange, MemoryEngine, Page, PageLimit};
use crate::events::{self, EventKind, NewEvent};
use crate::limits::{FLUSH_BYTES_MAX, QUEUE_BATCHES_MAX, SEQUENCE_MAX, SEQUENCE_STRIDE};
use crate::store::Store;
use crate::tables::Table;

const ROWS: Table<u64, Raw> = Table::new(TableId::Peers);

/// How long a test waits for something that must happen.
const DEADLINE: Duration = Duration::from_secs(20);

fn put(key: u64, value: &[u8]) -> Batch {
    let mut batch = Batch::new();
    batch.put(&ROWS, &key, &Raw(value.to_vec())).expect("fits");
    batch
}

fn event(batch: &mut Batch) {
    let event = NewEvent::new(Timestamp::EPOCH, None, EventKind(1), b"e").expect("fits");
    batch.append_event(event).expect("fits");
}

/// An engine whose `apply` waits for permission and answers what the test says.
#[derive(Debug)]
struct Gate {
    inner: MemoryEngine,
    entered: Sender<usize>,
    verdicts: Mutex<Receiver<Result<(), EngineError>>>,
}

impl Engine for Gate {
    fn fill(&self, groups: &[Group]) -> Result<(), EngineError> {
        self.inner.apply(groups)
    }

    fn apply(&self, groups: &[Group]) -> Result<(), EngineError> {
        self.entered.send(groups.len()).expect("the test listens");
        let verdict = self.verdicts.lock().expect("one caller").recv_timeout(DEADLINE);
        verdict.unwrap_or(Err(EngineError::Failed { detail: "no verdict".to_owned() }))?;
        self.inner.apply(groups)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        self.inner.get(key)
    }

    fn multi_get(&self, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, EngineError> {
        self.inner.multi_get(keys)
    }

    fn page(&self, range: &KeyRange, reverse: bool, limit: PageLimit) -> Result<Page, EngineError> {
        self.inner.page(range, reverse, limit)
    }

    fn maintain(&self) -> Result<(), EngineError> {
        self.inner.maintain()
    }

    fn stats(&self) -> Result<EngineStats, EngineError> {
        self.inner.stats()
    }

    fn close(&self) -> Result<(), EngineError> {
        self.inner.close()
    }
}

struct Gated {
    store: Store,
    entered: Receiver<usize>,
    verdict: Sender<Result<(), EngineError>>,
    failure: Receiver<String>,
}

fn gated() -> Gated {
    let (entering, entered) = mpsc::channel();
    let (verdict, verdicts) = mpsc::channel();
    let (failing, failure) = mpsc::channel();
    let engine = Gate { inner: MemoryEngine::new(), entered: entering, verdicts: Mutex::new(verdicts) };
    let on_failure = Box::new(move |error: &EngineError| failing.send(error.to_string()).expect("the test listens"));
    let store = Store::on(Arc::new(engine), on_failure).expect("starts");
    Gated { store, entered, verdict, failure }
}

fn submit(writer: &Writer, batch: Batch) -> Receiver<Result<Committed, CommitError>> {
    let (sender, receiver) = mpsc::channel();
    writer.submit(batch, move |result| {
        let _ = sender.send(result);
    });
    receiver
}

#[test]
fn what_waits_during_a_flush_shares_the_next_one() {
    let gated = gated();
    let writer = gated.store.writer();
    let first = submit(writer, put(0, b"0"));
    assert_eq!(gated.entered.recv_timeout(DEADLINE), Ok(1));
    let rest: Vec<_> = (1..=10).map(|n| submit(writer, put(n, b"n"))).collect();
    assert!(first.try_recv().is_err(), "nothing is acknowledged before the flush returns");
    gated.verdict.send(Ok(())).expect("the engine listens");
    assert!(first.recv_timeout(DEADLINE).expect("answered").is_ok());
    assert_eq!(gated.entered.recv_timeout(DEADLINE), Ok(10), "ten batches, one flush");
    gated.verdict.send(Ok(())).expect("the engine listens");
    for answer in rest {
        assert!(answer.recv_timeout(DEADLINE).expect("answered").is_ok());
    }
    let stats = writer.stats();
    assert_eq!((stats.committed, stats.flush_micros.count, stats.batches_per_flush.sum), (11, 2, 11));
}

fn filling(key: u64, bytes: usize) -> Batch {
    let mut batch = Batch::filling();
    for part in 0..bytes.div_ceil(10_000) as u64 {
        batch.put(&ROWS, &(key * 1_000 + part), &Raw(vec![0; 10_000])).expect("fits");
    }
    batch
}

#[test]
fn what_fills_waits_for_the_flush_of_others_or_until_it_is_as_much_as_one_may_carry() {
    let gated = gated();
    let writer = gated.store.writer();
    let answered = |batch| submit(writer, batch).recv_timeout(DEADLINE).expect("answered").expect("written");
    let pass = |groups| {
        assert_eq!(gated.entered.recv_timeout(DEADLINE), Ok(groups));
        gated.verdict.send(Ok(())).expect("the engine listens");
    };
    answered(filling(1, 1 << 20));
    assert!(gated.entered.try_recv().is_err(), "nobody has to know that it is durable");
    let barrier = submit(writer, Batch::new());
    pass(0);
    barrier.recv_timeout(DEADLINE).expect("answered").expect("what was filled in is durable");
    assert!(submit(writer, Batch::new()).recv_timeout(DEADLINE).expect("answered").is_ok(), "and needs no other flush");

    for key in 2..=FLUSH_BYTES_MAX as u64 >> 20 {
        answered(filling(key, 1 << 20));
    }
    assert!(gated.entered.try_recv().is_err());
    let last = submit(writer, filling(100, 2 << 20));
    pass(1);
    last.recv_timeout(DEADLINE).expect("answered").expect("written");

    // With an event it is a batch like any other.
    let mut telling = filling(101, 1);
    event(&mut telling);
    let told = submit(writer, telling);
    pass(1);
    assert!(told.recv_timeout(DEADLINE).expect("answered").expect("written").first_sequence.is_some());
}

#[test]
fn a_full_queue_answers_busy_and_a_blocking_submitter_waits() {
    let gated = gated();
    let writer = gated.store.writer();
    let first = submit(writer, put(0, b"0"));
    gated.entered.recv_timeout(DEADLINE).expect("the writer is at work");
    let waiting: Vec<_> = (0..QUEUE_BATCHES_MAX).map(|_| submit(writer, put(1, b"1"))).collect();
    let refused = submit(writer, put(2, b"2")).recv_timeout(DEADLINE).expect("answered at once");
    assert!(matches!(refused, Err(CommitError::Busy)));
    assert_eq!(writer.stats().busy, 1);

    let blocked = std::thread::spawn({
        let writer = writer.clone();
        move || writer.commit(put(3, b"3"))
    });
    // Ever more verdicts than flushes are needed: the queue empties in a few.
    for _ in 0..QUEUE_BATCHES_MAX {
        gated.verdict.send(Ok(())).expect("the engine listens");
    }
    assert!(blocked.join().expect("no panic").is_ok());
    for answer in waiting.into_iter().chain([first]) {
        assert!(answer.recv_timeout(DEADLINE).expect("answered").is_ok());
    }
}

#[test]
fn a_failing_engine_stops_the_writer_for_good() {
    let gated = gated();
    let writer = gated.store.writer();
    let first = submit(writer, put(0, b"0"));
    gated.entered.recv_timeout(DEADLINE).expect("the writer is at work");
    let second = submit(writer, put(1, b"1"));
    gated.verdict.send(Err(EngineError::Failed { detail: "disk on fire".to_owned() })).expect("the engine listens");

    let first = first.recv_timeout(DEADLINE).expect("answered");
    assert!(matches!(first, Err(CommitError::Failed { .. })), "{first:?}");
    let second = second.recv_timeout(DEADLINE).expect("answered");
    assert!(matches!(second, Err(CommitError::Stopped { .. })), "{second:?}");
    let told = gated.failure.recv_timeout(DEADLINE).expect("the owner is told");
    assert!(told.contains("disk on fire"), "{told}");
    assert!(matches!(writer.commit(put(2, b"2")), Err(CommitError::Stopped { .. })));
    assert!(gated.store.close().is_err(), "a failed store does not close cleanly");
}

#[test]
fn a_panicking_callback_hurts_nobody_else() {
    let store = Store::in_memory().expect("starts");
    store.writer().submit(put(1, b"1"), |_| panic!("on purpose"));
    store.writer().commit(put(2, b"2")).expect("the writer goes on");
}

#[test]
fn conditions_see_the_batches_before_them_in_the_same_flush() {
    let gated = gated();
    let writer = gated.store.writer();
    let blocker = submit(writer, put(0, b"0"));
    gated.entered.recv_timeout(DEADLINE).expect("the writer is at work");
    // Two compare-and-swaps from the same head: only the first may win.
    let create = |value: &[u8]| {
        let mut batch = put(7, value);
        batch.expect_absent(&ROWS, &7).expect("fits");
        batch
    };
    let swap = |from: &[u8], to: &[u8]| {
        let mut batch = put(7, to);
        batch.expect_value(&ROWS, &7, &Raw(from.to_vec())).expect("fits");
        batch
    };
    let won = submit(writer, create(b"a"));
    let lost = submit(writer, create(b"b"));
    let swapped = submit(writer, swap(b"a", b"c"));
    let stale = submit(writer, swap(b"a", b"d"));
    for _ in 0..2 {
        gated.verdict.send(Ok(())).expect("the engine listens");
    }
    assert!(blocker.recv_timeout(DEADLINE).expect("answered").is_ok());
    assert!(won.recv_timeout(DEADLINE).expect("answered").is_ok());
    let lost = lost.recv_timeout(DEADLINE).expect("answered");
    assert!(matches!(lost, Err(CommitError::Conflict { conflict: Conflict::Exists, .. })), "{lost:?}");
    assert!(swapped.recv_timeout(DEADLINE).expect("answered").is_ok());
    let stale = stale.recv_timeout(DEADLINE).expect("answered");
    assert!(matches!(stale, Err(CommitError::Conflict { conflict: Conflict::Differs, .. })), "{stale:?}");
    assert_eq!(gated.store.reader().get(&ROWS, &7).expect("reads"), Some(Raw(b"c".to_vec())));
    assert_eq!(writer.stats().refused, 2);
}

#[test]
fn a_refused_batch_changes_nothing_and_uses_no_number() {
    let store = Store::in_memory().expect("starts");
    let mut batch = put(1, b"1");
    batch.expect_present(&ROWS, &9).expect("fits");
    event(&mut batch);
    let refused = store.writer().commit(batch);
    assert!(matches!(refused, Err(CommitError::Conflict { conflict: Conflict::Missing, .. })), "{refused:?}");
    assert_eq!(store.reader().get(&ROWS, &1).expect("reads"), None);
    let mut batch = Batch::new();
    event(&mut batch);
    assert_eq!(store.writer().commit(batch).expect("commits").first_sequence, Some(1));
}

#[test]
fn the_listener_hears_of_events_before_their_batch_is_answered() {
    let store = Store::in_memory().expect("starts");
    let (told, heard) = std::sync::mpsc::channel();
    assert!(store.writer().when_durable(move |newest, kinds| told.send((newest, kinds.clone())).expect("heard")));
    assert!(!store.writer().when_durable(|_, _| {}), "there is one listener");
    for kinds in [[1, 2, 1], [3, 3, 3]] {
        let mut batch = Batch::new();
        for kind in kinds {
            let event = NewEvent::new(Timestamp::EPOCH, None, EventKind(kind), b"").expect("small");
            batch.append_event(event).expect("fits");
        }
        let committed = store.writer().commit(batch).expect("commits");
        let told = (committed.last_sequence.expect("has events"), kinds.map(EventKind).into());
        assert_eq!(heard.try_iter().collect::<Vec<_>>(), [told]);
    }
    let mut batch = Batch::new();
    batch.raise_sequence_floor(0);
    store.writer().commit(batch).expect("commits");
    assert_eq!(heard.try_iter().count(), 0, "nothing happened");
}

#[test]
fn events_show_once_they_are_durable() {
    let gated = gated();
    let mut batch = Batch::new();
    event(&mut batch);
    event(&mut batch);
    let answer = submit(gated.store.writer(), batch);
    gated.entered.recv_timeout(DEADLINE).expect("the writer is at work");
    assert_eq!(gated.store.reader().durable_sequence(), 0);
    assert_eq!(events::after(gated.store.reader(), 0, 10).expect("reads").events, []);
    gated.verdict.send(Ok(())).expect("the engine listens");
    let committed = answer.recv_timeout(DEADLINE).expect("answered").expect("commits");
    assert_eq!((committed.first_sequence, committed.last_sequence), (Some(1), Some(2)));
    let page = events::after(gated.store.reader(), 0, 1).expect("reads");
    assert_eq!((page.events.len(), page.more), (1, true));
    let page = events::after(gated.store.reader(), 1, 1).expect("reads");
    assert_eq!((page.events[0].sequence, page.more), (2, false));
    // Closing gives back what was reserved, with one more flush.
    gated.verdict.send(Ok(())).expect("the engine listens");
    gated.store.close().expect("closes");
}

#[test]
fn numbers_rise_over_clean_and_unclean_stops_and_over_floors() {
    let rows = MemoryEngine::new();
    let next = |store: &Store| {
        let mut batch = Batch::new();
        event(&mut batch);
        store.writer().commit(batch).expect("commits").first_sequence.expect("has an event")
    };
    let open = || Store::on(Arc::new(rows.reopen()), Box::new(|_| {})).expect("starts");
    let store = open();
    assert_eq!((next(&store), next(&store)), (1, 2));
    store.close().expect("closes");
    let store = open();
    assert_eq!(next(&store), 3, "a clean stop leaves no gap");
    // What a crash leaves: the rows as they are, without what closing writes.
    let crashed = MemoryEngine::new();
    let all = rows.page(&KeyRange::all(), false, PageLimit::rows(1000)).expect("reads");
    let mut group = Group::default();
    all.rows().for_each(|(key, value)| group.put(key.to_vec(), value.to_vec()));
    crashed.apply(&[group]).expect("applies");
    drop(store);
    let store = Store::on(Arc::new(crashed), Box::new(|_| {})).expect("starts");
    let after_crash = next(&store);
    assert!(after_crash > 3 && after_crash <= 3 + 1 + SEQUENCE_STRIDE, "{after_crash}");

    let mut restore = Batch::new();
    restore.raise_sequence_floor(events::floor_after_restore(after_crash, Duration::from_secs(3600)));
    store.writer().commit(restore).expect("commits");
    let after_restore = next(&store);
    assert!(after_restore > after_crash + 3600 * 20_000);
    let mut lower = Batch::new();
    lower.raise_sequence_floor(5);
    store.writer().commit(lower).expect("commits");
    assert!(next(&store) > after_restore, "a floor never lowers");

    let mut last = Batch::new();
    last.raise_sequence_floor(SEQUENCE_MAX);
    assert!(matches!(store.writer().commit(last), Err(CommitError::SequenceExhausted)));
}

#[test]
fn a_closed_writer_answers_closed() {
    let store = Store::in_memory().expect("starts");
    let writer = store.writer().clone();
    store.close().expect("closes");
    assert!(matches!(writer.commit(put(1, b"1")), Err(CommitError::Closed)));
}
