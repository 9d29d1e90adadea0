//! The state on disk, each row read once per piece of work.

use std::cell::RefCell;
use std::collections::BTreeMap;

use angel_protocol::ledger::View;
use angel_protocol::ledger::view::ViewError;

/// Remembers what it read. For work on one height: judging a hundred transactions reads the network's numbers once.
pub(crate) struct Cached<V> {
    view: V,
    rows: RefCell<BTreeMap<Vec<u8>, Option<Vec<u8>>>>,
}

impl<V: View> Cached<V> {
    pub(crate) const fn new(view: V) -> Self {
        Self { view, rows: RefCell::new(BTreeMap::new()) }
    }
}

impl<V: View> View for Cached<V> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError> {
        if let Some(row) = self.rows.borrow().get(key) {
            return Ok(row.clone());
        }
        let row = self.view.get(key)?;
        self.rows.borrow_mut().insert(key.to_vec(), row.clone());
        Ok(row)
    }
}
