//! Opening: find out what the directory holds, finish what was interrupted, refuse what is not whole.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{LOCK_FILE, Options};
use crate::engine::{self, Engine, EngineError, EngineKind, EngineSettings, Tuning};
use crate::events;
use crate::lock::FileLock;
use crate::manifest::{Manifest, ManifestError, State};
use crate::migrate::{self, MigrateError};
use crate::node_meta::{CLOSED, FORMAT, FormatRow, MetaRow, SEQUENCE};
use crate::reader::{ReadError, Reader};
use crate::tables::NODE_META;
use crate::writer::Sequence;

/// A directory whose engine is open and whole.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) dir: PathBuf,
    pub(crate) manifest: Manifest,
    pub(crate) lock: FileLock,
}

/// Opens or creates; for the daemon.
pub(crate) fn open_engine(dir: &Path, options: &Options) -> Result<Opened, OpenError> {
    engine::create_dir_durably(dir)?;
    let lock = lock(dir)?;
    let manifest = match Manifest::read(dir)? {
        Some(manifest) if manifest.state == State::Restoring => {
            return Err(OpenError::HalfRestored { dir: dir.to_owned() });
        }
        Some(manifest) if manifest.state != State::Creating => manifest,
        // Nothing was ever written to a store that was never finished.
        Some(manifest) => {
            remove(dir, &manifest.data)?;
            return create(dir, lock, options);
        }
        None if Manifest::is_empty_dir(dir).map_err(|error| OpenError::io("list", dir, error))? => {
            return create(dir, lock, options);
        }
        None => return Err(OpenError::ManifestMissing { dir: dir.to_owned() }),
    };
    if manifest.engine != options.engine {
        let (recorded, requested) = (manifest.engine, options.engine);
        return Err(OpenError::OtherEngine { dir: dir.to_owned(), recorded, requested });
    }
    open_present(dir, lock, manifest, options.tuning)
}

/// Opens what is there, whatever the engine; for compaction, conversion and checks.
pub(crate) fn open_existing(dir: &Path, tuning: Tuning) -> Result<Opened, OpenError> {
    if !dir.is_dir() {
        return Err(OpenError::NotFound { dir: dir.to_owned() });
    }
    let lock = lock(dir)?;
    match Manifest::read(dir)? {
        Some(manifest) if manifest.state == State::Restoring => Err(OpenError::HalfRestored { dir: dir.to_owned() }),
        Some(manifest) if manifest.state != State::Creating => open_present(dir, lock, manifest, tuning),
        Some(_) => Err(OpenError::NotFound { dir: dir.to_owned() }),
        None if Manifest::is_empty_dir(dir).map_err(|error| OpenError::io("list", dir, error))? => {
            Err(OpenError::NotFound { dir: dir.to_owned() })
        }
        None => Err(OpenError::ManifestMissing { dir: dir.to_owned() }),
    }
}

fn open_present(dir: &Path, lock: FileLock, mut manifest: Manifest, tuning: Tuning) -> Result<Opened, OpenError> {
    remove_leftovers(dir, &mut manifest)?;
    let data = dir.join(&manifest.data);
    if !engine::is_present(manifest.engine, &data) {
        return Err(OpenError::DataMissing { data });
    }
    let damaged = |source| OpenError::Damaged { data: data.clone(), source };
    let engine = engine::open(manifest.engine, &data, manifest.settings, tuning).map_err(|source| match source {
        EngineError::Locked => OpenError::InUse { dir: dir.to_owned() },
        source => damaged(source),
    })?;
    check_whole(engine.as_ref(), &manifest, &data)?;
    Ok(Opened { engine, dir: dir.to_owned(), manifest, lock })
}

impl Opened {
    /// Brings the rows to the current format.
    pub(crate) fn migrate(&self, software: &str) -> Result<(), OpenError> {
        let Some(MetaRow::Format(row)) = meta_row(self.engine.as_ref(), FORMAT)? else {
            return Err(OpenError::Incomplete { data: self.data(), detail: "the row format is missing" });
        };
        migrate::run(self.engine.as_ref(), row, migrate::CURRENT, migrate::MIGRATIONS, software)?;
        Ok(())
    }

    /// Notes that from now on the store changes.
    pub(crate) fn mark_open(&mut self, software: &str) -> Result<(), OpenError> {
        if let Some(MetaRow::Closed { times }) = meta_row(self.engine.as_ref(), CLOSED)? {
            self.manifest.closed_times = self.manifest.closed_times.max(times);
        }
        self.manifest.state = State::Open;
        software.clone_into(&mut self.manifest.software);
        Ok(self.manifest.write(&self.dir)?)
    }

    fn data(&self) -> PathBuf {
        self.dir.join(&self.manifest.data)
    }
}

/// Creates an empty store. Its manifest says so until everything that makes it whole is on disk.
fn create(dir: &Path, lock: FileLock, options: &Options) -> Result<Opened, OpenError> {
    let mut manifest = Manifest::creating(options.engine, EngineSettings::default(), &options.software);
    manifest.write(dir)?;
    let data = dir.join(&manifest.data);
    let engine = engine::open(manifest.engine, &data, manifest.settings, options.tuning)?;
    let row = FormatRow { format: migrate::CURRENT, software: options.software.clone(), migrating: None };
    engine.apply(&[migrate::group_with(&row)?])?;
    manifest.state = State::Open;
    manifest.write(dir)?;
    Ok(Opened { engine, dir: dir.to_owned(), manifest, lock })
}

/// Compares the rows that are written first and last with what the manifest says about them.
fn check_whole(engine: &dyn Engine, manifest: &Manifest, data: &Path) -> Result<(), OpenError> {
    let incomplete = |detail| OpenError::Incomplete { data: data.to_owned(), detail };
    // Written at creation.
    if !matches!(meta_row(engine, FORMAT)?, Some(MetaRow::Format(_))) {
        return Err(incomplete("the row format is missing"));
    }
    // Written last before a clean close.
    let closed_times = match meta_row(engine, CLOSED)? {
        Some(MetaRow::Closed { times }) => times,
        _ => 0,
    };
    let whole = match manifest.state {
        State::Closed => closed_times == manifest.closed_times,
        // It may have been interrupted between its last row and the manifest.
        State::Open | State::Creating | State::Restoring => closed_times >= manifest.closed_times,
    };
    if whole { Ok(()) } else { Err(incomplete("the rows written last are missing")) }
}

/// A row of `node_meta`.
pub(crate) fn meta_row(engine: &dyn Engine, name: &str) -> Result<Option<MetaRow>, OpenError> {
    let key = name.to_owned();
    let Some(stored) = engine.get(&NODE_META.key(&key))? else { return Ok(None) };
    let row = NODE_META.decode_value(&stored).map_err(|source| ReadError::row(&NODE_META, &key, source))?;
    Ok(Some(row))
}

/// Where the event log goes on.
pub(super) fn sequence(engine: &dyn Engine, reader: &Reader) -> Result<Sequence, OpenError> {
    let reserved = match meta_row(engine, SEQUENCE)? {
        Some(MetaRow::Sequence { next }) => next,
        _ => 1,
    };
    let newest = events::newest(reader)?.unwrap_or(0);
    Ok(Sequence::starting_at(reserved.max(newest + 1)))
}

/// Removes what an interrupted compaction or conversion left, as far as the manifest knows of it.
fn remove_leftovers(dir: &Path, manifest: &mut Manifest) -> Result<(), OpenError> {
    let leftovers = [manifest.building.take(), manifest.retired.take()];
    let mut changed = false;
    for name in leftovers.into_iter().flatten().filter(|name| *name != manifest.data) {
        tracing::info!(directory = name, "removing what an interrupted compaction left");
        remove(dir, &name)?;
        changed = true;
    }
    if changed { Ok(manifest.write(dir)?) } else { Ok(()) }
}

/// Removes a data directory by the name that the manifest gave it.
pub(crate) fn remove(dir: &Path, name: &str) -> Result<(), OpenError> {
    let path = dir.join(name);
    match fs::remove_dir_all(&path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(OpenError::io("remove", &path, error)),
    }
}

pub(crate) fn lock(dir: &Path) -> Result<FileLock, OpenError> {
    let path = dir.join(LOCK_FILE);
    let open = File::options().create(true).truncate(false).write(true).open(&path);
    let file = open.map_err(|error| OpenError::io("open", &path, error))?;
    match FileLock::take(file) {
        Ok(lock) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { dir: dir.to_owned() }),
        Err(TryLockError::Error(error)) => Err(OpenError::io("lock", &path, error)),
    }
}

/// Why a store cannot be opened. Nothing was changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OpenError {
    /// The file system said no.
    #[error("cannot {what} {path}: {source}", path = path.display())]
    Io {
        /// The verb.
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The reason given.
        source: Arc<io::Error>,
    },
    /// There is no store.
    #[error("{dir} holds no store", dir = dir.display())]
    NotFound {
        /// The directory.
        dir: PathBuf,
    },
    /// It was being restored, and that was cut short.
    #[error(
        "the store {dir} was being restored from a backup and is not whole: run the same `angel restore` again",
        dir = dir.display()
    )]
    HalfRestored {
        /// The directory.
        dir: PathBuf,
    },
    /// Another process has it open.
    #[error("the store {dir} is in use by another process: stop it first", dir = dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// It was created with another engine.
    #[error(
        "the store {dir} was created with {recorded}, but storage.engine is \"{requested}\": set storage.engine = \
         \"{recorded}\", or run `angel storage convert --to {requested}`",
        dir = dir.display()
    )]
    OtherEngine {
        /// The directory.
        dir: PathBuf,
        /// The engine it was created with.
        recorded: EngineKind,
        /// The engine asked for.
        requested: EngineKind,
    },
    /// The manifest is unreadable or newer.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// There is data and no manifest.
    #[error(
        "{dir} holds files but no manifest, so it is unknown what they are: restore the store from a backup, or move \
         the directory away to begin with an empty one",
        dir = dir.display()
    )]
    ManifestMissing {
        /// The directory.
        dir: PathBuf,
    },
    /// There is a manifest and no data.
    #[error(
        "the files of the engine in {data} are missing or empty: restore the store from a backup or from a peer; \
         nothing was started afresh",
        data = data.display()
    )]
    DataMissing {
        /// The engine's directory.
        data: PathBuf,
    },
    /// The engine cannot open its files.
    #[error(
        "the store {data} cannot be opened: {source}. Ways out: restore it from a backup or from a peer; `angel storage \
         verify` says what can still be read, and `angel storage compact` rebuilds a store that can be read to its end",
        data = data.display()
    )]
    Damaged {
        /// The engine's directory.
        data: PathBuf,
        /// What the engine says.
        source: EngineError,
    },
    /// The engine opens its files, but rows that were written are not there.
    #[error(
        "the store {data} has lost rows ({detail}): restore it from a backup or from a peer; nothing was started \
         afresh",
        data = data.display()
    )]
    Incomplete {
        /// The engine's directory.
        data: PathBuf,
        /// Which.
        detail: &'static str,
    },
    /// The rows are of another format.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// A row that opening needs cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The engine failed after it had opened its files.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl OpenError {
    pub(crate) fn io(what: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { what, path: path.to_owned(), source: Arc::new(source) }
    }
}
