//! Rows of decided heights that are not in their tables yet. What makes a height durable is its batch with its
//! certificate; everything that follows from it can be made anew. So the rows of several heights wait here and are written
//! as one: a page of the tree that twenty heights change is written once (ADR 138).
//!
//! Readers of the state and of histories look here first, through [`super::LedgerView`] and [`super::decided::history`].
//! After a stop the tables are as of an earlier height than the newest that was decided; whoever opens the ledger applies
//! the decided batches in between again and [`hold`]s what follows from them.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use angel_protocol::ids::Did;
use angel_protocol::ledger::Applied;

use super::history::{HISTORY, Key, Movements};
use super::put_row;
use crate::batch::{Batch, RowRefused};
use crate::reader::Reader;

/// Heights that wait at most: as many batches are applied again after a stop.
pub(super) const HEIGHTS_MAX: u64 = 64;

/// Bytes of rows that wait at most, unless one height alone has more. What waits is one atomic batch in the end.
const BYTES_MAX: usize = crate::limits::BATCH_BYTES_MAX / 4 * 3;

/// Rows that wait at most.
const ROWS_MAX: usize = crate::limits::BATCH_ROWS_MAX / 2;

/// What a row takes beside its key and value, about.
const OVERHEAD_BYTES: usize = 32;

/// What waits.
#[derive(Debug, Default)]
pub(crate) struct Late(RwLock<Held>);

#[derive(Debug, Default)]
struct Held {
    /// The heights, if any: from the first on.
    from: Option<u64>,
    heights: u64,
    /// Rows of the state as the newest height left them.
    rows: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    movements: BTreeMap<Key, Movements>,
    bytes: usize,
}

/// A row of the state that waits: its value, or that it is to go.
pub(super) type Row = Option<Vec<u8>>;

impl Late {
    /// A row of the state, if it waits.
    pub(super) fn get(&self, key: &[u8]) -> Option<Row> {
        self.read().rows.get(key).cloned()
    }

    /// Keys of rows that wait, behind `after` and before `until`, at most so many.
    pub(super) fn keys(&self, after: &[u8], until: &[u8], limit: usize) -> Vec<Vec<u8>> {
        let held = self.read();
        let range = (Bound::Excluded(after), Bound::Excluded(until));
        held.rows.range::<[u8], _>(range).take(limit).map(|(key, _)| key.clone()).collect()
    }

    /// Up to `limit` rows that wait of an account's history before `before`, the newest first, and the first height that
    /// waits: everything from there on is here.
    pub(super) fn movements(
        &self,
        account: &Did,
        before: Option<(u64, u32)>,
        limit: usize,
    ) -> (Vec<(Key, Movements)>, Option<u64>) {
        let held = self.read();
        let first = (account.clone(), 0, 0);
        let (height, number) = before.unwrap_or((u64::MAX, u32::MAX));
        let found = held.movements.range(first..(account.clone(), height, number)).rev().take(limit);
        (found.map(|(key, row)| (key.clone(), row.clone())).collect(), held.from)
    }

    /// Whether what waits has to be written before the rows of `next` can wait, too.
    pub(super) fn is_due(&self, next: &Applied) -> bool {
        let held = self.read();
        let rows = held.rows.len() + held.movements.len() + next.changes.len() + next.postings.len();
        let bytes = next.changes.iter().map(|(key, row)| bytes_of(key, row.as_deref())).sum::<usize>();
        held.from.is_some()
            && (held.heights >= HEIGHTS_MAX || rows > ROWS_MAX || held.bytes.saturating_add(bytes) > BYTES_MAX)
    }

    /// All that waits, as one batch. It waits on, until [`Self::clear`].
    pub(super) fn rows(&self) -> Result<Batch, RowRefused> {
        let held = self.read();
        let mut batch = Batch::new();
        for (key, value) in &held.rows {
            put_row(&mut batch, key, value.as_deref())?;
        }
        for (key, row) in &held.movements {
            batch.put(&HISTORY, key, row)?;
        }
        Ok(batch)
    }

    /// What waited is in the tables.
    pub(super) fn clear(&self) {
        *self.write() = Held::default();
    }

    /// Takes in what a height leaves behind.
    pub(super) fn add(&self, applied: &Applied) {
        let height = applied.header.height;
        // Made before anybody is kept from reading.
        let movements = super::history::rows(height, &applied.postings);
        let mut held = self.write();
        held.from.get_or_insert(height);
        held.heights += 1;
        for (key, row) in &applied.changes {
            held.bytes += bytes_of(key, row.as_deref());
            if let Some(before) = held.rows.insert(key.clone(), row.clone()) {
                held.bytes -= bytes_of(key, before.as_deref());
            }
        }
        for (key, row) in movements {
            held.bytes += row.bytes() + OVERHEAD_BYTES;
            held.movements.insert(key, row);
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Held> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Held> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bytes_of(key: &[u8], row: Option<&[u8]>) -> usize {
    key.len() + row.map_or(0, <[u8]>::len) + OVERHEAD_BYTES
}

/// Holds what follows from a height that was decided before this store was opened, and whose rows were not written.
pub fn hold(reader: &Reader, applied: &Applied) {
    reader.late().add(applied);
}
