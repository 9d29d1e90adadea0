//! The event log: what happened on this node, in order. Firehose, replication and indexes read it and keep cursors.
//!
//! An event is appended within the batch that makes it true, so neither exists without the other. The writer assigns
//! the sequence numbers: strictly rising, with gaps, never used twice. A reader sees an event only once it is durable:
//! what was shown to others cannot vanish in a power cut.

use std::time::Duration;

use angel_protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::batch::{Batch, RowRefused};
use crate::codec::{self, Raw, Row};
use crate::key::AccountId;
use crate::limits::{EVENT_BYTES_MAX, PAGE_BYTES_MAX, SEQUENCE_MAX, SEQUENCE_STRIDE, VALUE_BYTES_MAX};
use crate::reader::{ReadError, Reader};
use crate::tables::{EVENT_PARTS, EVENTS, TableId};

/// Bytes of a body per row. The head's other fields and the version byte need the rest.
const PART_BYTES: usize = VALUE_BYTES_MAX - 128;

/// What kind of thing happened. The number is stored; its meaning belongs to whoever writes and reads the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventKind(pub u16);

/// An event to be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    kind: EventKind,
    /// Stored form of each part; the first is a head.
    parts: Vec<Vec<u8>>,
}

/// An event of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its place in the log.
    pub sequence: u64,
    /// When it was made.
    pub at: Timestamp,
    /// The account it is about, if it is about one.
    pub account: Option<AccountId>,
    /// What happened.
    pub kind: EventKind,
    /// The details, in the form that belongs to `kind`.
    pub body: Vec<u8>,
}

/// Stored form of the first part of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EventHead {
    at: Timestamp,
    account: Option<AccountId>,
    kind: EventKind,
    parts: u16,
    #[serde(with = "serde_bytes")]
    body: Vec<u8>,
}

impl Row for EventHead {
    const VERSION: u8 = 1;
}

impl NewEvent {
    /// An event with its details, at most [`EVENT_BYTES_MAX`] bytes.
    ///
    /// # Errors
    ///
    /// The body is too large.
    pub fn new(at: Timestamp, account: Option<AccountId>, kind: EventKind, body: &[u8]) -> Result<Self, RowRefused> {
        if body.len() > EVENT_BYTES_MAX {
            return Err(RowRefused::EventTooLarge { bytes: body.len() });
        }
        let (first, rest) = body.split_at(body.len().min(PART_BYTES));
        let further = rest.chunks(PART_BYTES);
        // EVENT_BYTES_MAX / PART_BYTES is far below u16::MAX.
        let parts = u16::try_from(1 + further.len()).unwrap_or(u16::MAX);
        let head = EventHead { at, account, kind, parts, body: first.to_vec() };
        let refuse = |source| RowRefused::Value { table: TableId::Events, source };
        let mut stored = vec![codec::encode(&head).map_err(refuse)?];
        for part in further {
            stored.push(codec::encode(&Raw(part.to_vec())).map_err(refuse)?);
        }
        Ok(Self { kind, parts: stored })
    }

    /// What happened.
    pub(crate) const fn kind(&self) -> EventKind {
        self.kind
    }

    /// Bytes that the event adds to its batch.
    pub(crate) fn bytes(&self) -> usize {
        self.parts.iter().map(|part| part.len() + size_of::<u64>() + size_of::<u16>() + 1).sum()
    }

    /// The event's rows under its sequence number.
    pub(crate) fn into_rows(self, sequence: u64) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
        self.parts.into_iter().zip(0_u16..).map(move |(stored, part)| match part {
            0 => (EVENTS.key(&sequence), stored),
            _ => (EVENT_PARTS.key(&(sequence, part)), stored),
        })
    }
}

/// A page of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventPage {
    /// Events in the order of their sequence.
    pub events: Vec<Event>,
    /// Whether durable events follow.
    pub more: bool,
}

/// Up to `limit` durable events with a sequence greater than `after`; fewer when they are large.
///
/// # Errors
///
/// The engine fails, or an event cannot be read.
pub fn after(reader: &Reader, after: u64, limit: usize) -> Result<EventPage, ReadError> {
    page(reader, after, limit, PAGE_BYTES_MAX)
}

/// As [`after`], ending with the event that brings the page to `bytes`.
///
/// # Errors
///
/// The engine fails, or an event cannot be read.
pub fn page(reader: &Reader, after: u64, limit: usize, bytes_max: usize) -> Result<EventPage, ReadError> {
    let durable = reader.durable_sequence();
    if after >= durable {
        return Ok(EventPage::default());
    }
    let mut page = EventPage::default();
    let mut bytes = 0;
    let heads = reader.scan(&EVENTS).after(&after).until(&(durable + 1)).page(limit)?;
    page.more = heads.more;
    for (sequence, head) in heads.rows {
        if bytes >= bytes_max {
            page.more = true;
            break;
        }
        let event = complete(reader, sequence, head)?;
        bytes += event.body.len();
        page.events.push(event);
    }
    Ok(page)
}

/// The durable event with this sequence; `None` when there is none, or none any more.
///
/// # Errors
///
/// The engine fails, or the event cannot be read.
pub fn at(reader: &Reader, sequence: u64) -> Result<Option<Event>, ReadError> {
    if sequence > reader.durable_sequence() {
        return Ok(None);
    }
    let head = reader.get(&EVENTS, &sequence)?;
    head.map(|head| complete(reader, sequence, head)).transpose()
}

/// The sequence of the oldest event still in the log: a cursor before it has missed something.
///
/// # Errors
///
/// The engine fails.
pub fn oldest(reader: &Reader) -> Result<Option<u64>, ReadError> {
    Ok(reader.scan(&EVENTS).page(1)?.rows.first().map(|(sequence, _)| *sequence))
}

/// Up to `limit` durable events, newest first.
///
/// # Errors
///
/// The engine fails, or an event cannot be read.
pub fn latest(reader: &Reader, limit: usize) -> Result<Vec<Event>, ReadError> {
    let heads = reader.scan(&EVENTS).until(&(reader.durable_sequence() + 1)).reverse().page(limit)?;
    heads.rows.into_iter().map(|(sequence, head)| complete(reader, sequence, head)).collect()
}

/// The sequence of the newest event in the log, durable or about to be.
pub(crate) fn newest(reader: &Reader) -> Result<Option<u64>, ReadError> {
    Ok(reader.scan(&EVENTS).reverse().page(1)?.rows.first().map(|(sequence, _)| *sequence))
}

/// Adds the removal of up to `limit` of the oldest events with a sequence below `before` to `batch`; answers with the
/// sequence of the last of them, `None` when there is none left. Call it until then.
///
/// # Errors
///
/// The engine fails, or the batch is full.
pub fn trim(reader: &Reader, batch: &mut Batch, before: u64, limit: usize) -> Result<Option<u64>, TrimError> {
    let heads = reader.scan(&EVENTS).until(&before).page(limit)?;
    for (sequence, head) in &heads.rows {
        batch.delete(&EVENTS, sequence)?;
        for part in 1..head.parts {
            batch.delete(&EVENT_PARTS, &(*sequence, part))?;
        }
    }
    Ok(heads.rows.last().map(|(sequence, _)| *sequence))
}

/// A sequence number above everything that others can have seen, for a store restored from a backup whose newest event
/// is `newest` and which was made `age` ago. Reckons with 20,000 events a second, several times what a node can write.
#[must_use]
pub fn floor_after_restore(newest: u64, age: Duration) -> u64 {
    const EVENTS_PER_SECOND: u64 = 20_000;
    newest
        .saturating_add(age.as_secs().saturating_add(60).saturating_mul(EVENTS_PER_SECOND))
        .saturating_add(SEQUENCE_STRIDE)
        .min(SEQUENCE_MAX)
}

fn complete(reader: &Reader, sequence: u64, head: EventHead) -> Result<Event, ReadError> {
    let mut body = head.body;
    if head.parts > 1 {
        let keys: Vec<_> = (1..head.parts).map(|part| (sequence, part)).collect();
        for (part, key) in reader.multi_get(&EVENT_PARTS, &keys)?.into_iter().zip(&keys) {
            let Raw(bytes) = part.ok_or_else(|| ReadError::missing(&EVENT_PARTS, key))?;
            body.extend_from_slice(&bytes);
        }
    }
    Ok(Event { sequence, at: head.at, account: head.account, kind: head.kind, body })
}

/// Why old events could not be removed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TrimError {
    /// Reading them failed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The batch is full.
    #[error(transparent)]
    Refused(#[from] RowRefused),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    fn append(store: &Store, body: &[u8]) -> u64 {
        let mut batch = Batch::new();
        let event = NewEvent::new(Timestamp::from_millis(7), Some(AccountId(3)), EventKind(2), body).expect("fits");
        batch.append_event(event).expect("fits");
        store.writer().commit(batch).expect("commits").last_sequence.expect("has an event")
    }

    #[test]
    fn small_and_large_events_come_back_in_order() {
        let store = Store::in_memory().expect("starts");
        let bodies: Vec<Vec<u8>> =
            [0, 1, PART_BYTES, PART_BYTES + 1, EVENT_BYTES_MAX].map(|bytes| vec![9; bytes]).to_vec();
        bodies.iter().for_each(|body| {
            append(&store, body);
        });
        let page = after(store.reader(), 0, 10).expect("reads");
        assert_eq!(page.events.iter().map(|event| event.body.clone()).collect::<Vec<_>>(), bodies);
        assert_eq!(page.events[0].account, Some(AccountId(3)));
        let latest: Vec<_> = latest(store.reader(), 2).expect("reads").iter().map(|event| event.sequence).collect();
        assert_eq!(latest, [5, 4]);
        let alone = |sequence| at(store.reader(), sequence).expect("reads").map(|event| event.body);
        assert_eq!((alone(5), alone(1), alone(6)), (Some(bodies[4].clone()), Some(vec![]), None));
        assert!(!page.more);
        let refused = NewEvent::new(Timestamp::EPOCH, None, EventKind(2), &vec![0; EVENT_BYTES_MAX + 1]);
        assert_eq!(refused, Err(RowRefused::EventTooLarge { bytes: EVENT_BYTES_MAX + 1 }));
    }

    #[test]
    fn trimming_removes_the_oldest_and_all_their_parts() {
        let store = Store::in_memory().expect("starts");
        for _ in 0..5 {
            append(&store, &vec![1; PART_BYTES * 2 + 1]);
        }
        let mut removed = Vec::new();
        loop {
            let mut batch = Batch::new();
            let Some(last) = trim(store.reader(), &mut batch, 4, 2).expect("fits") else { break };
            removed.push(last);
            store.writer().commit(batch).expect("commits");
        }
        assert_eq!(removed, [2, 3]);
        assert_eq!(oldest(store.reader()).expect("reads"), Some(4));
        assert_eq!(at(store.reader(), 3).expect("reads"), None);
        assert_eq!(store.reader().scan(&EVENT_PARTS).page(100).expect("reads").rows.len(), 4);
        assert_eq!(append(&store, b""), 6, "trimming gives no number back");
    }
}
