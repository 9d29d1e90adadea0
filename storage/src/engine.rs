//! The narrow door to the storage engine, and what stands behind it.
//!
//! The trait speaks in bytes and pages: no iterators, snapshots, closures or engine types cross it, so that an engine,
//! even a remote one, can be exchanged. Each engine is named in exactly one file below this module. What an engine does
//! not do: preconditions, sequence numbers and group commit ([`crate::writer`]); types and versions ([`crate::tables`],
//! [`crate::codec`]).

mod files;
mod fjall;
mod kinds;
mod memory;
mod rows;
mod sled;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod pool;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use self::files::sync_dirs;
pub(crate) use self::files::{create_dir_durably, disk_usage, sync_dir};
pub use self::kinds::{EngineKind, EngineSettings, Tuning, UnknownEngine};
pub use self::memory::MemoryEngine;
pub use self::rows::{Group, KeyRange, Page, PageLimit};
use self::{fjall as fjall_engine, sled as sled_engine};

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

/// Figures of an engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EngineStats {
    /// Bytes of all its files.
    pub disk_bytes: u64,
    /// Files.
    pub files: u64,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error() {
        let result: Result<(), _> = guarded("testing", || panic!("boom {}", 1));
        assert!(matches!(result, Err(EngineError::Panicked { during: "testing", detail }) if detail == "boom 1"));
    }
}
