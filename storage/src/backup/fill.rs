//! A new store that holds given rows.
//!
//! Until it is whole its manifest says so, and nobody opens it: neither as what it was to become nor as an empty one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::StoredRow;
use crate::codec;
use crate::engine::{self, Engine, EngineError, EngineKind, EngineSettings, Group, Tuning};
use crate::lock::FileLock;
use crate::manifest::{Manifest, ManifestError, State};
use crate::node_meta::{CLOSED, FORMAT, MetaRow, SEQUENCE};
use crate::store::{OpenError, lock, meta_row, remove, write_closed};
use crate::tables::NODE_META;

/// Bytes that one group writes at least, unless the rows end.
const GROUP_BYTES: usize = 4 * 1024 * 1024;

/// A store that is being filled. Dropped before it is whole, it stays one that nobody opens.
#[derive(Debug)]
pub struct Filling {
    dir: PathBuf,
    engine: Arc<dyn Engine>,
    manifest: Manifest,
    group: Group,
    _lock: FileLock,
}

impl Filling {
    /// Begins a store in `dir`, which must be empty or absent, or hold one that was begun so and never finished.
    ///
    /// # Errors
    ///
    /// See [`FillError`]. Nothing that was there is changed then.
    pub fn begin(dir: &Path, kind: EngineKind, software: &str, tuning: Tuning) -> Result<Self, FillError> {
        engine::create_dir_durably(dir)?;
        let lock = lock(dir)?;
        match Manifest::read(dir)? {
            Some(manifest) if manifest.state == State::Restoring => remove(dir, &manifest.data)?,
            None if Manifest::is_empty_dir(dir).map_err(|error| OpenError::io("list", dir, error))? => {}
            _ => return Err(FillError::NotEmpty { dir: dir.to_owned() }),
        }
        let mut manifest = Manifest::creating(kind, EngineSettings::default(), software);
        manifest.state = State::Restoring;
        manifest.write(dir)?;
        let engine = engine::open(kind, &dir.join(&manifest.data), manifest.settings, tuning)?;
        Ok(Self { dir: dir.to_owned(), engine, manifest, group: Group::default(), _lock: lock })
    }

    /// Adds rows.
    ///
    /// # Errors
    ///
    /// The engine fails.
    pub fn put(&mut self, rows: impl IntoIterator<Item = StoredRow>) -> Result<(), FillError> {
        for (key, value) in rows {
            self.group.put(key, value);
            if self.group.bytes() >= GROUP_BYTES {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), FillError> {
        if self.group.is_empty() {
            return Ok(());
        }
        Ok(self.engine.apply(&[std::mem::take(&mut self.group)])?)
    }

    /// Makes it a store like any other. Its event log goes on behind `sequence_floor`.
    ///
    /// # Errors
    ///
    /// The rows are not those of a whole store, or the engine fails.
    pub fn finish(mut self, sequence_floor: u64) -> Result<(), FillError> {
        self.flush()?;
        if !matches!(meta_row(self.engine.as_ref(), FORMAT)?, Some(MetaRow::Format(_))) {
            return Err(FillError::NoStore);
        }
        let next = match meta_row(self.engine.as_ref(), SEQUENCE)? {
            Some(MetaRow::Sequence { next }) => next,
            _ => 1,
        };
        let next = next.max(sequence_floor.saturating_add(1)).min(crate::limits::SEQUENCE_MAX);
        let row = codec::encode(&MetaRow::Sequence { next }).map_err(|error| failed(&error))?;
        let mut group = Group::default();
        group.put(NODE_META.key(&SEQUENCE.to_owned()), row);
        self.engine.apply(&[group])?;
        let times = match meta_row(self.engine.as_ref(), CLOSED)? {
            Some(MetaRow::Closed { times }) => times + 1,
            _ => 1,
        };
        write_closed(self.engine.as_ref(), times)?;
        self.engine.close()?;
        self.manifest.closed_times = times;
        self.manifest.state = State::Closed;
        Ok(self.manifest.write(&self.dir)?)
    }
}

fn failed(error: &impl std::fmt::Display) -> EngineError {
    EngineError::Failed { detail: error.to_string() }
}

/// Why a store cannot be filled.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FillError {
    /// There is something already.
    #[error("{dir} is not empty: name a new directory", dir = dir.display())]
    NotEmpty {
        /// The directory.
        dir: PathBuf,
    },
    /// The rows are not those of a store.
    #[error("what was read is no whole store: the row that says its format is missing")]
    NoStore,
    /// The directory.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
}
