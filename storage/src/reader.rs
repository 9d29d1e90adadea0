//! Reading: typed rows and pages. A reader is cheap to clone and never waits for the writer.
//!
//! Reads are not a snapshot, and a row may show shortly before its batch is durable. Whoever tells others about a row
//! learns of it through the event log, which shows durable events only.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::belongings::CopyView;
use crate::codec::{CodecError, StoredValue};
use crate::engine::{Engine, EngineError, KeyRange, Page, PageLimit};
use crate::key::{AccountId, Key, PrefixOf};
use crate::ledger::late::Late;
use crate::tables::{Table, TableId};

/// A handle for reading the store.
#[derive(Clone, Debug)]
pub struct Reader {
    engine: Arc<dyn Engine>,
    durable_sequence: Arc<AtomicU64>,
    late: Arc<Late>,
}

impl Reader {
    pub(crate) fn new(engine: Arc<dyn Engine>, durable_sequence: Arc<AtomicU64>) -> Self {
        Self { engine, durable_sequence, late: Arc::default() }
    }

    /// Rows of the ledger that are not in their tables yet.
    pub(crate) fn late(&self) -> &Late {
        &self.late
    }

    /// Reads the private rows of the copy under `account`, which another node serves, where this node's own would be.
    #[must_use]
    pub fn of_copy(&self, account: AccountId) -> Self {
        let engine = Arc::new(CopyView::new(Arc::clone(&self.engine), account));
        Self { engine, durable_sequence: Arc::clone(&self.durable_sequence), late: Arc::clone(&self.late) }
    }

    /// The row, if it is there.
    ///
    /// # Errors
    ///
    /// The engine fails, or the row cannot be read.
    pub fn get<K: Key, V: StoredValue>(&self, table: &Table<K, V>, key: &K) -> Result<Option<V>, ReadError> {
        let stored = self.engine.get(&table.key(key))?;
        stored
            .map(|stored| table.decode_value(&stored).map_err(|source| ReadError::row(table, key, source)))
            .transpose()
    }

    /// Whether the row is there.
    ///
    /// # Errors
    ///
    /// The engine fails.
    pub fn contains<K: Key, V: StoredValue>(&self, table: &Table<K, V>, key: &K) -> Result<bool, ReadError> {
        Ok(self.engine.get(&table.key(key))?.is_some())
    }

    /// Several rows, in the order asked.
    ///
    /// # Errors
    ///
    /// The engine fails, or a row cannot be read.
    pub fn multi_get<K: Key, V: StoredValue>(
        &self,
        table: &Table<K, V>,
        keys: &[K],
    ) -> Result<Vec<Option<V>>, ReadError> {
        let encoded: Vec<_> = keys.iter().map(|key| table.key(key)).collect();
        let encoded: Vec<_> = encoded.iter().map(Vec::as_slice).collect();
        let rows = self.engine.multi_get(&encoded)?.into_iter().zip(keys);
        rows.map(|(stored, key)| {
            let decode = |stored: Vec<u8>| table.decode_value(&stored);
            stored.map(decode).transpose().map_err(|source| ReadError::row(table, key, source))
        })
        .collect()
    }

    /// Begins reading a range of a table, all of it unless narrowed.
    pub fn scan<K: Key, V: StoredValue>(&self, table: &Table<K, V>) -> Scan<'_, K, V> {
        Scan { reader: self, table: *table, range: table.all(), after: None, reverse: false }
    }

    /// The newest sequence that is safe on disk: readers of the event log see events up to here.
    #[must_use]
    pub fn durable_sequence(&self) -> u64 {
        self.durable_sequence.load(Ordering::Acquire)
    }

    /// A stored row.
    #[cfg(test)]
    pub(crate) fn stored(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        self.engine.get(key)
    }

    /// Stored rows of a range, for code that handles rows of any table.
    pub(crate) fn rows(&self, range: &KeyRange, reverse: bool, limit: PageLimit) -> Result<Page, EngineError> {
        self.engine.page(range, reverse, limit)
    }
}

/// A range of a table about to be read.
#[derive(Debug)]
#[must_use = "nothing is read before `page`"]
pub struct Scan<'a, K, V> {
    reader: &'a Reader,
    table: Table<K, V>,
    range: KeyRange,
    after: Option<Vec<u8>>,
    reverse: bool,
}

impl<K: Key, V: StoredValue> Scan<'_, K, V> {
    /// Only keys that begin with these parts.
    pub fn prefix<P: PrefixOf<K>>(mut self, prefix: &P) -> Self {
        self.range = self.table.prefix(prefix);
        self
    }

    /// Only keys from here on, this one included.
    pub fn from(mut self, first: &K) -> Self {
        self.range.start = self.range.start.max(self.table.key(first));
        self
    }

    /// Only keys before this one.
    pub fn until(mut self, end: &K) -> Self {
        let end = self.table.key(end);
        if self.range.end.as_ref().is_none_or(|current| end < *current) {
            self.range.end = Some(end);
        }
        self
    }

    /// Only keys behind this one, in reading direction: the last key of the page before.
    pub fn after(mut self, key: &K) -> Self {
        self.after = Some(self.table.key(key));
        self
    }

    /// From the greatest key down.
    pub fn reverse(mut self) -> Self {
        self.reverse = true;
        self
    }

    /// Reads up to `limit` rows, fewer when they are large ([`crate::limits::PAGE_BYTES_MAX`]).
    ///
    /// # Errors
    ///
    /// The engine fails, or a row cannot be read.
    pub fn page(self, limit: usize) -> Result<Rows<K, V>, ReadError> {
        if limit == 0 {
            return Ok(Rows { rows: Vec::new(), more: true });
        }
        let range = match &self.after {
            Some(after) => self.range.beyond(after, self.reverse),
            None => self.range,
        };
        let page = self.reader.rows(&range, self.reverse, PageLimit::rows(limit))?;
        let mut rows = Vec::with_capacity(page.len());
        for (key, stored) in page.rows() {
            let failed = |source| ReadError::Row { table: self.table.id(), key: hex(key), source };
            let decoded =
                self.table.decode_key(key).map_err(|error| failed(CodecError::Decode { detail: error.to_string() }))?;
            rows.push((decoded, self.table.decode_value(stored).map_err(failed)?));
        }
        Ok(Rows { rows, more: page.more })
    }
}

/// A page of typed rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rows<K, V> {
    /// Keys and values in reading order.
    pub rows: Vec<(K, V)>,
    /// Whether the limit ended the page; the range may hold more.
    pub more: bool,
}

/// Why something could not be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A row is not what its table says.
    #[error("row {key} of table {table}: {source}; run `angel storage verify`")]
    Row {
        /// The table.
        table: TableId,
        /// The stored key, in hexadecimal.
        key: String,
        /// What is wrong with it.
        source: CodecError,
    },
    /// A part of a value is missing although the others are there.
    #[error("row {key} of table {table} is missing although others refer to it; run `angel storage verify`")]
    Missing {
        /// The table.
        table: TableId,
        /// The stored key, in hexadecimal.
        key: String,
    },
}

impl ReadError {
    pub(crate) fn row<K: Key, V: StoredValue>(table: &Table<K, V>, key: &K, source: CodecError) -> Self {
        Self::Row { table: table.id(), key: hex(&table.key(key)), source }
    }

    pub(crate) fn missing<K: Key, V: StoredValue>(table: &Table<K, V>, key: &K) -> Self {
        Self::Missing { table: table.id(), key: hex(&table.key(key)) }
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
