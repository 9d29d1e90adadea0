//! All rows as they were at one moment.
//!
//! The engines behind the door have no snapshots that they share, and need none: there is one writer. A cut lies between
//! two of its flushes. From then on, before it changes a row that the reader of the cut has not come to yet, the writer
//! puts aside what the row was. The reader goes through the store once, in the order of keys, and takes what was put aside
//! in place of what it finds.
//!
//! Beginning a cut waits for the flush under way and stops nobody. While it is open, each changed row costs the writer one
//! read. What is put aside is bounded: beyond that the cut is given up, never the writer held up.
//!
//! A cut of one account reads the account's rows alone, and puts nothing else aside.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use angel_protocol::ledger::tree;

use super::StoredRow;
use super::account::ranges;
use crate::belongings::Owned;
use crate::engine::{Engine, EngineError, Group, KeyRange, PageLimit};
use crate::key::AccountId;
use crate::ledger::{TablesView, decided};
use crate::limits::BULK_ROWS;
use crate::reader::{ReadError, Reader};
use crate::writer::Writer;

/// Bytes that one step reads.
const STEP_BYTES: usize = 1024 * 1024;

/// What a row put aside costs besides its bytes.
const ROW_COST: usize = 64;

/// How often a cut of an account is begun again because it got or lost a space at that very moment.
const BEGINNINGS_MAX: usize = 8;

/// The writer's side: whether a cut is open, and what it wants to know.
#[derive(Debug, Default)]
pub(crate) struct Cuts {
    /// Held by the writer during each flush, by whoever begins a cut in between.
    boundary: Mutex<()>,
    open: Mutex<Option<Arc<Aside>>>,
    any: AtomicBool,
}

/// What was put aside for one cut.
#[derive(Debug)]
struct Aside {
    rows: Mutex<Rows>,
    bytes_max: usize,
    /// What is read, in the order of keys; everything when there is none.
    ranges: Vec<KeyRange>,
}

#[derive(Debug, Default)]
struct Rows {
    /// Everything before this has been read.
    unread: Vec<u8>,
    before: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    bytes: usize,
    given_up: bool,
}

impl Cuts {
    /// Held while batches are applied: no cut begins meanwhile.
    pub(crate) fn flushing(&self) -> MutexGuard<'_, ()> {
        self.boundary.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts aside what `groups` are about to change, for the cut that is open, if one is.
    pub(crate) fn put_aside(&self, engine: &dyn Engine, groups: &[Group]) -> Result<(), EngineError> {
        if !self.any.load(Ordering::Acquire) {
            return Ok(());
        }
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(aside) = open else { return Ok(()) };
        for (key, _) in groups.iter().flat_map(Group::iter) {
            if aside.wants(key) {
                aside.keep(key, engine.get(key)?);
            }
        }
        Ok(())
    }

    fn open(&self, aside: &Arc<Aside>) -> Result<(), CutError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.is_some() {
            return Err(CutError::AlreadyOpen);
        }
        *open = Some(Arc::clone(aside));
        self.any.store(true, Ordering::Release);
        Ok(())
    }

    fn close(&self) {
        self.any.store(false, Ordering::Release);
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Aside {
    fn lock(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wants(&self, key: &[u8]) -> bool {
        if !self.is_read(key) {
            return false;
        }
        let rows = self.lock();
        !rows.given_up && key >= rows.unread.as_slice() && !rows.before.contains_key(key)
    }

    fn is_read(&self, key: &[u8]) -> bool {
        let behind = self.ranges.partition_point(|range| range.start.as_slice() <= key);
        let last = behind.checked_sub(1).and_then(|at| self.ranges.get(at));
        self.ranges.is_empty() || last.is_some_and(|range| range.end.as_deref().is_none_or(|end| key < end))
    }

    fn keep(&self, key: &[u8], value: Option<Vec<u8>>) {
        let mut rows = self.lock();
        // It may have been read meanwhile.
        if rows.given_up || key < rows.unread.as_slice() {
            return;
        }
        rows.bytes += ROW_COST + key.len() + value.as_ref().map_or(0, Vec::len);
        rows.before.insert(key.to_vec(), value);
        if rows.bytes > self.bytes_max {
            rows.given_up = true;
            rows.before = BTreeMap::new();
        }
    }
}

/// All rows at one moment, to be read once. Dropping it lets the writer go.
#[derive(Debug)]
pub struct Cut {
    reader: Reader,
    writer: Writer,
    aside: Arc<Aside>,
    ranges: VecDeque<KeyRange>,
    sequence: u64,
    height: u64,
    ledger_root: [u8; 32],
}

impl Cut {
    /// Begins a cut. What changes while it is read may take `bytes_max` bytes of memory.
    ///
    /// # Errors
    ///
    /// Another cut is open, or the store cannot be read.
    pub fn begin(reader: &Reader, writer: &Writer, bytes_max: usize) -> Result<Self, CutError> {
        let cuts = writer.cuts();
        let boundary = cuts.flushing();
        let mut cut = Self::open(reader, writer, Vec::new(), bytes_max)?;
        cut.height = decided::newest(reader)?.unwrap_or(0);
        // What waits to be written is in no cut: whoever restores it makes it anew from the decided batches.
        let root = tree::root(&TablesView(reader)).map_err(|error| CutError::Ledger(error.to_string()))?;
        cut.ledger_root = root;
        drop(boundary);
        Ok(cut)
    }

    /// Begins a cut of one account: its rows, and those that make a store of them. Of the ledger there is nothing in it. `None`
    /// when there is no such account.
    ///
    /// # Errors
    ///
    /// Another cut is open, the store cannot be read, or the account kept changing what it consists of.
    pub fn begin_of(
        reader: &Reader,
        writer: &Writer,
        account: AccountId,
        bytes_max: usize,
    ) -> Result<Option<Self>, CutError> {
        for _ in 0..BEGINNINGS_MAX {
            let Some(owned) = Owned::of(reader, account)? else { return Ok(None) };
            let boundary = writer.cuts().flushing();
            let cut = Self::open(reader, writer, ranges(&owned), bytes_max)?;
            drop(boundary);
            // Its spaces are found by reading, which takes longer than the writer may wait.
            if Owned::of(reader, account)?.as_ref() == Some(&owned) {
                return Ok(Some(cut));
            }
        }
        Err(CutError::Unsteady)
    }

    fn open(reader: &Reader, writer: &Writer, ranges: Vec<KeyRange>, bytes_max: usize) -> Result<Self, CutError> {
        let all = if ranges.is_empty() { vec![KeyRange::all()] } else { ranges.clone() };
        let aside = Arc::new(Aside { rows: Mutex::default(), bytes_max, ranges });
        writer.cuts().open(&aside)?;
        Ok(Self {
            reader: reader.clone(),
            writer: writer.clone(),
            aside,
            ranges: all.into(),
            sequence: reader.durable_sequence(),
            height: 0,
            ledger_root: tree::EMPTY,
        })
    }

    /// The newest event of the log at that moment.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The newest decided height of the ledger, and the root of its state.
    #[must_use]
    pub const fn ledger(&self) -> (u64, [u8; 32]) {
        (self.height, self.ledger_root)
    }

    /// The next rows in the order of keys; `None` behind the last.
    ///
    /// # Errors
    ///
    /// The store cannot be read, or more was written meanwhile than may be put aside.
    pub fn next_rows(&mut self) -> Result<Option<Vec<StoredRow>>, CutError> {
        while let Some(range) = self.ranges.pop_front() {
            let page = self.reader.rows(&range, false, PageLimit { rows: BULK_ROWS, bytes: STEP_BYTES })?;
            let rest = page.last_key().filter(|_| page.more).map(|last| range.clone().beyond(last, false));
            let unread = rest.as_ref().map(|rest| &rest.start).or(range.end.as_ref());
            let before = self.take_aside(unread.map(Vec::as_slice))?;
            if let Some(rest) = rest {
                self.ranges.push_front(rest);
            }
            let rows = page.rows().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
            let rows = as_they_were(rows, before);
            if !rows.is_empty() {
                return Ok(Some(rows));
            }
        }
        Ok(None)
    }

    /// What was put aside before `unread`, or all of it; from now on nothing more is put aside there.
    fn take_aside(&self, unread: Option<&[u8]>) -> Result<BTreeMap<Vec<u8>, Option<Vec<u8>>>, CutError> {
        let mut rows = self.aside.lock();
        if rows.given_up {
            return Err(CutError::TooMuchWritten { bytes: self.aside.bytes_max });
        }
        let taken = match unread {
            Some(unread) => {
                let rest = rows.before.split_off(unread);
                std::mem::replace(&mut rows.before, rest)
            }
            None => std::mem::take(&mut rows.before),
        };
        rows.bytes -=
            taken.iter().map(|(key, row)| ROW_COST + key.len() + row.as_ref().map_or(0, Vec::len)).sum::<usize>();
        // Behind every key that there can be.
        rows.unread = unread.map_or_else(|| vec![u8::MAX; crate::limits::KEY_BYTES_MAX + 1], <[u8]>::to_vec);
        Ok(taken)
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        self.writer.cuts().close();
    }
}

fn as_they_were(found: Vec<StoredRow>, before: BTreeMap<Vec<u8>, Option<Vec<u8>>>) -> Vec<StoredRow> {
    if before.is_empty() {
        return found;
    }
    let mut rows: BTreeMap<_, _> = found.into_iter().collect();
    for (key, value) in before {
        match value {
            Some(value) => rows.insert(key, value),
            None => rows.remove(&key),
        };
    }
    rows.into_iter().collect()
}

/// Why the rows of one moment cannot be read. The store goes on as ever.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CutError {
    /// Somebody else reads the rows of a moment.
    #[error("a backup is being made already")]
    AlreadyOpen,
    /// More was written than may be put aside.
    #[error(
        "more was written while the backup was read than fits into {bytes} bytes: make it when there is less to do, or \
         give the store more memory (storage.memory)"
    )]
    TooMuchWritten {
        /// The bound.
        bytes: usize,
    },
    /// The account got or lost spaces whenever it was begun.
    #[error("the account kept changing what it consists of; try again")]
    Unsteady,
    /// The ledger's rows cannot be read.
    #[error("the ledger cannot be read: {0}")]
    Ledger(String),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A row.
    #[error(transparent)]
    Read(#[from] ReadError),
}
