//! What the machine wants kept. Changes are gathered while a batch is being written, and the next batch takes them
//! all: however fast entries change, one batch is under way and each entry waits at most once.

use std::collections::BTreeMap;

use angel_protocol::ids::Did;
use angel_protocol::membership::{NodeEvent, NodeEventKind, StoredEntry};
use angel_protocol::time::Timestamp;
use angel_storage::batch::RowRefused;
use angel_storage::codec::{self, Cbor};
use angel_storage::events::{EventKind, NewEvent, TrimError};
use angel_storage::limits::BATCH_EVENTS_MAX;
use angel_storage::reader::ReadError;
use angel_storage::{Batch, CommitError, Reader, Table, TableId, Writer, peers};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

/// What this node's parts remember about themselves, by name.
const LOCAL: Table<String, Cbor<u64>> = Table::new(TableId::Local);

/// Something happened to a node of the network, in the eyes of this one: a [`NodeEventRow`] in DAG-CBOR.
pub(crate) const NODE_EVENT: EventKind = EventKind(1);

/// Entries written in one batch: bounds its bytes, an entry being at most about 100 kB.
const ENTRIES_PER_BATCH: usize = 24;

/// Events that wait for the store; the oldest are dropped, which the log of the process still tells.
const EVENTS_WAITING_MAX: usize = 4 * BATCH_EVENTS_MAX;

/// A node event as the event log keeps it (`co.kendev.network.nodeEvent`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NodeEventRow {
    pub(crate) timestamp: Timestamp,
    pub(crate) node: Did,
    pub(crate) event: String,
    pub(crate) description: String,
    /// Its status since then, where that is what changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<String>,
}

/// Why something could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// The store cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// An earlier entry cannot be replaced.
    #[error(transparent)]
    Trim(#[from] TrimError),
    /// A row is out of bounds.
    #[error(transparent)]
    Row(#[from] RowRefused),
    /// A value has no stored form.
    #[error(transparent)]
    Codec(#[from] codec::CodecError),
    /// The store did not take the batch.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The thread that wrote did not come to an end.
    #[error("the writing was cut short: {0}")]
    Cut(#[from] tokio::task::JoinError),
}

/// Gathers and writes.
pub(crate) struct Saver {
    reader: Reader,
    writer: Writer,
    sequence_name: String,
    waiting: Waiting,
    under_way: Option<UnderWay>,
}

#[derive(Default)]
struct Waiting {
    /// The newest form of an entry, or that it is to be forgotten.
    entries: BTreeMap<Did, Option<Box<StoredEntry>>>,
    events: Vec<NodeEvent>,
    reserve: Option<u64>,
}

struct UnderWay {
    batch: JoinHandle<Result<(), SaveError>>,
    reserve: Option<u64>,
}

impl Saver {
    pub(crate) fn new(reader: Reader, writer: Writer, own: &Did) -> Self {
        Self { reader, writer, sequence_name: sequence_name(own), waiting: Waiting::default(), under_way: None }
    }

    pub(crate) fn persist(&mut self, entry: Box<StoredEntry>) {
        self.waiting.entries.insert(entry.did.clone(), Some(entry));
    }

    pub(crate) fn forget(&mut self, did: Did) {
        self.waiting.entries.insert(did, None);
    }

    pub(crate) fn reserve(&mut self, up_to: u64) {
        self.waiting.reserve = self.waiting.reserve.max(Some(up_to));
    }

    pub(crate) fn event(&mut self, event: NodeEvent) {
        if self.waiting.events.len() == EVENTS_WAITING_MAX {
            self.waiting.events.remove(0);
        }
        self.waiting.events.push(event);
    }

    /// Starts the next batch when none is under way and something waits.
    pub(crate) fn start(&mut self) {
        if self.under_way.is_some() || self.waiting.is_empty() {
            return;
        }
        let taken = self.waiting.take();
        let reserve = taken.reserve;
        let (reader, writer, name) = (self.reader.clone(), self.writer.clone(), self.sequence_name.clone());
        let batch = tokio::task::spawn_blocking(move || {
            let batch = taken.batch(&reader, &name)?;
            writer.commit(batch)?;
            Ok(())
        });
        self.under_way = Some(UnderWay { batch, reserve });
    }

    /// Waits for the batch under way, for ever when there is none. Answers the sequence numbers that it reserved.
    /// Cancel-safe.
    pub(crate) async fn saved(&mut self) -> Result<Option<u64>, SaveError> {
        let Some(under_way) = &mut self.under_way else { return std::future::pending().await };
        let outcome = (&mut under_way.batch).await;
        let reserve = self.under_way.take().and_then(|done| done.reserve);
        outcome??;
        Ok(reserve)
    }

    /// Writes what waits, before the node stops.
    pub(crate) async fn finish(&mut self) -> Result<(), SaveError> {
        while self.under_way.is_some() || !self.waiting.is_empty() {
            self.start();
            self.saved().await?;
        }
        Ok(())
    }
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.events.is_empty() && self.reserve.is_none()
    }

    fn take(&mut self) -> Self {
        let rest = match self.entries.keys().nth(ENTRIES_PER_BATCH).cloned() {
            Some(first_left) => self.entries.split_off(&first_left),
            None => BTreeMap::new(),
        };
        let entries = std::mem::replace(&mut self.entries, rest);
        let later = self.events.split_off(self.events.len().min(BATCH_EVENTS_MAX));
        let events = std::mem::replace(&mut self.events, later);
        Self { entries, events, reserve: self.reserve.take() }
    }

    fn batch(self, reader: &Reader, sequence_name: &str) -> Result<Batch, SaveError> {
        let mut batch = Batch::new();
        for (did, entry) in self.entries {
            match entry {
                Some(entry) => peers::put(reader, &mut batch, &did, &codec::encode(&Cbor(*entry))?)?,
                None => peers::forget(reader, &mut batch, &did)?,
            }
        }
        for event in self.events {
            let row = NodeEventRow {
                timestamp: event.at,
                node: event.did.clone(),
                event: event.kind.word().to_owned(),
                description: describe(&event),
                status: match &event.kind {
                    NodeEventKind::StatusChange { to, .. } => Some(to.word().to_owned()),
                    _ => None,
                },
            };
            let body = codec::encode(&Cbor(row))?;
            batch.append_event(NewEvent::new(event.at, None, NODE_EVENT, &body)?)?;
        }
        if let Some(up_to) = self.reserve {
            batch.put(&LOCAL, &sequence_name.to_owned(), &Cbor(up_to))?;
        }
        Ok(batch)
    }
}

/// The first heartbeat sequence number that no earlier run of this key reserved.
pub(crate) fn sequence_high_water(reader: &Reader, own: &Did) -> Result<u64, ReadError> {
    Ok(reader.get(&LOCAL, &sequence_name(own))?.map_or(0, |Cbor(next)| next))
}

/// When this node was made, to the store's knowledge: noted once, `now` the first time.
pub(crate) fn created_at(reader: &Reader, writer: &Writer, now: Timestamp) -> Result<Timestamp, SaveError> {
    let name = "created-at".to_owned();
    if let Some(Cbor(millis)) = reader.get(&LOCAL, &name)? {
        return Ok(Timestamp::from_millis(millis));
    }
    let mut batch = Batch::new();
    batch.put(&LOCAL, &name, &Cbor(now.as_millis()))?;
    writer.commit(batch)?;
    Ok(now)
}

fn sequence_name(own: &Did) -> String {
    format!("heartbeat-sequence/{own}")
}

/// A node event in words.
pub(crate) fn describe(event: &NodeEvent) -> String {
    let name = &event.node_id;
    match &event.kind {
        NodeEventKind::Created => format!("{name} was seen for the first time"),
        NodeEventKind::Updated => format!("{name} says something new about itself"),
        NodeEventKind::KeyRotated { old } => format!("{name} replaced the key of {old}"),
        NodeEventKind::ResourceAdjustment => format!("{name} changed what it takes on"),
        NodeEventKind::StatusChange { from, to } => format!("{name} went from {} to {}", from.word(), to.word()),
        NodeEventKind::Removed => format!("{name} was dropped from the registry"),
    }
}
