//! An engine without a disk: for tests, simulations and as the model of what the others must do.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::{Engine, EngineError, EngineStats, Group, KeyRange, Page, PageLimit};

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// Rows in memory. They outlive `close` for as long as [`MemoryEngine::reopen`] can reach them.
#[derive(Debug)]
pub struct MemoryEngine {
    rows: Arc<RwLock<Rows>>,
    closed: RwLock<bool>,
}

impl MemoryEngine {
    /// No rows.
    #[must_use]
    pub fn new() -> Self {
        Self { rows: Arc::default(), closed: RwLock::new(false) }
    }

    /// A new handle on the same rows.
    #[must_use]
    pub fn reopen(&self) -> Self {
        Self { rows: Arc::clone(&self.rows), closed: RwLock::new(false) }
    }

    fn check_open(&self) -> Result<(), EngineError> {
        if *self.closed.read().unwrap_or_else(PoisonError::into_inner) { Err(EngineError::Closed) } else { Ok(()) }
    }

    fn read<T>(&self, read: impl FnOnce(&Rows) -> T) -> Result<T, EngineError> {
        self.check_open()?;
        Ok(read(&self.rows.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Default for MemoryEngine {
    fn default() -> Self {
        Self::new()
    }
}

impl Engine for MemoryEngine {
    fn apply(&self, groups: &[Group]) -> Result<(), EngineError> {
        self.check_open()?;
        let mut rows = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        for (key, value) in groups.iter().flat_map(Group::iter) {
            match value {
                Some(value) => rows.insert(key.to_vec(), value.to_vec()),
                None => rows.remove(key),
            };
        }
        Ok(())
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        self.read(|rows| rows.get(key).cloned())
    }

    fn multi_get(&self, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, EngineError> {
        self.read(|rows| keys.iter().map(|key| rows.get(*key).cloned()).collect())
    }

    fn page(&self, range: &KeyRange, reverse: bool, limit: PageLimit) -> Result<Page, EngineError> {
        if range.is_empty() {
            self.check_open()?;
            return Ok(Page::default());
        }
        self.read(|rows| {
            let rows = rows.range::<[u8], _>(range.bounds()).map(Ok);
            if reverse { Page::collect(rows.rev(), limit) } else { Page::collect(rows, limit) }
        })?
    }

    fn maintain(&self) -> Result<(), EngineError> {
        self.check_open()
    }

    fn stats(&self) -> Result<EngineStats, EngineError> {
        self.check_open()?;
        Ok(EngineStats::default())
    }

    fn close(&self) -> Result<(), EngineError> {
        *self.closed.write().unwrap_or_else(PoisonError::into_inner) = true;
        Ok(())
    }
}
