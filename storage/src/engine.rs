//! The narrow door to the storage engine, and what stands behind it.
//!
//! The trait speaks in bytes and pages: no iterators, snapshots, closures or engine types cross it, so that an engine,
//! even a remote one, can be exchanged. Each engine is named in exactly one file below this module. What an engine does
//! not do: preconditions, sequence numbers and group commit ([`crate::writer`]); types and versions ([`crate::tables`],
//! [`crate::codec`]).

mod fjall;
mod memory;
mod sled;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod pool;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use self::{fjall as fjall_engine, sled as sled_engine};
pub use memory::MemoryEngine;

/// An ordered map from bytes to bytes that survives what the disk survives.
///
/// Every engine passes the same conformance suite. Implementations are called by one writer and many readers at a time.
pub trait Engine: Send + Sync + fmt::Debug {
    /// Applies every group, in order. Each group is atomic, unless it fills: after a crash it is there as a whole or not
    /// at all, and no group is there without those before it. On return all of them survive a power cut, and so does what
    /// [`Self::fill`] wrote before.
    ///
    /// # Errors
    ///
    /// After an error it is unknown which groups were applied; the caller must stop writing and reopen.
    fn apply(&self, groups: &[Group]) -> Result<(), EngineError>;

    /// Writes the rows of groups that fill ([`Group::is_filling`]), in no order and not necessarily durable on return:
    /// they are as soon as a later `apply` returns. Costs less than `apply` where the engine can make use of that.
    ///
    /// # Errors
    ///
    /// As with `apply`.
    fn fill(&self, groups: &[Group]) -> Result<(), EngineError> {
        self.apply(groups)
    }

    /// The value of `key`. May already show a group whose `apply` has not returned.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError>;

    /// The values of several keys, in the order asked.
    fn multi_get(&self, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, EngineError>;

    /// Up to `limit` rows of `range` in key order, or from its end when `reverse`. Not a snapshot: a group applied
    /// meanwhile may show in part.
    fn page(&self, range: &KeyRange, reverse: bool, limit: PageLimit) -> Result<Page, EngineError>;

    /// A good moment for housekeeping: the caller is idle and can wait.
    fn maintain(&self) -> Result<(), EngineError>;

    /// Figures for people and dashboards.
    fn stats(&self) -> Result<EngineStats, EngineError>;

    /// Makes everything durable and lets go of the files. Later calls answer [`EngineError::Closed`]. Idempotent.
    fn close(&self) -> Result<(), EngineError>;
}

/// The row changes of one atomic group: the last change of a key wins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    writes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    bytes: usize,
    is_filling: bool,
}

impl Group {
    /// A group that is not atomic: its rows are of no meaning until a later group says so, and may be there in part
    /// after a crash. No group behind it is there without all of it.
    #[must_use]
    pub fn filling() -> Self {
        Self { is_filling: true, ..Self::default() }
    }

    /// Whether this is a [`Self::filling`] group.
    #[must_use]
    pub fn is_filling(&self) -> bool {
        self.is_filling
    }

    /// Makes the group atomic after all.
    pub(crate) fn bind(&mut self) {
        self.is_filling = false;
    }

    /// Sets a row.
    pub fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.insert(key, Some(value));
    }

    /// Removes a row; removing an absent one is fine.
    pub fn delete(&mut self, key: Vec<u8>) {
        self.insert(key, None);
    }

    /// Adds the changes of a later group.
    pub(crate) fn absorb(&mut self, later: Self) {
        self.bytes += later.bytes;
        self.writes.extend(later.writes);
    }

    /// What this group makes of `key`: `None` when it does not touch it, `Some(None)` when it removes it.
    #[must_use]
    pub fn lookup(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        self.writes.get(key).map(Option::as_deref)
    }

    /// Changes in key order; `None` removes.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.writes.iter().map(|(key, value)| (key.as_slice(), value.as_deref()))
    }

    /// How many rows change.
    #[must_use]
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Bytes of keys and values written so far; a row set twice counts twice.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn insert(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.bytes += key.len() + value.as_ref().map_or(0, Vec::len);
        self.writes.insert(key, value);
    }
}

/// A range of keys: from `start`, included, to `end`, excluded; no `end` means to the last key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    /// First key that belongs.
    pub start: Vec<u8>,
    /// First key that no longer belongs.
    pub end: Option<Vec<u8>>,
}

impl KeyRange {
    /// Every key.
    #[must_use]
    pub fn all() -> Self {
        Self { start: Vec::new(), end: None }
    }

    /// Every key that begins with `prefix`.
    #[must_use]
    pub fn prefix(prefix: &[u8]) -> Self {
        Self { start: prefix.to_vec(), end: after_prefix(prefix) }
    }

    /// The part that lies behind `key`, in reading direction.
    #[must_use]
    pub fn beyond(mut self, key: &[u8], reverse: bool) -> Self {
        if reverse {
            if self.end.as_deref().is_none_or(|end| key < end) {
                self.end = Some(key.to_vec());
            }
        } else if key >= self.start.as_slice() {
            // The shortest key that sorts after `key`.
            self.start = [key, &[0]].concat();
        }
        self
    }

    /// Whether no key can belong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.end.as_ref().is_some_and(|end| *end <= self.start)
    }

    /// The same as a pair of bounds, for maps that take them.
    #[must_use]
    pub fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        (Bound::Included(&self.start), self.end.as_deref().map_or(Bound::Unbounded, Bound::Excluded))
    }
}

/// The first key behind every key that begins with `prefix`, or `None` when there is none.
fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

/// How much one page may hold. It ends with the row that reaches either bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLimit {
    /// Rows.
    pub rows: usize,
    /// Bytes of keys and values.
    pub bytes: usize,
}

impl PageLimit {
    /// At most `rows` rows and [`crate::limits::PAGE_BYTES_MAX`] bytes.
    #[must_use]
    pub fn rows(rows: usize) -> Self {
        Self { rows: rows.min(crate::limits::PAGE_ROWS_MAX), bytes: crate::limits::PAGE_BYTES_MAX }
    }
}

/// Rows of a page after which the size of the others is guessed.
const SAMPLE_ROWS: usize = 16;

/// Bytes that a page makes room for on such a guess: the range may end with the next row.
const EXPECTED_BYTES_MAX: usize = 256 * 1024;

/// One page of rows, all of them in one piece of memory: whoever reads many looks at them where they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    bytes: Vec<u8>,
    /// Where the key of each row ends, and its value. The key begins where the value before it ends.
    ends: Vec<(usize, usize)>,
    /// Whether the limit ended the page; the range may hold more.
    pub more: bool,
}

impl Page {
    /// How many rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Key and value of a row, counted in reading order.
    #[must_use]
    pub fn row(&self, index: usize) -> Option<(&[u8], &[u8])> {
        let (key_end, value_end) = *self.ends.get(index)?;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before].1);
        Some((&self.bytes[start..key_end], &self.bytes[key_end..value_end]))
    }

    /// Keys and values, in reading order.
    pub fn rows(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        (0..self.len()).map_while(|index| self.row(index))
    }

    /// The key read last.
    #[must_use]
    pub fn last_key(&self) -> Option<&[u8]> {
        self.row(self.len().checked_sub(1)?).map(|(key, _)| key)
    }

    /// The same rows under other keys.
    pub(crate) fn with_keys(&self, key: impl Fn(&[u8]) -> Vec<u8>) -> Self {
        let mut page = Self { bytes: Vec::with_capacity(self.bytes.len()), ends: Vec::new(), more: self.more };
        for (before, value) in self.rows() {
            page.bytes.extend_from_slice(&key(before));
            let key_end = page.bytes.len();
            page.bytes.extend_from_slice(value);
            page.ends.push((key_end, page.bytes.len()));
        }
        page
    }

    /// Makes room for as many rows like those so far as the limit allows: growing bit by bit copies all of them again.
    fn expect(&mut self, limit: PageLimit) {
        let further = limit.rows.saturating_sub(self.len());
        let each = self.bytes.len() / self.len().max(1);
        self.ends.reserve(further.min(EXPECTED_BYTES_MAX / each.max(1)));
        self.bytes.reserve(further.saturating_mul(each).min(limit.bytes).min(EXPECTED_BYTES_MAX));
    }

    /// Fills a page from an engine's own iterator.
    fn collect<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        rows: impl Iterator<Item = Result<(K, V), EngineError>>,
        limit: PageLimit,
    ) -> Result<Self, EngineError> {
        let mut page = Self::default();
        for row in rows {
            if page.len() >= limit.rows || page.bytes.len() >= limit.bytes {
                page.more = true;
                break;
            }
            let (key, value) = row?;
            page.bytes.extend_from_slice(key.as_ref());
            let key_end = page.bytes.len();
            page.bytes.extend_from_slice(value.as_ref());
            page.ends.push((key_end, page.bytes.len()));
            if page.len() == SAMPLE_ROWS {
                page.expect(limit);
            }
        }
        Ok(page)
    }
}

/// Figures of an engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EngineStats {
    /// Bytes of all its files.
    pub disk_bytes: u64,
    /// Files.
    pub files: u64,
}

/// The engines that can hold a node's data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// sled 0.34: the default.
    #[default]
    Sled,
    /// fjall 3: for large nodes; less memory and space, more commits per second.
    Fjall,
}

impl EngineKind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Sled, Self::Fjall];

    /// The name in configuration (`storage.engine`) and in the manifest.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sled => "sled",
            Self::Fjall => "fjall",
        }
    }
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for EngineKind {
    type Err = UnknownEngine;

    fn from_str(text: &str) -> Result<Self, UnknownEngine> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(UnknownEngine)
    }
}

/// Not the name of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the storage engine is \"sled\" or \"fjall\"")]
pub struct UnknownEngine;

/// What an engine persists about its own layout at creation. Later openings must use the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineSettings {
    /// sled: bytes of a segment. The 512 KiB it would choose make large pages spill into files that it never syncs.
    #[serde(default = "default_segment_bytes")]
    pub sled_segment_bytes: u32,
}

fn default_segment_bytes() -> u32 {
    2 * 1024 * 1024
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self { sled_segment_bytes: default_segment_bytes() }
    }
}

/// What may change from one opening to the next.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// Memory meant for the store, in bytes; the engine's cache gets the part that keeps the whole below it.
    pub memory_bytes: u64,
    /// Whether `apply` ends with a real disk barrier. Only the control of the power-cut test says no.
    barrier: bool,
}

impl Tuning {
    /// Tuning for a memory budget.
    #[must_use]
    pub fn with_memory(memory_bytes: u64) -> Self {
        Self { memory_bytes, barrier: true }
    }

    /// Acknowledges writes that may not survive a power cut. Exists for the control of the power-cut test, which must
    /// find losses with it; no configuration leads here.
    #[doc(hidden)]
    #[must_use]
    pub fn without_barrier(mut self) -> Self {
        self.barrier = false;
        self
    }
}

impl Default for Tuning {
    /// 256 MiB.
    fn default() -> Self {
        Self::with_memory(256 * 1024 * 1024)
    }
}

/// Opens the engine of `kind` in `dir`, which it creates when it is not there.
///
/// # Errors
///
/// The directory is locked, unreadable or damaged; a panic of the engine is caught and reported as
/// [`EngineError::Panicked`].
pub fn open(
    kind: EngineKind,
    dir: &Path,
    settings: EngineSettings,
    tuning: Tuning,
) -> Result<Arc<dyn Engine>, EngineError> {
    match kind {
        EngineKind::Sled => Ok(Arc::new(sled_engine::SledEngine::open(dir, settings, tuning)?)),
        EngineKind::Fjall => Ok(Arc::new(fjall_engine::FjallEngine::open(dir, tuning)?)),
    }
}

/// Whether `dir` holds the files without which an engine of `kind` would silently start afresh.
#[must_use]
pub fn is_present(kind: EngineKind, dir: &Path) -> bool {
    match kind {
        EngineKind::Sled => sled_engine::is_present(dir),
        EngineKind::Fjall => fjall_engine::is_present(dir),
    }
}

/// Why an engine could not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EngineError {
    /// The file system said no.
    #[error("{what} {path}: {source}", path = path.display())]
    Io {
        /// The call, as a verb phrase.
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The reason given.
        source: Arc<io::Error>,
    },
    /// What was read is not what was written.
    #[error("the files of the engine are damaged: {detail}")]
    Damaged {
        /// What the engine says.
        detail: String,
    },
    /// Another process, or another handle of this one, has the files open.
    #[error("the files of the engine are in use by another process")]
    Locked,
    /// The engine gave up in a way it does not report as an error.
    #[error("the engine panicked while {during}: {detail}")]
    Panicked {
        /// What it was asked.
        during: &'static str,
        /// Its last words.
        detail: String,
    },
    /// Anything else it reports.
    #[error("the engine failed: {detail}")]
    Failed {
        /// What the engine says.
        detail: String,
    },
    /// It was closed before.
    #[error("the store is closed")]
    Closed,
}

impl EngineError {
    fn io(what: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { what, path: path.to_owned(), source: Arc::new(source) }
    }
}

/// Runs engine code and turns a panic into an error, so that a damaged file never takes the process down unexplained.
fn guarded<T>(during: &'static str, call: impl FnOnce() -> Result<T, EngineError>) -> Result<T, EngineError> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let detail = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        Err(EngineError::Panicked { during, detail })
    })
}

/// How long an engine may take to let go of the files of a database that was closed: its threads may have to wait for a
/// processor that others use. Another process is told at once, by the lock of the store.
const UNLOCK_DEADLINE: Duration = Duration::from_secs(10);
const UNLOCK_POLL: Duration = Duration::from_millis(5);

/// Opens a database; waits for a lock that a handle of this process, closed a moment ago, has not let go of yet. An
/// engine's own threads hold on to its files for a moment, and so does a process that is just being started.
fn when_unlocked<T>(mut open: impl FnMut() -> Result<T, EngineError>) -> Result<T, EngineError> {
    let deadline = Instant::now() + UNLOCK_DEADLINE;
    loop {
        match open() {
            Err(EngineError::Locked) if Instant::now() < deadline => std::thread::sleep(UNLOCK_POLL),
            outcome => return outcome,
        }
    }
}

/// Makes the entries of `dir` (creations, renames, removals) survive a power cut.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), EngineError> {
    let sync = || File::open(dir)?.sync_all();
    sync().map_err(|error| EngineError::io("sync directory", dir, error))
}

/// [`sync_dir`] for `dir` and every directory below it.
fn sync_dirs(dir: &Path) -> Result<(), EngineError> {
    let list = || fs::read_dir(dir)?.collect::<io::Result<Vec<_>>>();
    for entry in list().map_err(|error| EngineError::io("list", dir, error))? {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            sync_dirs(&entry.path())?;
        }
    }
    sync_dir(dir)
}

/// Creates `dir` and what is missing above it, so that all of it survives a power cut.
pub(crate) fn create_dir_durably(dir: &Path) -> Result<(), EngineError> {
    let created: Vec<_> = dir.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists()).collect();
    fs::create_dir_all(dir).map_err(|error| EngineError::io("create", dir, error))?;
    // The directory itself may be left from an attempt that was interrupted before this.
    for path in created.into_iter().chain([dir]) {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        sync_dir(parent.unwrap_or(Path::new(".")))?;
    }
    Ok(())
}

/// Bytes and number of the files below `dir`. Files that vanish meanwhile are not counted.
pub(crate) fn disk_usage(dir: &Path) -> EngineStats {
    let mut stats = EngineStats::default();
    let mut pending = vec![dir.to_owned()];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => pending.push(entry.path()),
                Ok(meta) => {
                    stats.disk_bytes += meta.len();
                    stats.files += 1;
                }
                Err(_) => {}
            }
        }
    }
    stats
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_range_ends_behind_its_last_key() {
        assert_eq!(KeyRange::prefix(&[1, 2]).end, Some(vec![1, 3]));
        assert_eq!(KeyRange::prefix(&[1, 255]).end, Some(vec![2]));
        assert_eq!(KeyRange::prefix(&[255, 255]).end, None);
        assert_eq!(KeyRange::prefix(&[]).end, None);
    }

    #[test]
    fn beyond_never_widens_a_range() {
        let range = KeyRange { start: vec![5], end: Some(vec![8]) };
        assert_eq!(range.clone().beyond(&[3], false), range);
        assert_eq!(range.clone().beyond(&[9], true), range);
        assert_eq!(range.clone().beyond(&[6], false).start, vec![6, 0]);
        assert_eq!(range.beyond(&[6], true).end, Some(vec![6]));
    }

    #[test]
    fn a_panic_becomes_an_error() {
        let result: Result<(), _> = guarded("testing", || panic!("boom {}", 1));
        assert!(matches!(result, Err(EngineError::Panicked { during: "testing", detail }) if detail == "boom 1"));
    }
}
