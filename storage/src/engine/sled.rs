//! sled 0.34.7, with the care it needs. The only file that names it.
//!
//! - Its `flush` ends in `sync_file_range`, which is no barrier: the disk's cache and the file's size are not covered.
//!   `apply` therefore ends with `sync_data` on a handle of our own on the file `db`.
//! - Its `flush_async` hangs with several callers at once; only the blocking `flush` is used, by one writer.
//! - Pages above a quarter of a segment go to files below `blobs/` that it never syncs. Segments of 2 MiB and the row
//!   limits of [`crate::limits`] keep every page below that.
//! - It never syncs the directories that it creates its files in; `open` does.
//! - It passes over a damaged part of its log in silence when it recovers; after a clean `close` it has nothing to recover
//!   and reports damage when it reads. After a kill, bits that flipped on the disk may go unnoticed.
//! - It panics where others return an error, and a panic in its background thread makes dropping it wait for ever:
//!   every call is guarded and `close` has a deadline.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, mpsc};
use std::time::Duration;

use super::{
    Engine, EngineError, EngineSettings, EngineStats, Group, KeyRange, Page, PageLimit, Tuning, create_dir_durably,
    disk_usage, guarded, sync_dirs, when_unlocked,
};

/// sled reaches 2.6 times the cache it is given.
const CACHE_PERCENT: u64 = 40;

/// Groups are applied together, as one batch of sled, until they have this many bytes: whole or absent together is as good
/// as one by one, and costs sled half as much.
const MERGED_BYTES: usize = 1024 * 1024;

/// In how many passes rows are filled in: sled splits a page in two halves.
const PASSES: usize = 2;

/// How often sled writes out what nobody flushed, in milliseconds. Commits do not wait for it.
const FLUSH_EVERY_MS: u64 = 100;

/// How long closing may take: a healthy database needs milliseconds.
const CLOSE_DEADLINE: Duration = Duration::from_secs(30);

/// A sled database in a directory of its own.
#[derive(Debug)]
pub(super) struct SledEngine {
    open: RwLock<Option<Open>>,
    dir: PathBuf,
    settings: EngineSettings,
    tuning: Tuning,
}

#[derive(Debug)]
struct Open {
    db: sled::Db,
    /// Our own handle of the log file, for the barrier.
    log: File,
}

impl SledEngine {
    pub(super) fn open(dir: &Path, settings: EngineSettings, tuning: Tuning) -> Result<Self, EngineError> {
        create_dir_durably(dir)?;
        discard_unfinished_snapshots(dir)?;
        let db = guarded("opening the database", || open_unlocked(&config(dir, settings, tuning), dir))?;
        let path = dir.join("db");
        let log = File::open(&path).map_err(|error| EngineError::io("open", &path, error))?;
        let open = RwLock::new(Some(Open { db, log }));
        let engine = Self { open, dir: dir.to_owned(), settings, tuning };
        engine.sync_files()?;
        Ok(engine)
    }

    /// Makes the files and directories that opening created survive a power cut.
    fn sync_files(&self) -> Result<(), EngineError> {
        let conf = self.dir.join("conf");
        File::open(&conf).and_then(|file| file.sync_all()).map_err(|error| EngineError::io("sync", &conf, error))?;
        self.with("syncing", |open| open.log.sync_all().map_err(|error| EngineError::io("sync", &self.dir, error)))?;
        sync_dirs(&self.dir)
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

    fn error(&self, error: sled::Error) -> EngineError {
        engine_error("use", &self.dir, error)
    }

    /// Writes the rows of a group one by one, which no reader has to wait for, in the order that costs least.
    ///
    /// A batch of sled goes through its rows in an order of its own, which touches every page of their range again and
    /// again. Rows in order find the page of the row before. Where they follow one another, each page that fills up is
    /// split and left behind half full; so every other row comes in a second pass, which fills the pages that the first
    /// one left behind, and splits none. For the rows of a repository that is a quarter less work than a batch.
    fn insert(&self, open: &Open, group: &Group) -> Result<(), EngineError> {
        for pass in 0..PASSES {
            for (key, value) in group.iter().skip(pass).step_by(PASSES) {
                let written = match value {
                    Some(value) => open.db.insert(key, value),
                    None => open.db.remove(key),
                };
                written.map_err(|error| self.error(error))?;
            }
        }
        Ok(())
    }
}

impl Engine for SledEngine {
    fn apply(&self, groups: &[Group]) -> Result<(), EngineError> {
        self.with("writing", |open| {
            let mut batch = sled::Batch::default();
            let mut bytes = 0;
            for group in groups {
                if group.is_filling() {
                    // What lies behind a group is never there without it.
                    if bytes > 0 {
                        bytes = 0;
                        open.db.apply_batch(std::mem::take(&mut batch)).map_err(|error| self.error(error))?;
                    }
                    self.insert(open, group)?;
                    continue;
                }
                for (key, value) in group.iter() {
                    match value {
                        Some(value) => batch.insert(key, value),
                        None => batch.remove(key),
                    }
                }
                bytes += group.bytes();
                if bytes >= MERGED_BYTES {
                    bytes = 0;
                    open.db.apply_batch(std::mem::take(&mut batch)).map_err(|error| self.error(error))?;
                }
            }
            open.db.apply_batch(batch).map_err(|error| self.error(error))?;
            open.db.flush().map_err(|error| self.error(error))?;
            if self.tuning.barrier {
                open.log.sync_data().map_err(|error| EngineError::io("sync", &self.dir.join("db"), error))?;
            }
            Ok(())
        })
    }

    fn fill(&self, groups: &[Group]) -> Result<(), EngineError> {
        self.with("filling in", |open| groups.iter().try_for_each(|group| self.insert(open, group)))
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        self.with("reading", |open| {
            let value = open.db.get(key).map_err(|error| self.error(error))?;
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
            let rows = open.db.range::<&[u8], _>(range.bounds());
            let read = |row: sled::Result<_>| row.map_err(|error| self.error(error));
            if reverse { Page::collect(rows.rev().map(read), limit) } else { Page::collect(rows.map(read), limit) }
        })
    }

    fn maintain(&self) -> Result<(), EngineError> {
        // sled rewrites sparse segments in its own background thread; there is nothing to ask of it.
        self.with("maintenance", |_| Ok(()))
    }

    fn stats(&self) -> Result<EngineStats, EngineError> {
        self.with("counting", |_| Ok(disk_usage(&self.dir)))
    }

    fn close(&self) -> Result<(), EngineError> {
        let Some(Open { db, log }) = self.open.write().unwrap_or_else(PoisonError::into_inner).take() else {
            return Ok(());
        };
        let (done, outcome) = mpsc::channel();
        let (dir, config) = (self.dir.clone(), config(&self.dir, self.settings, self.tuning));
        let close = move || {
            let outcome = guarded("closing", || {
                db.flush().map_err(|error| engine_error("close", &dir, error))?;
                drop(db);
                checkpoint(&config, &dir)?;
                log.sync_all().map_err(|error| EngineError::io("sync", &dir, error))?;
                sync_dirs(&dir)
            });
            let _ = done.send(outcome);
        };
        std::thread::Builder::new()
            .name("store-close".to_owned())
            .spawn(close)
            .map_err(|error| EngineError::io("close", &self.dir, error))?;
        outcome.recv_timeout(CLOSE_DEADLINE).unwrap_or_else(|_| {
            Err(EngineError::Failed { detail: format!("closing took more than {} s", CLOSE_DEADLINE.as_secs()) })
        })
    }
}

impl Drop for SledEngine {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::warn!(%error, dir = %self.dir.display(), "the store was not closed cleanly");
        }
    }
}

fn config(dir: &Path, settings: EngineSettings, tuning: Tuning) -> sled::Config {
    sled::Config::new()
        .path(dir)
        .segment_size(usize::try_from(settings.sled_segment_bytes).unwrap_or(usize::MAX))
        .cache_capacity(tuning.memory_bytes / 100 * CACHE_PERCENT)
        .flush_every_ms(Some(FLUSH_EVERY_MS))
        .mode(sled::Mode::LowSpace)
}

/// Writes a snapshot of the page table, which sled does only when it opens.
///
/// Without it the next opening would read the log again, and sled passes over a damaged part of its log in silence. With
/// it the log is not needed, and a damaged page is an error when it is read.
fn checkpoint(config: &sled::Config, dir: &Path) -> Result<(), EngineError> {
    open_unlocked(config, dir).map(drop)
}

/// Removes snapshots that a kill left half written. sled gives a snapshot its name only when it is whole, but takes such
/// a file for the newest one all the same and finds it damaged. The snapshot before it is still there.
fn discard_unfinished_snapshots(dir: &Path) -> Result<(), EngineError> {
    for entry in fs::read_dir(dir).map_err(|error| EngineError::io("read", dir, error))? {
        let path = entry.map_err(|error| EngineError::io("read", dir, error))?.path();
        let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(&path).map_err(|error| EngineError::io("remove", &path, error))?;
        }
    }
    Ok(())
}

fn open_unlocked(config: &sled::Config, dir: &Path) -> Result<sled::Db, EngineError> {
    when_unlocked(|| config.open().map_err(|error| engine_error("open", dir, error)))
}

pub(super) fn is_present(dir: &Path) -> bool {
    ["conf", "db"].iter().all(|name| fs::metadata(dir.join(name)).is_ok_and(|meta| meta.len() > 0))
}

fn engine_error(what: &'static str, dir: &Path, error: sled::Error) -> EngineError {
    match error {
        sled::Error::Io(source) if source.to_string().starts_with("could not acquire lock") => EngineError::Locked,
        sled::Error::Io(source) if source.kind() == io::ErrorKind::UnexpectedEof => {
            EngineError::Damaged { detail: format!("a file ends too early ({source})") }
        }
        sled::Error::Io(source) => EngineError::io(what, dir, source),
        sled::Error::Corruption { at, .. } => EngineError::Damaged { detail: format!("corrupted data at {at:?}") },
        sled::Error::ReportableBug(detail) => EngineError::Damaged { detail },
        sled::Error::Unsupported(detail) => EngineError::Failed { detail },
        other => EngineError::Failed { detail: other.to_string() },
    }
}
