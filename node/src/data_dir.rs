//! The data directory: where things lie, which version wrote them, and the lock that keeps a second daemon out.
//!
//! ```text
//! DATA_DIR/
//!   VERSION        the layout's version; a newer one is refused
//!   node-id        the node id made up at the first start
//!   genesis        the genesis of the ledger: given at the first start, or made then
//!   consensus      what this node signed while deciding; never restored from a backup
//!   secrets/       0700: keys and the admin password, each 0600
//!   run/           lock, and node.json while a daemon runs
//!   storage/       the tables
//!   imports/       room for repositories that are being imported; empty otherwise
//!   blobs/         files of the accounts, by CID
//!   restoring      that a backup is being restored; nothing else may use the directory then
//! ```

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use angel_protocol::ids::NodeName;
use angel_storage::lock::FileLock;

/// The layout this code writes.
pub const LAYOUT_VERSION: u32 = 1;

/// Longest `VERSION` file that is read, in bytes.
const VERSION_BYTES_MAX: u64 = 64;

/// Largest genesis file that is taken, in bytes: a few hundred thousand entries.
const GENESIS_BYTES_MAX: u64 = 16 << 20;

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// It cannot be made, read or written.
    #[error("cannot use {}: {source}; {}", path.display(), mend(source))]
    Access {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is none.
    #[error("{} holds no data of a node; `angel run` makes it, --data-dir names another", path.display())]
    Missing {
        /// The directory.
        path: PathBuf,
    },
    /// Another daemon uses it.
    #[error("{} is in use by {}; stop that one first, or name another directory with --data-dir", path.display(), holder(*pid))]
    Locked {
        /// The data directory.
        path: PathBuf,
        /// The process that holds the lock, if it said so.
        pid: Option<u32>,
    },
    /// A newer release wrote it.
    #[error(
        "{} was written by a newer release (layout {found}, this one knows {LAYOUT_VERSION}); install that release, or \
         restore a backup from before the upgrade",
        path.display()
    )]
    Newer {
        /// The data directory.
        path: PathBuf,
        /// The version found.
        found: u32,
    },
    /// Its version file makes no sense.
    #[error("{} is damaged: {what}; restore it from a backup", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Its store is gone, and what belongs to it is there.
    #[error(
        "{} holds no store, and {} still holds files of accounts: if the store is on a disk of its own, mount that; else \
         restore a backup into a new directory (`angel restore`), or move both away to begin without accounts",
        storage.display(), blobs.display()
    )]
    StoreMissing {
        /// Where the store was.
        storage: PathBuf,
        /// Where the files are.
        blobs: PathBuf,
    },
    /// A backup was being restored into it.
    #[error(
        "{} was being restored from a backup ({what}) and is not whole: run the same `angel restore` again; it begins anew",
        path.display()
    )]
    HalfRestored {
        /// The data directory.
        path: PathBuf,
        /// From where.
        what: String,
    },
    /// A backup is to be restored over something.
    #[error("{} is not empty: a backup is restored into a new directory, never over another; name one with --data-dir", path.display())]
    Occupied {
        /// The directory.
        path: PathBuf,
    },
    /// It holds other things.
    #[error("{} is not empty and no data directory of angel; name an empty or a new one", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
    },
    /// The genesis file is no usable file.
    #[error("cannot use the genesis file {}: {why}", path.display())]
    Genesis {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// Another genesis was taken before.
    #[error(
        "this node already belongs to a network with another genesis, kept in {}; a node cannot change its genesis, so \
         start a new one in another data directory",
        kept.display()
    )]
    OtherGenesis {
        /// The genesis taken before.
        kept: PathBuf,
    },
}

/// What to do where something cannot be used.
fn mend(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free some space there",
        _ => "make it writable for this user, or name another with --data-dir",
    }
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

/// Where things lie. Making one touches nothing.
#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The layout under `root`.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The directory itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Keys and passwords.
    #[must_use]
    pub fn secrets(&self) -> PathBuf {
        self.root.join("secrets")
    }

    /// The tables.
    #[must_use]
    pub fn storage(&self) -> PathBuf {
        self.root.join("storage")
    }

    /// Room for repositories that are being imported.
    #[must_use]
    pub fn imports(&self) -> PathBuf {
        self.root.join("imports")
    }

    /// Files of others' tenants that have not all come.
    #[must_use]
    pub fn partial_copies(&self) -> PathBuf {
        self.root.join("copies")
    }

    /// Archives for vaults, and those that this node keeps as one.
    #[must_use]
    pub fn vaults(&self) -> PathBuf {
        self.root.join("vaults")
    }

    /// Files of the accounts.
    #[must_use]
    pub fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    /// Facts about the running daemon.
    #[must_use]
    pub fn node_json(&self) -> PathBuf {
        self.root.join("run/node.json")
    }

    /// The log of the consensus engine: what this node signed and may not contradict.
    #[must_use]
    pub fn consensus(&self) -> PathBuf {
        self.root.join("consensus")
    }

    /// The genesis taken at the first start.
    #[must_use]
    pub fn genesis(&self) -> PathBuf {
        self.root.join("genesis")
    }

    /// The node id that was made up at the first start.
    #[must_use]
    pub fn node_id(&self) -> PathBuf {
        self.root.join("node-id")
    }

    /// Whether this release can read what lies there.
    ///
    /// # Errors
    /// [`DataDirError::Newer`], [`DataDirError::Corrupt`], [`DataDirError::Access`].
    pub fn check_version(&self) -> Result<(), DataDirError> {
        let path = self.version();
        let mut text = String::new();
        let read = File::open(&path).and_then(|file| file.take(VERSION_BYTES_MAX).read_to_string(&mut text));
        let corrupt = |what: String| DataDirError::Corrupt { path: path.clone(), what };
        match read {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(corrupt("it is no text".to_owned()));
            }
            Err(source) => return Err(DataDirError::Access { path, source }),
        }
        let version = text.trim_end().strip_prefix("angel data ").and_then(|version| version.parse::<u32>().ok());
        match version {
            Some(LAYOUT_VERSION) => Ok(()),
            Some(found) if found > LAYOUT_VERSION => Err(DataDirError::Newer { path: self.root.clone(), found }),
            _ => Err(corrupt(format!("it reads {text:?} instead of \"angel data {LAYOUT_VERSION}\""))),
        }
    }

    fn restoring_file(&self) -> PathBuf {
        self.root.join("restoring")
    }

    /// From where a backup is being restored, or was when that was cut short.
    ///
    /// # Errors
    /// [`DataDirError::Access`].
    pub fn restoring(&self) -> Result<Option<String>, DataDirError> {
        let path = self.restoring_file();
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).trim_end().to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(DataDirError::Access { path, source }),
        }
    }

    fn version(&self) -> PathBuf {
        self.root.join("VERSION")
    }

    fn lock(&self) -> PathBuf {
        self.root.join("run/lock")
    }

    /// Whether a daemon holds the directory now, and its process id if it said so. A directory that cannot be looked
    /// at is taken as free.
    #[must_use]
    pub fn holder(&self) -> Option<Option<u32>> {
        let file = File::open(self.lock()).ok()?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Some(read_pid(&file)),
            Ok(()) => {
                // For a child that begins at this moment shares the file.
                drop(file.unlock());
                None
            }
            Err(TryLockError::Error(_)) => None,
        }
    }
}

/// A data directory that is ours until this is dropped.
#[derive(Debug)]
pub struct DataDir {
    layout: Layout,
    _lock: FileLock,
}

impl DataDir {
    /// Makes what is missing, takes the lock, checks the version.
    ///
    /// # Errors
    /// [`DataDirError`], by what stands in the way. Nothing that was there is changed then.
    pub fn open(root: &Path) -> Result<Self, DataDirError> {
        let layout = Layout::new(root);
        if let Some(what) = layout.restoring()? {
            return Err(DataDirError::HalfRestored { path: root.to_owned(), what });
        }
        let is_new = !layout.version().exists();
        if is_new && holds_other_things(&layout)? {
            return Err(DataDirError::Foreign { path: root.to_owned() });
        }
        make_private_dir(root)?;
        make_private_dir(&root.join("run"))?;
        let lock = take_lock(&layout)?;
        if is_new {
            write_atomically(&layout.version(), format!("angel data {LAYOUT_VERSION}\n").as_bytes(), 0o644)?;
        }
        layout.check_version()?;
        make_private_dir(&layout.secrets())?;
        Ok(Self { layout, _lock: lock })
    }

    /// Whether a backup may be restored into `root`: it is absent or empty, or a restore was cut short there. Changes
    /// nothing.
    ///
    /// # Errors
    /// [`DataDirError::Occupied`].
    pub fn check_restorable(root: &Path) -> Result<(), DataDirError> {
        let layout = Layout::new(root);
        if layout.restoring()?.is_some() {
            return Ok(());
        }
        let access = |source| DataDirError::Access { path: root.to_owned(), source };
        let entries = match fs::read_dir(root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(access)?,
        };
        for entry in entries {
            // A file system's own.
            if entry.map_err(access)?.file_name() != "lost+found" {
                return Err(DataDirError::Occupied { path: root.to_owned() });
            }
        }
        Ok(())
    }

    /// Makes a directory that a backup is restored into, and keeps everybody else out. What a restore that was cut short
    /// left there goes. `what` says from where, for whoever meets the directory half done.
    ///
    /// # Errors
    /// [`DataDirError`], by what stands in the way. Nothing that was there is changed then.
    pub fn begin_restore(root: &Path, what: &str) -> Result<(Layout, FileLock), DataDirError> {
        Self::check_restorable(root)?;
        let layout = Layout::new(root);
        make_private_dir(root)?;
        write_atomically(&layout.restoring_file(), format!("{what}\n").as_bytes(), 0o600)?;
        make_private_dir(&root.join("run"))?;
        let lock = take_lock(&layout)?;
        for dir in [layout.secrets(), layout.storage(), layout.blobs(), layout.imports(), layout.consensus()] {
            match fs::remove_dir_all(&dir) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(DataDirError::Access { path: dir, source });
                }
                _ => {}
            }
        }
        make_private_dir(&layout.secrets())?;
        Ok((layout, lock))
    }

    /// What was restored is whole and durable: the directory is one like any other.
    ///
    /// # Errors
    /// [`DataDirError::Access`].
    pub fn end_restore(layout: &Layout) -> Result<(), DataDirError> {
        write_atomically(&layout.version(), format!("angel data {LAYOUT_VERSION}\n").as_bytes(), 0o644)?;
        let marker = layout.restoring_file();
        let removed = fs::remove_file(&marker).and_then(|()| sync_dir(layout.root()));
        removed.map_err(|source| DataDirError::Access { path: marker, source })
    }

    /// The same, for what makes no sense on an empty directory.
    ///
    /// # Errors
    /// [`DataDirError::Missing`] when no node was ever started there, else as [`Self::open`].
    pub fn open_existing(root: &Path) -> Result<Self, DataDirError> {
        if Layout::new(root).version().exists() || Layout::new(root).restoring()?.is_some() {
            Self::open(root)
        } else {
            Err(DataDirError::Missing { path: root.to_owned() })
        }
    }

    /// Where things lie.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The node id that was made up at the first start, `suggested` being it when this is that start. A node keeps it
    /// when its key is rotated: peers know it by that name.
    ///
    /// # Errors
    /// [`DataDirError::Access`], and [`DataDirError::Corrupt`] when the file holds no node id.
    pub fn node_id(&self, suggested: impl FnOnce() -> NodeName) -> Result<NodeName, DataDirError> {
        let path = self.layout.node_id();
        match fs::read_to_string(&path) {
            Ok(text) => text.trim_end().parse().map_err(|_| DataDirError::Corrupt {
                path,
                what: "it holds no node id; write one into it, or set node.node_id and remove it".to_owned(),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let name = suggested();
                write_atomically(&path, format!("{name}\n").as_bytes(), 0o644)?;
                Ok(name)
            }
            Err(source) => Err(DataDirError::Access { path, source }),
        }
    }

    /// Keeps a copy of the genesis file, or checks that it is the one taken before.
    ///
    /// # Errors
    /// [`DataDirError::Genesis`] and [`DataDirError::OtherGenesis`].
    pub fn take_genesis(&self, path: &Path) -> Result<(), DataDirError> {
        let unusable = |why: String| DataDirError::Genesis { path: path.to_owned(), why };
        let file = File::open(path).map_err(|error| unusable(error.to_string()))?;
        let metadata = file.metadata().map_err(|error| unusable(error.to_string()))?;
        if !metadata.is_file() {
            return Err(unusable("it is no regular file".to_owned()));
        }
        let mut bytes = vec![];
        file.take(GENESIS_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| unusable(error.to_string()))?;
        if bytes.is_empty() || bytes.len() as u64 > GENESIS_BYTES_MAX {
            return Err(unusable(format!("it has to hold 1 to {GENESIS_BYTES_MAX} bytes")));
        }
        let kept = self.layout.genesis();
        match fs::read(&kept) {
            Ok(before) if before == bytes => Ok(()),
            Ok(_) => Err(DataDirError::OtherGenesis { kept }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => write_atomically(&kept, &bytes, 0o644),
            Err(source) => Err(DataDirError::Access { path: kept, source }),
        }
    }
}

fn holds_other_things(layout: &Layout) -> Result<bool, DataDirError> {
    let entries = match fs::read_dir(layout.root()) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(source) => return Err(DataDirError::Access { path: layout.root().to_owned(), source }),
    };
    // `run` and `secrets` may be there already: made by a start that was cut short, or by an operator who brings a key;
    // `lost+found` is a file system's own.
    let ours = ["run", "secrets", "lost+found"];
    Ok(entries.flatten().any(|entry| !ours.iter().any(|name| entry.file_name() == *name)))
}

fn take_lock(layout: &Layout) -> Result<FileLock, DataDirError> {
    let path = layout.lock();
    let access = |source| DataDirError::Access { path: path.clone(), source };
    let open = || {
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o644).open(&path).map_err(access)
    };
    let lock = match FileLock::take(open()?) {
        Ok(lock) => lock,
        Err(TryLockError::WouldBlock) => {
            return Err(DataDirError::Locked { path: layout.root().to_owned(), pid: read_pid(&open()?) });
        }
        Err(TryLockError::Error(source)) => return Err(access(source)),
    };
    let mut file = lock.file();
    file.set_len(0).and_then(|()| file.write_all(format!("{}\n", std::process::id()).as_bytes())).map_err(access)?;
    Ok(lock)
}

fn read_pid(file: &File) -> Option<u32> {
    let mut text = String::new();
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn make_private_dir(path: &Path) -> Result<(), DataDirError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| DataDirError::Access { path: path.to_owned(), source })
}

/// Writes a whole file so that a reader, or a machine that lost power, finds all of it or what was there before.
///
/// # Errors
/// [`DataDirError::Access`].
pub(crate) fn write_atomically(path: &Path, bytes: &[u8], mode: u32) -> Result<(), DataDirError> {
    let parent = path.parent().expect("files of a data directory have a parent");
    let name = path.file_name().expect("files of a data directory have a name").to_string_lossy();
    let temporary = parent.join(format!(".{name}.{}", std::process::id()));
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        sync_dir(parent)
    };
    write().map_err(|source| {
        drop(fs::remove_file(&temporary));
        DataDirError::Access { path: path.to_owned(), source }
    })
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Who besides the owner may use a file, as `ls` would write it, or `None` when nobody.
#[must_use]
pub fn exposure(metadata: &fs::Metadata) -> Option<String> {
    let mode = metadata.permissions().mode() & 0o777;
    let own = metadata.uid() == rustix::process::geteuid().as_raw() || rustix::process::geteuid().is_root();
    if !own {
        return Some(format!("owned by another user ({})", metadata.uid()));
    }
    (mode & 0o077 != 0).then(|| format!("mode {mode:04o}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_made_private_and_kept() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let root = dir.path().join("a/b");
        drop(DataDir::open(&root).expect("made"));
        let again = DataDir::open(&root).expect("opened again");
        let mode = |path: &Path| fs::metadata(path).expect("exists").mode() & 0o777;
        assert_eq!((mode(&root), mode(&again.layout().secrets())), (0o700, 0o700));
    }

    #[test]
    fn a_second_opener_is_told_who_was_first() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let first = DataDir::open(dir.path()).expect("made");
        let error = DataDir::open(dir.path()).expect_err("locked");
        assert!(matches!(error, DataDirError::Locked { pid: Some(pid), .. } if pid == std::process::id()));
        assert_eq!(first.layout().holder(), Some(Some(std::process::id())));
        let layout = first.layout().clone();
        drop(first);
        assert_eq!(layout.holder(), None);
        DataDir::open(dir.path()).expect("free again");
    }

    #[test]
    fn a_newer_a_damaged_and_a_foreign_directory_are_refused_by_name() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        fs::write(dir.path().join("VERSION"), "angel data 2\n").expect("written");
        assert!(matches!(DataDir::open(dir.path()), Err(DataDirError::Newer { found: 2, .. })));
        for damage in [&b"angel data"[..], b"", b"\xff\xfe", b"angel data 0"] {
            fs::write(dir.path().join("VERSION"), damage).expect("written");
            assert!(matches!(DataDir::open(dir.path()), Err(DataDirError::Corrupt { .. })), "{damage:?}");
        }
        let dir = tempfile::tempdir().expect("a temporary directory");
        fs::write(dir.path().join("thesis.tex"), "text").expect("written");
        assert!(matches!(DataDir::open(dir.path()), Err(DataDirError::Foreign { .. })));
        assert!(!dir.path().join("run").exists(), "a refusal leaves nothing behind");
    }

    #[test]
    fn the_first_genesis_is_kept() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let data = DataDir::open(&dir.path().join("data")).expect("made");
        let file = dir.path().join("genesis.json");
        assert!(matches!(data.take_genesis(&file), Err(DataDirError::Genesis { .. })));
        assert!(matches!(data.take_genesis(dir.path()), Err(DataDirError::Genesis { .. })));
        fs::write(&file, "{}").expect("written");
        data.take_genesis(&file).expect("taken");
        data.take_genesis(&file).expect("the same again");
        fs::write(&file, "{ }").expect("written");
        assert!(matches!(data.take_genesis(&file), Err(DataDirError::OtherGenesis { .. })));
    }
}
