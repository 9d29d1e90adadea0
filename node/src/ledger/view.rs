//! The state on disk, each row read once per piece of work; and the rows that heights keep asking for, in memory.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use angel_protocol::ledger::view::ViewError;
use angel_protocol::ledger::{Changes, View, rows};
use quick_cache::Weighter;
use quick_cache::sync::Cache;

/// Bytes of rows kept in memory, keys and what they take beside their bytes counted in.
const KEPT_BYTES: u64 = 16 << 20;

/// What a row takes beside its bytes.
const OVERHEAD_BYTES: usize = 128;

/// Rows that are expected: pages of the tree are most of them, and have a kilobyte or two.
const KEPT_EXPECTED: usize = 16_384;

/// Remembers what it read. For work on one height: judging a hundred transactions reads the network's numbers once.
pub(crate) struct Cached<V> {
    view: V,
    rows: RefCell<HashMap<Vec<u8>, Option<Vec<u8>>>>,
}

impl<V: View> Cached<V> {
    pub(crate) fn new(view: V) -> Self {
        Self { view, rows: RefCell::default() }
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

/// A row as it is kept, or that there is none.
type Row = Option<Arc<[u8]>>;

#[derive(Clone, Debug)]
struct Weight;

impl Weighter<Vec<u8>, Row> for Weight {
    fn weight(&self, key: &Vec<u8>, row: &Row) -> u64 {
        (key.len() + row.as_ref().map_or(0, |row| row.len()) + OVERHEAD_BYTES) as u64
    }
}

/// Rows of the state as the latest height left them: those read lately, and what was found not to be there. A transaction
/// is judged when it arrives and again when its height is; what the first time read, the second finds here, and a height
/// finds the wallets and pages of the one before.
///
/// Each height changes what is kept in the moment it is written. What was read from the store while a height was on its
/// way there is not kept: it may be from before.
#[derive(Debug)]
pub(crate) struct Kept {
    rows: Cache<Vec<u8>, Row, Weight>,
    /// Counts beginnings and ends of writing: odd while a height is being written.
    writes: RwLock<u64>,
}

impl Default for Kept {
    fn default() -> Self {
        Self { rows: Cache::with_weighter(KEPT_EXPECTED, KEPT_BYTES, Weight), writes: RwLock::new(0) }
    }
}

impl Kept {
    fn writes(&self) -> u64 {
        *self.writes.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, key: &[u8], row: Option<&[u8]>, seen: u64) {
        let writes = self.writes.read().unwrap_or_else(PoisonError::into_inner);
        if *writes == seen && seen.is_multiple_of(2) {
            self.rows.insert(key.to_vec(), row.map(Into::into));
        }
    }

    /// A height is about to be written.
    pub(crate) fn begin(&self) {
        *self.writes.write().unwrap_or_else(PoisonError::into_inner) += 1;
    }

    /// It is durable, and this is what it changed.
    pub(crate) fn end(&self, changes: &Changes) {
        let mut writes = self.writes.write().unwrap_or_else(PoisonError::into_inner);
        for (key, row) in changes {
            // Judging only ever asks whether a receipt is there, and seldom of one that is.
            if rows::is_receipt(key) {
                self.rows.remove(key.as_slice());
            } else {
                self.rows.insert(key.clone(), row.as_deref().map(Into::into));
            }
        }
        *writes += 1;
    }

    /// The state of `view` with what is kept of it. For one piece of work.
    pub(crate) fn over<V: View>(&self, view: V) -> Over<'_, V> {
        Over { kept: self, view }
    }
}

/// See [`Kept::over`].
pub(crate) struct Over<'a, V> {
    kept: &'a Kept,
    view: V,
}

impl<V: View> View for Over<'_, V> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError> {
        if let Some(row) = self.kept.rows.get(key) {
            return Ok(row.map(|row| row.to_vec()));
        }
        let seen = self.kept.writes();
        let row = self.view.get(key)?;
        self.kept.put(key, row.as_deref(), seen);
        Ok(row)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const WALLET: &[u8] = b"\x10did:key:somebody";
    const RECEIPT: &[u8] = b"\x20an id";

    /// A store of one height after the other that counts what is read of it.
    #[derive(Default)]
    struct Store {
        rows: RefCell<HashMap<Vec<u8>, Vec<u8>>>,
        reads: Cell<usize>,
    }

    impl Store {
        fn write(&self, changes: &Changes) {
            for (key, value) in changes {
                match value {
                    Some(value) => self.rows.borrow_mut().insert(key.clone(), value.clone()),
                    None => self.rows.borrow_mut().remove(key),
                };
            }
        }

        fn reads(&self) -> usize {
            self.reads.take()
        }
    }

    impl View for Store {
        fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError> {
            self.reads.set(self.reads.get() + 1);
            Ok(self.rows.borrow().get(key).cloned())
        }
    }

    fn changes(rows: &[(&[u8], Option<&[u8]>)]) -> Changes {
        rows.iter().map(|(key, value)| (key.to_vec(), value.map(<[u8]>::to_vec))).collect()
    }

    #[test]
    fn a_row_is_read_once_and_changes_with_the_height_that_changes_it() {
        let (store, kept) = (Store::default(), Kept::default());
        let get = |key| kept.over(&store).get(key).expect("memory reads");
        store.write(&changes(&[(WALLET, Some(b"one"))]));
        for _ in 0..2 {
            assert_eq!(get(WALLET), Some(b"one".to_vec()));
            assert_eq!(get(RECEIPT), None);
        }
        assert_eq!(store.reads(), 2, "also that there is none is known");
        let height = changes(&[(WALLET, Some(b"two")), (RECEIPT, Some(b"posted"))]);
        kept.begin();
        store.write(&height);
        kept.end(&height);
        assert_eq!((get(WALLET), store.reads()), (Some(b"two".to_vec()), 0));
        assert_eq!(get(RECEIPT), Some(b"posted".to_vec()));
        let height = changes(&[(WALLET, None)]);
        kept.begin();
        store.write(&height);
        kept.end(&height);
        store.reads();
        assert_eq!((get(WALLET), store.reads()), (None, 0));
    }

    /// A reader that began before a height was written, or while it was, and ends when it is.
    #[test]
    fn what_was_read_while_a_height_was_written_is_not_kept() {
        struct Slow<'a> {
            store: &'a Store,
            meanwhile: &'a dyn Fn(),
        }
        impl View for Slow<'_> {
            fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError> {
                let row = self.store.get(key);
                (self.meanwhile)();
                row
            }
        }
        let height = changes(&[(WALLET, Some(b"two")), (RECEIPT, Some(b"posted"))]);
        let begins_before = |store: &Store, kept: &Kept| {
            kept.begin();
            store.write(&height);
            kept.end(&height);
        };
        let begins_while = |store: &Store, kept: &Kept| {
            store.write(&height);
            kept.end(&height);
        };
        for key in [WALLET, RECEIPT] {
            for (begun, meanwhile) in
                [(false, &begins_before as &dyn Fn(&Store, &Kept)), (true, &begins_while as &dyn Fn(&Store, &Kept))]
            {
                let (store, kept) = (Store::default(), Kept::default());
                if begun {
                    kept.begin();
                }
                let slow = Slow { store: &store, meanwhile: &|| meanwhile(&store, &kept) };
                assert_eq!(kept.over(slow).get(key), Ok(None), "it was not there yet");
                assert!(kept.over(&store).get(key).expect("memory reads").is_some(), "it is now");
            }
        }
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let (store, kept) = (Store::default(), Kept::default());
        for number in 0..20_000_u64 {
            let key = [&[0][..], &number.to_be_bytes()].concat();
            let height = changes(&[(&key, Some(&[7; 2048]))]);
            kept.begin();
            kept.end(&height);
            store.write(&height);
        }
        assert!(kept.rows.weight() <= KEPT_BYTES, "{} bytes", kept.rows.weight());
    }
}
