//! What the writer does with the batches that share a flush: check, number, apply, answer.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::queue::Pending;
use super::{CommitError, Committed, Conflict, Done, Shared};
use crate::batch::{Batch, Expected};
use crate::belongings::Journal;
use crate::codec;
use crate::engine::{Engine, EngineError, Group};
use crate::events::EventKind;
use crate::limits::{FLUSH_BYTES_MAX, SEQUENCE_MAX, SEQUENCE_STRIDE};
use crate::node_meta::{MetaRow, SEQUENCE};
use crate::reader::Reader;
use crate::stats::Counters;
use crate::tables::NODE_META;

/// The sequence numbers of the event log.
///
/// Numbers are reserved on disk a stride at a time, together with the first event that needs them. After an unclean stop
/// the log goes on behind the reservation, so that no number is given twice even if the engine lost its last rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sequence {
    /// The next number to give.
    next: u64,
    /// Numbers below this one may be given without another reservation.
    reserved: u64,
}

impl Sequence {
    /// Goes on at `next`, with nothing reserved.
    pub(crate) fn starting_at(next: u64) -> Self {
        Self { next: next.max(1), reserved: next.max(1) }
    }

    /// The greatest number that may have been given.
    pub(crate) fn last_used(self) -> u64 {
        self.next - 1
    }

    /// Takes `count` numbers behind `floor`; `None` when there are none left. Says what to store, if anything.
    fn take(&mut self, count: usize, floor: u64) -> Option<(u64, Option<MetaRow>)> {
        let first = self.next.max(floor.checked_add(1)?);
        let end = first.checked_add(u64::try_from(count).ok()?)?;
        if end > SEQUENCE_MAX {
            return None;
        }
        self.next = end;
        if end <= self.reserved {
            return Some((first, None));
        }
        self.reserved = end + SEQUENCE_STRIDE;
        Some((first, Some(MetaRow::Sequence { next: self.reserved })))
    }
}

/// The writer's side of the engine.
pub(super) struct Flusher {
    engine: Arc<dyn Engine>,
    sequence: Sequence,
    durable_sequence: Arc<AtomicU64>,
    reader: Reader,
    journal: Journal,
    /// Bytes that were filled in since the last flush.
    unflushed: usize,
    /// The kinds of the events of this flush.
    kinds: BTreeSet<EventKind>,
}

type Outcome = Result<Committed, CommitError>;

impl Flusher {
    pub(super) fn new(
        engine: Arc<dyn Engine>,
        sequence: Sequence,
        durable_sequence: Arc<AtomicU64>,
    ) -> Result<Self, EngineError> {
        let reader = Reader::new(Arc::clone(&engine), Arc::clone(&durable_sequence));
        let journal = Journal::load(&reader).map_err(|error| EngineError::Failed { detail: error.to_string() })?;
        Ok(Self { engine, sequence, durable_sequence, reader, journal, unflushed: 0, kinds: BTreeSet::new() })
    }

    /// Writes the batches with one flush and answers each. An error means that the engine cannot go on; everybody in
    /// this flush has then been told.
    pub(super) fn flush(&mut self, pending: Vec<Pending>, shared: &Shared) -> Result<(), EngineError> {
        let (counters, on_durable) = (&shared.counters, shared.on_durable.get());
        let mut groups = Vec::with_capacity(pending.len());
        let mut waiting = Vec::with_capacity(pending.len());
        let mut events = 0;
        let mut failed = None;
        let mut all_fill = true;
        self.kinds.clear();
        for Pending { batch, done } in pending {
            if failed.is_some() {
                waiting.push((done, Err(CommitError::Closed)));
                continue;
            }
            all_fill &= batch.group.is_filling();
            match self.prepare(batch, &mut groups) {
                Ok(outcome) => {
                    events += outcome.as_ref().map_or(0, Committed::events);
                    waiting.push((done, outcome));
                }
                Err(error) => {
                    failed = Some(error);
                    waiting.push((done, Err(CommitError::Closed)));
                }
            }
        }
        // A cut through the store lies before all of these groups or behind all of them.
        let boundary = shared.cuts.flushing();
        let applied = match failed {
            Some(error) => Err(error),
            None => shared
                .cuts
                .put_aside(self.engine.as_ref(), &groups)
                .and_then(|()| self.write(&groups, all_fill, counters)),
        };
        let committed = waiting.iter().filter(|(_, outcome)| outcome.is_ok()).count();
        match &applied {
            Ok(()) => {
                Counters::add(&counters.committed, committed);
                Counters::add(&counters.refused, waiting.len() - committed);
                Counters::add(&counters.bytes, groups.iter().map(Group::bytes).sum());
                Counters::add(&counters.events, events);
                let newest = self.sequence.last_used();
                let grew = self.durable_sequence.swap(newest, Ordering::AcqRel) < newest;
                if let Some(tell) = on_durable.filter(|_| grew) {
                    tell(newest, &self.kinds);
                }
            }
            Err(error) => {
                for (_, outcome) in &mut waiting {
                    *outcome = Err(CommitError::Failed { error: error.clone() });
                }
            }
        }
        drop(boundary);
        for (done, outcome) in waiting {
            answer(done, outcome);
        }
        applied
    }

    /// Gives back the sequence numbers that were reserved and not used.
    pub(super) fn finish(&mut self) -> Result<(), EngineError> {
        if self.sequence.reserved == self.sequence.next {
            return Ok(());
        }
        let mut group = Group::default();
        put_sequence(&mut group, &MetaRow::Sequence { next: self.sequence.next })?;
        self.engine.apply(&[group])
    }

    /// Checks a batch against the store and the batches before it, and adds its group. The outer error is the engine's.
    fn prepare(&mut self, batch: Batch, groups: &mut Vec<Group>) -> Result<Outcome, EngineError> {
        if let Some(conflict) = self.conflict(&batch, groups)? {
            return Ok(Err(conflict));
        }
        let Batch { mut group, mut events, sequence_floor, expectations, .. } = batch;
        if !expectations.is_empty() {
            group.bind();
        }
        events.extend(self.journal.tell(&self.reader, groups, &group)?);
        if events.is_empty() && sequence_floor == 0 {
            if !group.is_empty() {
                groups.push(group);
            }
            return Ok(Ok(Committed { first_sequence: None, last_sequence: None }));
        }
        group.bind();
        let count = events.len();
        let Some((first, reservation)) = self.sequence.take(count, sequence_floor) else {
            return Ok(Err(CommitError::SequenceExhausted));
        };
        if let Some(row) = reservation {
            put_sequence(&mut group, &row)?;
        }
        for (event, sequence) in events.into_iter().zip(first..) {
            self.kinds.insert(event.kind());
            for (key, stored) in event.into_rows(sequence) {
                group.put(key, stored);
            }
        }
        groups.push(group);
        let numbers = (count > 0).then_some((first, self.sequence.last_used()));
        let (first_sequence, last_sequence) = numbers.unzip();
        Ok(Ok(Committed { first_sequence, last_sequence }))
    }

    /// The first condition that does not hold.
    fn conflict(&self, batch: &Batch, before: &[Group]) -> Result<Option<CommitError>, EngineError> {
        for expectation in &batch.expectations {
            let pending = before.iter().rev().find_map(|group| group.lookup(&expectation.key));
            let stored;
            let current = match pending {
                Some(value) => value,
                None => {
                    stored = self.engine.get(&expectation.key)?;
                    stored.as_deref()
                }
            };
            let conflict = match (&expectation.expected, current) {
                (Expected::Absent, None) | (Expected::Present, Some(_)) => continue,
                (Expected::Value(expected), Some(value)) if expected == value => continue,
                (Expected::Absent, Some(_)) => Conflict::Exists,
                (Expected::Present | Expected::Value(_), None) => Conflict::Missing,
                (Expected::Value(_), Some(_)) => Conflict::Differs,
            };
            return Ok(Some(CommitError::conflict(expectation.table, &expectation.key, conflict)));
        }
        Ok(None)
    }

    /// What only fills waits for the flush of those who have to know that they are durable, or until it is as much as one
    /// flush may carry.
    fn write(&mut self, groups: &[Group], all_fill: bool, counters: &Counters) -> Result<(), EngineError> {
        if groups.is_empty() && (all_fill || self.unflushed == 0) {
            return Ok(());
        }
        let bytes: usize = groups.iter().map(Group::bytes).sum();
        if all_fill && self.unflushed + bytes <= FLUSH_BYTES_MAX && groups.iter().all(Group::is_filling) {
            self.unflushed += bytes;
            return self.engine.fill(groups);
        }
        let began = Instant::now();
        self.engine.apply(groups)?;
        self.unflushed = 0;
        counters.flushed(groups.len(), began.elapsed());
        Ok(())
    }
}

fn put_sequence(group: &mut Group, row: &MetaRow) -> Result<(), EngineError> {
    let stored = codec::encode(row).map_err(|error| EngineError::Failed { detail: error.to_string() })?;
    group.put(NODE_META.key(&SEQUENCE.to_owned()), stored);
    Ok(())
}

/// Tells the owner of a batch. Its panic is its own: the writer serves others too.
pub(super) fn answer(done: Done, outcome: Outcome) {
    if catch_unwind(AssertUnwindSafe(|| done(outcome))).is_err() {
        tracing::error!("a commit callback panicked");
    }
}
