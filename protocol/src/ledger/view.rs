//! What the ledger reads and what it leaves behind: sorted rows of bytes.
//!
//! The ledger never scans and never writes. It asks a [`View`] for rows by key and returns [`Changes`]; storage
//! applies them in one atomic batch.

use std::collections::{BTreeMap, HashMap};

/// The rows of the ledger at one height, read by key.
pub trait View {
    /// The value under `key`, if there is one.
    ///
    /// # Errors
    /// [`ViewError`] when the row cannot be read. That is never the same as absence: applying stops.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError>;
}

/// A row could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {
    /// The storage below failed.
    #[error("the ledger's storage failed: {0}")]
    Storage(String),
    /// The row is there and is not what the ledger writes.
    #[error("the ledger row of table {table:#04x} is damaged; restore the ledger from a peer")]
    Damaged {
        /// First byte of the row's key.
        table: u8,
    },
}

/// Rows to write, or to delete where the value is absent, sorted by key.
pub type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// Rows in memory: for genesis, tests and tools.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryView(HashMap<Vec<u8>, Vec<u8>>);

impl MemoryView {
    /// Without rows.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes what an application left behind.
    pub fn write(&mut self, changes: Changes) {
        for (key, value) in changes {
            match value {
                Some(value) => self.0.insert(key, value),
                None => self.0.remove(&key),
            };
        }
    }

    /// All rows, sorted by key.
    pub fn rows(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let rows: BTreeMap<_, _> = self.0.iter().map(|(key, value)| (key.as_slice(), value.as_slice())).collect();
        rows.into_iter()
    }
}

impl View for MemoryView {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError> {
        Ok(self.0.get(key).cloned())
    }
}

impl<V: View + ?Sized> View for &V {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError> {
        (**self).get(key)
    }
}

/// `base` with `changes` laid over it, without copying either: a decided height whose rows are not written yet.
pub struct Layered<'a, V> {
    base: V,
    changes: &'a Changes,
}

impl<'a, V: View> Layered<'a, V> {
    /// Lays `changes` over `base`.
    pub const fn new(base: V, changes: &'a Changes) -> Self {
        Self { base, changes }
    }
}

impl<V: View> View for Layered<'_, V> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError> {
        match self.changes.get(key) {
            Some(value) => Ok(value.clone()),
            None => self.base.get(key),
        }
    }
}
