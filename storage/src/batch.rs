//! A batch: everything that one operation changes, written as a whole or not at all.

use crate::codec::{self, CodecError, StoredValue};
use crate::engine::Group;
use crate::events::NewEvent;
use crate::key::Key;
use crate::limits::{
    BATCH_BYTES_MAX, BATCH_EVENTS_MAX, BATCH_EXPECTATIONS_MAX, BATCH_ROWS_MAX, KEY_BYTES_MAX, SEQUENCE_MAX,
    VALUE_BYTES_MAX,
};
use crate::tables::{Table, TableId};

/// Row changes, the conditions under which they hold, and the events that tell of them.
///
/// Bounds are checked as rows are added, so that a batch which could be built can be written.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub(crate) group: Group,
    pub(crate) expectations: Vec<Expectation>,
    pub(crate) events: Vec<NewEvent>,
    pub(crate) sequence_floor: u64,
    event_bytes: usize,
}

/// What a row must be when the writer reaches the batch.
#[derive(Clone, Debug)]
pub(crate) struct Expectation {
    pub(crate) table: TableId,
    pub(crate) key: Vec<u8>,
    pub(crate) expected: Expected,
}

#[derive(Clone, Debug)]
pub(crate) enum Expected {
    Absent,
    Present,
    Value(Vec<u8>),
}

impl Batch {
    /// A batch that changes nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A batch of rows that nobody reads until a later batch brings them into force: they need not be there as a whole
    /// after a crash, and are durable with the next batch of another kind, which is never there without them. It is
    /// answered when it is applied. With conditions or events it is a batch like any other.
    #[must_use]
    pub fn filling() -> Self {
        Self { group: Group::filling(), ..Self::default() }
    }

    /// Sets a row.
    ///
    /// # Errors
    ///
    /// The row or the batch would exceed its bounds, or the value has no stored form. The batch is as before.
    pub fn put<K: Key, V: StoredValue>(&mut self, table: &Table<K, V>, key: &K, value: &V) -> Result<(), RowRefused> {
        let stored = encode_value(table, value)?;
        self.put_stored(table.id(), table.key(key), stored)
    }

    /// Removes a row; removing an absent one is fine.
    ///
    /// # Errors
    ///
    /// The key or the batch would exceed its bounds. The batch is as before.
    pub fn delete<K: Key, V: StoredValue>(&mut self, table: &Table<K, V>, key: &K) -> Result<(), RowRefused> {
        let key = table.key(key);
        self.check_room(table.id(), &key, 0)?;
        self.group.delete(key);
        Ok(())
    }

    /// The batch is refused unless the row is absent when the writer reaches it.
    ///
    /// # Errors
    ///
    /// Too many conditions, or the key is too long.
    pub fn expect_absent<K: Key, V: StoredValue>(&mut self, table: &Table<K, V>, key: &K) -> Result<(), RowRefused> {
        self.expect(table.id(), table.key(key), Expected::Absent)
    }

    /// The batch is refused unless the row is there, with whatever value.
    ///
    /// # Errors
    ///
    /// Too many conditions, or the key is too long.
    pub fn expect_present<K: Key, V: StoredValue>(&mut self, table: &Table<K, V>, key: &K) -> Result<(), RowRefused> {
        self.expect(table.id(), table.key(key), Expected::Present)
    }

    /// The batch is refused unless the row holds exactly `value` in its current version.
    ///
    /// # Errors
    ///
    /// Too many conditions, the key is too long, or the value has no stored form.
    pub fn expect_value<K: Key, V: StoredValue>(
        &mut self,
        table: &Table<K, V>,
        key: &K,
        value: &V,
    ) -> Result<(), RowRefused> {
        let stored = encode_value(table, value)?;
        self.expect(table.id(), table.key(key), Expected::Value(stored))
    }

    /// Appends an event. The writer gives it the next sequence number, in the order of the batch.
    ///
    /// # Errors
    ///
    /// Too many events, or the batch is too large.
    pub fn append_event(&mut self, event: NewEvent) -> Result<(), RowRefused> {
        if self.events.len() >= BATCH_EVENTS_MAX {
            return Err(RowRefused::TooManyEvents);
        }
        if self.bytes() + event.bytes() > BATCH_BYTES_MAX {
            return Err(RowRefused::BatchTooLarge);
        }
        self.event_bytes += event.bytes();
        self.events.push(event);
        Ok(())
    }

    /// Makes every later event's sequence number greater than `floor`: after a restore, whose log ends before what
    /// others have seen ([`crate::events::floor_after_restore`]). A floor below the current number changes nothing.
    pub fn raise_sequence_floor(&mut self, floor: u64) {
        self.sequence_floor = self.sequence_floor.max(floor.min(SEQUENCE_MAX));
    }

    /// Adds the rows of a later batch, so that both are written as one: where both change a row, the later counts.
    ///
    /// # Errors
    ///
    /// The later batch, unchanged: both together would exceed the bounds of one, or it has conditions or events, which hold
    /// for it alone.
    pub fn absorb(&mut self, later: Self) -> Result<(), Self> {
        let is_rows = later.expectations.is_empty() && later.events.is_empty() && later.sequence_floor == 0;
        let fits = self.rows() + later.rows() <= BATCH_ROWS_MAX && self.bytes() + later.bytes() <= BATCH_BYTES_MAX;
        if !is_rows || !fits || self.group.is_filling() != later.group.is_filling() {
            return Err(later);
        }
        self.group.absorb(later.group);
        Ok(())
    }

    /// Bytes of keys, values and events.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.group.bytes() + self.event_bytes
    }

    /// Rows changed, events not counted.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.group.len()
    }

    /// Whether the batch changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.group.is_empty() && self.events.is_empty() && self.sequence_floor == 0
    }

    /// Sets a row that is in its stored form already.
    pub(crate) fn put_stored(&mut self, table: TableId, key: Vec<u8>, stored: Vec<u8>) -> Result<(), RowRefused> {
        if stored.len() > VALUE_BYTES_MAX {
            return Err(RowRefused::ValueTooLarge { table, bytes: stored.len() });
        }
        self.check_room(table, &key, stored.len())?;
        self.group.put(key, stored);
        Ok(())
    }

    /// Removes a row by its stored key.
    pub(crate) fn delete_stored(&mut self, table: TableId, key: Vec<u8>) -> Result<(), RowRefused> {
        self.check_room(table, &key, 0)?;
        self.group.delete(key);
        Ok(())
    }

    fn check_room(&self, table: TableId, key: &[u8], value_bytes: usize) -> Result<(), RowRefused> {
        check_key(table, key)?;
        if self.group.len() >= BATCH_ROWS_MAX || self.bytes() + key.len() + value_bytes > BATCH_BYTES_MAX {
            return Err(RowRefused::BatchTooLarge);
        }
        Ok(())
    }

    fn expect(&mut self, table: TableId, key: Vec<u8>, expected: Expected) -> Result<(), RowRefused> {
        check_key(table, &key)?;
        if self.expectations.len() >= BATCH_EXPECTATIONS_MAX {
            return Err(RowRefused::TooManyExpectations);
        }
        self.expectations.push(Expectation { table, key, expected });
        Ok(())
    }
}

fn check_key(table: TableId, key: &[u8]) -> Result<(), RowRefused> {
    if key.len() > KEY_BYTES_MAX { Err(RowRefused::KeyTooLong { table, bytes: key.len() }) } else { Ok(()) }
}

fn encode_value<K, V: StoredValue>(table: &Table<K, V>, value: &V) -> Result<Vec<u8>, RowRefused>
where
    K: Key,
{
    codec::encode(value).map_err(|source| RowRefused::Value { table: table.id(), source })
}

/// Why something cannot be part of a batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowRefused {
    /// Longer than [`KEY_BYTES_MAX`].
    #[error("a key of table {table} has {bytes} bytes, at most {KEY_BYTES_MAX} are stored")]
    KeyTooLong {
        /// The table.
        table: TableId,
        /// Bytes of the encoded key.
        bytes: usize,
    },
    /// Larger than [`VALUE_BYTES_MAX`]. Split it ([`crate::chunked`]) or keep it as a file.
    #[error("a value of table {table} has {bytes} bytes, a row holds at most {VALUE_BYTES_MAX}")]
    ValueTooLarge {
        /// The table.
        table: TableId,
        /// Bytes of the stored form.
        bytes: usize,
    },
    /// Larger than [`crate::limits::CHUNKED_BYTES_MAX`]. Keep it as a file.
    #[error(
        "a value of table {table} has {bytes} bytes, at most {max} are stored in rows",
        max = crate::limits::CHUNKED_BYTES_MAX
    )]
    ChunkedTooLarge {
        /// The table.
        table: TableId,
        /// Bytes of the value.
        bytes: usize,
    },
    /// An event larger than [`crate::limits::EVENT_BYTES_MAX`].
    #[error("an event has {bytes} bytes, at most {max} are stored", max = crate::limits::EVENT_BYTES_MAX)]
    EventTooLarge {
        /// Bytes of the event.
        bytes: usize,
    },
    /// More than [`BATCH_ROWS_MAX`] rows or [`BATCH_BYTES_MAX`] bytes. Split the operation.
    #[error("a batch holds at most {BATCH_ROWS_MAX} rows and {BATCH_BYTES_MAX} bytes")]
    BatchTooLarge,
    /// More than [`BATCH_EXPECTATIONS_MAX`] conditions.
    #[error("a batch holds at most {BATCH_EXPECTATIONS_MAX} conditions")]
    TooManyExpectations,
    /// More than [`BATCH_EVENTS_MAX`] events.
    #[error("a batch holds at most {BATCH_EVENTS_MAX} events")]
    TooManyEvents,
    /// No stored form.
    #[error("a value of table {table} cannot be stored")]
    Value {
        /// The table.
        table: TableId,
        /// The reason.
        source: CodecError,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Raw;

    const ROWS: Table<Vec<u8>, Raw> = Table::new(TableId::Peers);

    #[test]
    fn a_later_batch_is_absorbed_where_it_fits_and_counts() {
        let key = |name: &str| name.as_bytes().to_vec();
        let put = |name: &str, value: &[u8]| {
            let mut batch = Batch::new();
            batch.put(&ROWS, &key(name), &Raw(value.to_vec())).expect("fits");
            batch
        };
        let mut batch = put("a", b"1");
        batch.put(&ROWS, &key("b"), &Raw(b"1".to_vec())).expect("fits");
        let mut later = put("a", b"2");
        later.delete(&ROWS, &key("b")).expect("fits");
        let together = batch.bytes() + later.bytes();
        batch.absorb(later).expect("both fit");
        assert_eq!((batch.rows(), batch.bytes()), (2, together));
        let changes = |batch: &Batch| batch.group.iter().map(|(_, value)| value.is_some()).collect::<Vec<_>>();
        assert_eq!(changes(&batch), [true, false], "what was removed later is gone");
        assert_eq!(
            batch.group.iter().next().and_then(|(_, value)| value),
            put("a", b"2").group.iter().next().and_then(|(_, value)| value)
        );

        let mut conditional = put("c", b"1");
        conditional.expect_absent(&ROWS, &key("c")).expect("few");
        assert_eq!(batch.absorb(conditional).expect_err("it has a condition").rows(), 1);
        assert!(batch.absorb(Batch::filling()).is_err(), "one may be there in part, the other not");
        let mut full = Batch::new();
        // The version takes a byte.
        let large = vec![7; VALUE_BYTES_MAX - 1];
        while full.put(&ROWS, &full.rows().to_be_bytes().to_vec(), &Raw(large.clone())).is_ok() {}
        let (mut one, rows) = (full.clone(), full.rows());
        assert!(rows > 0, "the largest value fits");
        assert_eq!(one.absorb(full).expect_err("together they are too large").rows(), rows);
        assert_eq!(one.rows(), rows);
    }

    #[test]
    fn bounds_are_refused_by_name_and_leave_the_batch_as_it_was() {
        let mut batch = Batch::new();
        batch.put(&ROWS, &vec![1], &Raw(vec![0; VALUE_BYTES_MAX - 1])).expect("exactly at the bound");
        let before = batch.bytes();
        assert_eq!(
            batch.put(&ROWS, &vec![2], &Raw(vec![0; VALUE_BYTES_MAX])),
            Err(RowRefused::ValueTooLarge { table: TableId::Peers, bytes: VALUE_BYTES_MAX + 1 })
        );
        let long = vec![1; KEY_BYTES_MAX];
        assert!(matches!(batch.delete(&ROWS, &long), Err(RowRefused::KeyTooLong { .. })));
        assert!(matches!(batch.expect_absent(&ROWS, &long), Err(RowRefused::KeyTooLong { .. })));
        assert_eq!((batch.rows(), batch.bytes()), (1, before));
    }

    #[test]
    fn a_batch_ends_at_its_bytes() {
        let mut batch = Batch::new();
        let mut rows = 0_u64;
        while batch.put(&ROWS, &rows.to_be_bytes().to_vec(), &Raw(vec![7; 16_000])).is_ok() {
            rows += 1;
        }
        assert!(batch.bytes() <= BATCH_BYTES_MAX && batch.bytes() > BATCH_BYTES_MAX - 17_000);
    }
}
