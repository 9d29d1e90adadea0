//! Restoring a node into a new data directory.
//!
//! Nothing is written before the whole backup has been read and believed. From the first byte written until the last, a
//! marker in the directory keeps every daemon out. What was restored is compared before the marker goes; a restore that
//! was cut short is begun anew by the same command, and by nothing else.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use angel_protocol::backup::FileKind;
use angel_protocol::backup::rows::StoredRow;
use angel_protocol::data::Cid;
use angel_protocol::ids::Did;
use angel_protocol::time::Timestamp;
use angel_storage::TableId;
use angel_storage::accounts::ACCOUNTS_BY_DID;
use angel_storage::backup::{Filling, Roots};
use angel_storage::codec::Cbor;
use angel_storage::engine::{EngineKind, Tuning};
use angel_storage::events::floor_after_restore;
use angel_storage::key::Key as _;
use serde::{Deserialize, Serialize};

use super::depot::Depot;
use super::progress::Progress;
use super::read::{Receiver, Snapshot, receive};
use super::{BackupError, RESTORED_FILE, check};
use crate::blobs;
use crate::data_dir::{DataDir, DataDirError, Layout, sync_dir, write_atomically};
use crate::facts::VERSION;

/// What a restored node remembers of that, until it has caught up: `secrets/restored`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Restored {
    /// When the backup was made.
    pub(crate) made_at: Timestamp,
    /// When it was restored.
    pub(crate) restored_at: Timestamp,
    /// The ledger's height in it.
    pub(crate) height: u64,
}

impl Restored {
    /// The path of the note.
    pub(crate) fn path(layout: &Layout) -> PathBuf {
        layout.secrets().join(RESTORED_FILE)
    }

    /// Whether this node was restored and has not caught up since. A note that cannot be read counts as one. Blocks.
    pub(crate) fn read(path: &Path) -> io::Result<Option<Self>> {
        match fs::read(path) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes).unwrap_or(Self {
                made_at: Timestamp::EPOCH,
                restored_at: Timestamp::EPOCH,
                height: 0,
            }))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The node has caught up. Blocks.
    pub(crate) fn forget(path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => path.parent().map_or(Ok(()), sync_dir),
        }
    }
}

/// Restores the snapshot into the data directory `root`. Blocks.
///
/// # Errors
/// [`BackupError`]. When the backup is not believed, nothing was written.
pub(crate) fn restore(
    depot: &Depot,
    snapshot: &Snapshot,
    root: &Path,
    engine: (EngineKind, Tuning),
    now: Timestamp,
    progress: &Progress,
) -> Result<Roots, BackupError> {
    match &snapshot.manifest.account {
        Some(account) => Err(BackupError::OneAccount(account.clone())),
        None => restore_only(depot, snapshot, root, engine, None, now, progress),
    }
}

/// The same; with an account, without the files that it has not.
pub(super) fn restore_only(
    depot: &Depot,
    snapshot: &Snapshot,
    root: &Path,
    (kind, tuning): (EngineKind, Tuning),
    only: Option<&Did>,
    now: Timestamp,
    progress: &Progress,
) -> Result<Roots, BackupError> {
    DataDir::check_restorable(root)?;
    check::read_through(depot, snapshot, progress)?;

    let manifest = &snapshot.manifest;
    let what = format!("{}, snapshot {} of {}", depot.place(), manifest.number, manifest.node);
    let (layout, _lock) = DataDir::begin_restore(root, &what)?;
    progress.phase("restoring");
    let filling = Filling::begin(&layout.storage(), kind, &format!("angel {VERSION}"), tuning)?;
    let only = only.map(|did| Only { did: did.clone(), rows: None, files: BTreeSet::new() });
    let mut into = Placing { layout: layout.clone(), filling: Some(filling), file: None, only };
    receive(depot, snapshot, &mut into, progress)?;
    if let Some(filling) = into.filling.take() {
        let age = now.since(manifest.made_at);
        filling.finish(floor_after_restore(manifest.sequence, age))?;
    }
    let roots = check::compare_store(&layout.storage(), manifest, kind, tuning, progress)?;
    let note = Restored { made_at: manifest.made_at, restored_at: now, height: manifest.height };
    let note = serde_json::to_vec(&note).expect("numbers make JSON");
    write_atomically(&Restored::path(&layout), &note, 0o600)?;
    progress.phase("making it durable");
    let synced = File::open(root).and_then(|dir| Ok(rustix::fs::syncfs(dir)?));
    synced.map_err(|source| BackupError::File { what: "sync", path: root.to_owned(), source })?;
    DataDir::end_restore(&layout)?;
    Ok(roots)
}

/// Writes what a snapshot holds to where it belongs.
struct Placing {
    layout: Layout,
    filling: Option<Filling>,
    file: Option<(PathBuf, File)>,
    only: Option<Only>,
}

/// Whose files are placed. What an account is, and what it has, comes before the files.
struct Only {
    did: Did,
    /// What the keys of the account's files begin with.
    rows: Option<Vec<u8>>,
    files: BTreeSet<String>,
}

impl Only {
    fn look(&mut self, rows: &[StoredRow]) {
        for (key, value) in rows {
            match (&self.rows, key.first()) {
                (None, Some(table)) if *table == TableId::AccountsByDid.byte() => {
                    let is_this = ACCOUNTS_BY_DID.decode_key(key).is_ok_and(|did| did == self.did);
                    if let Some(Cbor(account)) = ACCOUNTS_BY_DID.decode_value(value).ok().filter(|_| is_this) {
                        let mut prefix = vec![TableId::Blobs.byte()];
                        account.encode(&mut prefix);
                        self.rows = Some(prefix);
                    }
                }
                (Some(prefix), _) => {
                    if let Some(cid) = key.strip_prefix(&prefix[..]).and_then(|cid| Cid::from_bytes(cid).ok()) {
                        self.files.insert(cid.to_string());
                    }
                }
                _ => {}
            }
        }
    }
}

impl Placing {
    fn path(&self, kind: &FileKind) -> Result<PathBuf, BackupError> {
        let wrong = || BackupError::FileDiffers { kind: kind.clone() };
        // Signed by the node and sealed with its key; a name is a name all the same.
        let plain = |name: &String| {
            let fine = |char: char| char.is_ascii_alphanumeric() || "-_.".contains(char);
            !name.is_empty() && !name.starts_with('.') && name.chars().all(fine)
        };
        match kind {
            FileKind::Blob(name) => {
                let cid = name.parse().map_err(|_| wrong())?;
                Ok(blobs::path_in(&self.layout.blobs(), cid))
            }
            FileKind::Secret(name) if plain(name) => Ok(self.layout.secrets().join(name)),
            FileKind::Root(name) if plain(name) => {
                let known = [self.layout.genesis(), self.layout.node_id()];
                let path = self.layout.root().join(name);
                if known.contains(&path) { Ok(path) } else { Err(wrong()) }
            }
            _ => Err(wrong()),
        }
    }
}

impl Receiver for Placing {
    fn rows(&mut self, rows: Vec<StoredRow>) -> Result<(), BackupError> {
        if let Some(only) = &mut self.only {
            only.look(&rows);
        }
        match &mut self.filling {
            Some(filling) => Ok(filling.put(rows)?),
            None => Ok(()),
        }
    }

    fn file(&mut self, kind: &FileKind) -> Result<(), BackupError> {
        if let (Some(only), FileKind::Blob(name)) = (&self.only, kind)
            && !only.files.contains(name)
        {
            return Ok(());
        }
        let path = self.path(kind)?;
        let failed = |source| BackupError::File { what: "write", path: path.clone(), source };
        if let Some(dir) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
        }
        let mode = if matches!(kind, FileKind::Root(_)) { 0o644 } else { 0o600 };
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&path).map_err(failed)?;
        self.file = Some((path, file));
        Ok(())
    }

    fn piece(&mut self, piece: &[u8]) -> Result<(), BackupError> {
        let Some((path, file)) = &mut self.file else { return Ok(()) };
        file.write_all(piece).map_err(|source| BackupError::File { what: "write", path: path.clone(), source })
    }

    fn file_ends(&mut self) -> Result<(), BackupError> {
        self.file = None;
        Ok(())
    }
}

impl From<DataDirError> for BackupError {
    fn from(error: DataDirError) -> Self {
        Self::DataDir(Box::new(error))
    }
}
