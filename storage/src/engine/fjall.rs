//! fjall 3: a log-structured merge tree. The only file that names it.
//!
//! Memtables of 16 MB and a journal of 64 MB keep a small node small. Batches go to the journal without a sync each;
//! one `persist` at the end of `apply` covers them all. A batch that a power cut tore before that makes fjall refuse to
//! open; [`journal`] cuts it off.

mod journal;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use super::{
    Engine, EngineError, EngineStats, Group, KeyRange, Page, PageLimit, Tuning, create_dir_durably, disk_usage,
    guarded, sync_dirs, when_unlocked,
};

const ROWS: &str = "rows";
/// Holds one row, which numbers each `apply`.
const MARKS: &str = "marks";
const MEMTABLE_BYTES: u64 = 16 * 1024 * 1024;
const JOURNAL_BYTES: u64 = 64 * 1024 * 1024;

/// The block cache's part of the memory meant for the store; memtables and the journal's buffers take the rest.
const CACHE_PERCENT: u64 = 40;

/// A fjall database in a directory of its own, with one keyspace.
pub(super) struct FjallEngine {
    open: RwLock<Option<Open>>,
    dir: PathBuf,
    barrier: bool,
}

struct Open {
    db: fjall::Database,
    rows: fjall::Keyspace,
    marks: fjall::Keyspace,
    /// The number of the next `apply`.
    next_mark: AtomicU64,
}

impl std::fmt::Debug for FjallEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FjallEngine").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl FjallEngine {
    pub(super) fn open(dir: &Path, tuning: Tuning) -> Result<Self, EngineError> {
        create_dir_durably(dir)?;
        let opened = guarded("opening the database", || when_unlocked(|| open(dir, tuning))).or_else(|error| {
            if matches!(error, EngineError::Locked) {
                return Err(error);
            }
            let cut = journal::cut_unacknowledged(dir);
            let cut = cut.map_err(|source| EngineError::io("repair the journal in", dir, source))?;
            let Some((path, end)) = cut else { return Err(error) };
            tracing::warn!(journal = %path.display(), end, "cut off what was never acknowledged");
            guarded("opening the database", || open(dir, tuning))
        })?;
        // It leaves some of the directories that it creates to luck.
        sync_dirs(dir)?;
        Ok(Self { open: RwLock::new(Some(opened)), dir: dir.to_owned(), barrier: tuning.barrier })
    }

    fn with<T>(
        &self,
        during: &'static str,
        call: impl FnOnce(&Open) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let open = open.as_ref().ok_or(EngineError::Closed)?;
        guarded(during, || call(open))
    }

    fn error(&self, error: fjall::Error) -> EngineError {
        engine_error(&self.dir, error)
    }
}

impl Engine for FjallEngine {
    fn apply(&self, groups: &[Group]) -> Result<(), EngineError> {
        self.with("writing", |open| {
            for (index, group) in groups.iter().filter(|group| !group.is_empty()).enumerate() {
                let mut batch = open.db.batch();
                if index == 0 {
                    let mark = open.next_mark.fetch_add(1, Ordering::Relaxed);
                    batch.insert(&open.marks, journal::MARK, journal::mark(mark));
                }
                for (key, value) in group.iter() {
                    match value {
                        Some(value) => batch.insert(&open.rows, key, value),
                        None => batch.remove(&open.rows, key),
                    }
                }
                batch.commit().map_err(|error| self.error(error))?;
            }
            let mode = if self.barrier { fjall::PersistMode::SyncAll } else { fjall::PersistMode::Buffer };
            open.db.persist(mode).map_err(|error| self.error(error))
        })
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        self.with("reading", |open| {
            let value = open.rows.get(key).map_err(|error| self.error(error))?;
            Ok(value.map(|value| value.to_vec()))
        })
    }

    fn multi_get(&self, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, EngineError> {
        keys.iter().map(|key| self.get(key)).collect()
    }

    fn page(&self, range: &KeyRange, reverse: bool, limit: PageLimit) -> Result<Page, EngineError> {
        self.with("reading a range", |open| {
            if range.is_empty() {
                return Ok(Page::default());
            }
            let rows = open.rows.range::<&[u8], _>(range.bounds());
            let read = |row: fjall::Guard| row.into_inner().map_err(|error| self.error(error));
            if reverse { Page::collect(rows.rev().map(read), limit) } else { Page::collect(rows.map(read), limit) }
        })
    }

    fn maintain(&self) -> Result<(), EngineError> {
        // Compaction runs in its own threads whenever there is something to compact.
        self.with("maintenance", |_| Ok(()))
    }

    fn stats(&self) -> Result<EngineStats, EngineError> {
        self.with("counting", |_| Ok(disk_usage(&self.dir)))
    }

    fn close(&self) -> Result<(), EngineError> {
        let Some(open) = self.open.write().unwrap_or_else(PoisonError::into_inner).take() else {
            return Ok(());
        };
        guarded("closing", || {
            let persisted = open.db.persist(fjall::PersistMode::SyncAll).map_err(|error| self.error(error));
            drop(open);
            persisted
        })
    }
}

impl Drop for FjallEngine {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::warn!(%error, dir = %self.dir.display(), "the store was not closed cleanly");
        }
    }
}

fn open(dir: &Path, tuning: Tuning) -> Result<Open, EngineError> {
    let opened = || {
        let db = fjall::Database::builder(dir)
            .cache_size(tuning.memory_bytes / 100 * CACHE_PERCENT)
            .max_journaling_size(JOURNAL_BYTES)
            .worker_threads(2)
            .open()?;
        let options = || fjall::KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
        let rows = db.keyspace(ROWS, options)?;
        let marks = db.keyspace(MARKS, options)?;
        let last = marks.get(journal::MARK)?.and_then(|stored| stored.as_ref().try_into().ok()).map(u64::from_be_bytes);
        db.persist(fjall::PersistMode::SyncAll)?;
        Ok(Open { db, rows, marks, next_mark: AtomicU64::new(last.unwrap_or(0).saturating_add(1)) })
    };
    opened().map_err(|error| engine_error(dir, error))
}

pub(super) fn is_present(dir: &Path) -> bool {
    fs::metadata(dir.join("version")).is_ok_and(|meta| meta.len() > 0) && dir.join("keyspaces").is_dir()
}

fn engine_error(dir: &Path, error: fjall::Error) -> EngineError {
    match error {
        fjall::Error::Locked => EngineError::Locked,
        fjall::Error::Io(source) if source.kind() != std::io::ErrorKind::UnexpectedEof => {
            EngineError::io("use", dir, source)
        }
        fjall::Error::Poisoned => EngineError::Failed { detail: "an earlier write failed".to_owned() },
        other => EngineError::Damaged { detail: format!("{other:?}") },
    }
}
