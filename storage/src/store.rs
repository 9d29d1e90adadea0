//! A store: opened once per process, read by many, written by one.
//!
//! Opening never starts afresh by accident. A directory with data and no manifest, a manifest without data, an engine
//! that lost its first or its last row: each is an error that says what to do.

mod open;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::codec;
use crate::engine::{Engine, EngineError, EngineKind, EngineStats, Group, Tuning};
use crate::lock::FileLock;
use crate::manifest::{Manifest, ManifestError, State};
use crate::node_meta::{CLOSED, MetaRow};
use crate::reader::Reader;
use crate::tables::NODE_META;
use crate::writer::{OnFailure, Writer, WriterThread};

pub use open::OpenError;
pub(crate) use open::{Opened, lock, meta_row, open_engine, open_existing, remove};

/// Held by the process that has the directory open.
pub(crate) const LOCK_FILE: &str = "lock";

/// How to open a store.
pub struct Options {
    /// The engine of a new store; an existing one must have been created with it.
    pub engine: EngineKind,
    /// Memory and the like.
    pub tuning: Tuning,
    /// Name and version of the software, for example `angel 0.1.0`. Recorded for whoever opens the store next.
    pub software: String,
    /// Called once, on the writer's thread, when the engine fails: stop the daemon.
    pub on_failure: OnFailure,
}

impl Options {
    /// Default tuning and nobody to tell about failures.
    #[must_use]
    pub fn new(engine: EngineKind, software: &str) -> Self {
        Self { engine, tuning: Tuning::default(), software: software.to_owned(), on_failure: Box::new(|_| {}) }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("engine", &self.engine)
            .field("software", &self.software)
            .finish_non_exhaustive()
    }
}

/// An open store.
///
/// Dropping it writes what waits and closes the files; [`Store::close`] does the same, reports errors, and notes that
/// the store was closed cleanly.
#[derive(Debug)]
pub struct Store {
    // Dropped first: the writer's thread uses the engine.
    thread: WriterThread,
    reader: Reader,
    engine: Arc<dyn Engine>,
    home: Option<Home>,
}

/// The directory of a store on disk.
#[derive(Debug)]
struct Home {
    dir: PathBuf,
    manifest: Manifest,
    /// Keeps other processes out.
    _lock: FileLock,
}

impl Store {
    /// Opens the store in `dir`, or creates it there when the directory is empty or absent.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub fn open(dir: &Path, options: Options) -> Result<Self, OpenError> {
        let mut opened = open_engine(dir, &options)?;
        opened.migrate(&options.software)?;
        opened.mark_open(&options.software)?;
        let Opened { engine, dir, manifest, lock } = opened;
        Self::start(engine, Some(Home { dir, manifest, _lock: lock }), options.on_failure)
    }

    /// Whether a store was ever begun in `dir`. Changes nothing.
    #[must_use]
    pub fn is_begun(dir: &Path) -> bool {
        Manifest::is_present(dir)
    }

    /// A store without a disk.
    ///
    /// # Errors
    ///
    /// The writer's thread cannot be started.
    pub fn in_memory() -> Result<Self, OpenError> {
        Self::on(Arc::new(crate::engine::MemoryEngine::new()), Box::new(|_| {}))
    }

    /// A store on an engine that needs no directory.
    ///
    /// # Errors
    ///
    /// The engine fails, or the writer's thread cannot be started.
    pub fn on(engine: Arc<dyn Engine>, on_failure: OnFailure) -> Result<Self, OpenError> {
        Self::start(engine, None, on_failure)
    }

    fn start(engine: Arc<dyn Engine>, home: Option<Home>, on_failure: OnFailure) -> Result<Self, OpenError> {
        let durable_sequence = Arc::new(AtomicU64::new(0));
        let reader = Reader::new(Arc::clone(&engine), Arc::clone(&durable_sequence));
        let sequence = open::sequence(engine.as_ref(), &reader)?;
        let thread = WriterThread::start(Arc::clone(&engine), sequence, durable_sequence, on_failure)?;
        Ok(Self { thread, reader, engine, home })
    }

    /// For reading. Clone it freely.
    #[must_use]
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// For writing. Clone it freely.
    #[must_use]
    pub fn writer(&self) -> &Writer {
        self.thread.writer()
    }

    /// Size on disk.
    ///
    /// # Errors
    ///
    /// The engine fails.
    pub fn engine_stats(&self) -> Result<EngineStats, EngineError> {
        self.engine.stats()
    }

    /// The engine's housekeeping; call it when there is little to do.
    ///
    /// # Errors
    ///
    /// The engine fails.
    pub fn maintain(&self) -> Result<(), EngineError> {
        self.engine.maintain()
    }

    /// Writes what waits, closes the files and notes that nothing is missing.
    ///
    /// # Errors
    ///
    /// The engine fails, now or earlier; the next opening recovers what was acknowledged.
    pub fn close(mut self) -> Result<(), CloseError> {
        self.thread.stop()?;
        let Some(home) = &mut self.home else { return Ok(self.engine.close()?) };
        let times = home.manifest.closed_times + 1;
        write_closed(self.engine.as_ref(), times)?;
        self.engine.close()?;
        home.manifest.closed_times = times;
        home.manifest.state = State::Closed;
        Ok(home.manifest.write(&home.dir)?)
    }
}

/// Stores the count of clean closes: the last row written before a close.
pub(crate) fn write_closed(engine: &dyn Engine, times: u64) -> Result<(), EngineError> {
    let stored =
        codec::encode(&MetaRow::Closed { times }).map_err(|error| EngineError::Failed { detail: error.to_string() })?;
    let mut group = Group::default();
    group.put(NODE_META.key(&CLOSED.to_owned()), stored);
    engine.apply(&[group])
}

/// Why a store was not closed cleanly.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CloseError {
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The manifest could not be written.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}
