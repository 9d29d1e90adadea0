//! Rows as a batch in the making leaves them, so that one step can build on the one before without waiting for the disk.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::batch::{Batch, RowRefused};
use crate::codec::{self, StoredValue};
use crate::engine::KeyRange;
use crate::key::{Key, PrefixOf};
use crate::reader::{ReadError, Reader};
use crate::tables::{Table, TableId};

/// Changes on top of what the store holds. Reads single rows; ranges are the store's alone.
#[derive(Debug)]
pub struct Overlay<'r> {
    reader: &'r Reader,
    rows: BTreeMap<Vec<u8>, (TableId, Option<Vec<u8>>)>,
    bytes: usize,
}

impl<'r> Overlay<'r> {
    /// No changes yet.
    #[must_use]
    pub const fn new(reader: &'r Reader) -> Self {
        Self { reader, rows: BTreeMap::new(), bytes: 0 }
    }

    /// What lies below.
    #[must_use]
    pub const fn reader(&self) -> &'r Reader {
        self.reader
    }

    /// The row as it is after the changes.
    ///
    /// # Errors
    /// The engine fails, or the row cannot be read.
    pub fn get<K: Key, V: StoredValue>(&self, table: &Table<K, V>, key: &K) -> Result<Option<V>, ReadError> {
        match self.rows.get(&table.key(key)) {
            None => self.reader.get(table, key),
            Some((_, None)) => Ok(None),
            Some((_, Some(stored))) => {
                table.decode_value(stored).map(Some).map_err(|source| ReadError::row(table, key, source))
            }
        }
    }

    /// Sets a row.
    ///
    /// # Errors
    /// The value has no stored form.
    pub fn put<K: Key, V: StoredValue>(&mut self, table: &Table<K, V>, key: &K, value: &V) -> Result<(), RowRefused> {
        let stored = codec::encode(value).map_err(|source| RowRefused::Value { table: table.id(), source })?;
        let key = table.key(key);
        self.bytes += key.len() + stored.len();
        self.rows.insert(key, (table.id(), Some(stored)));
        Ok(())
    }

    /// Removes a row.
    pub fn delete<K: Key, V: StoredValue>(&mut self, table: &Table<K, V>, key: &K) {
        self.rows.insert(table.key(key), (table.id(), None));
    }

    /// Drops what was set among the rows that begin with these parts: those that the store holds are as they were.
    pub fn forget_under<K: Key, V: StoredValue, P: PrefixOf<K>>(&mut self, table: &Table<K, V>, prefix: &P) {
        let KeyRange { start, end } = table.prefix(prefix);
        let end = end.map_or(Bound::Unbounded, Bound::Excluded);
        let keys: Vec<_> = self.rows.range((Bound::Included(start), end)).map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.rows.remove(&key);
        }
    }

    /// About how many rows are changed, and bytes of them.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        (self.rows.len(), self.bytes)
    }

    /// Adds the changes to a batch.
    ///
    /// # Errors
    /// The batch is full, or a row exceeds its bounds.
    pub fn stage(self, batch: &mut Batch) -> Result<(), RowRefused> {
        for (key, (table, stored)) in self.rows {
            match stored {
                Some(stored) => batch.put_stored(table, key, stored)?,
                None => batch.delete_stored(table, key)?,
            }
        }
        Ok(())
    }
}
