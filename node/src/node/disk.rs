//! What a node reads from its data directory before anything starts, and the facts that it leaves there.

use std::fs;
use std::path::{Path, PathBuf};

use angel_protocol::ids::NodeName;
use angel_storage::Store;

use super::error::StartError;
use crate::accounts;
use crate::clock;
use crate::data_dir::{DataDir, DataDirError, Layout, write_atomically};
use crate::facts::NodeFacts;
use crate::keys::Identity;
use crate::ledger;
use crate::machine::{self, Load};
use crate::secrets::AdminPassword;

/// What lies in the data directory and is read before anything starts.
pub(super) struct Disk {
    pub(super) data_dir: DataDir,
    pub(super) password: AdminPassword,
    pub(super) identity: Identity,
    pub(super) node_id: NodeName,
    pub(super) first_load: Load,
}

impl Disk {
    pub(super) fn open(
        root: PathBuf,
        genesis: Option<PathBuf>,
        admin_password: Option<String>,
    ) -> Result<Self, StartError> {
        let data_dir = DataDir::open(&root)?;
        look_for_store(data_dir.layout())?;
        if let Some(path) = genesis {
            // One that cannot be used is not kept.
            ledger::genesis::read(&path)?;
            data_dir.take_genesis(&path)?;
        }
        let password = AdminPassword::load(data_dir.layout(), admin_password)?;
        let identity = Identity::load_or_create(data_dir.layout(), clock::now())?;
        let node_id = data_dir.node_id(|| identity.default_node_id())?;
        Ok(Self { password, identity, node_id, first_load: machine::first_load(data_dir.layout().root()), data_dir })
    }
}

/// Refuses to begin with an empty store where there has been another: what it holds files of would be cleared away.
///
/// A node that has lost its store and nothing else begins anew under its old key, which is how a validator comes back; that
/// is said, for the store may just not be mounted.
fn look_for_store(layout: &Layout) -> Result<(), DataDirError> {
    let storage = layout.storage();
    if Store::is_begun(&storage) {
        return Ok(());
    }
    let blobs = layout.blobs();
    if holds_files(&blobs) {
        return Err(DataDirError::StoreMissing { storage, blobs });
    }
    if layout.secrets().join(accounts::SEAL_FILE).exists() {
        tracing::warn!(
            "{} holds no store, though this node has run before: it begins with an empty one, without accounts. If the \
             store is on a disk of its own, stop the node and mount that; else see `angel restore --help`",
            storage.display()
        );
    }
    Ok(())
}

/// Whether any file lies below a directory of blobs; uploads that were cut off do not count.
fn holds_files(dir: &Path) -> bool {
    fs::read_dir(dir).into_iter().flatten().flatten().any(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => entry.file_name() != "tmp" && holds_files(&entry.path()),
        Ok(kind) => kind.is_file(),
        Err(_) => false,
    })
}

pub(super) fn write_run_file(layout: &Layout, facts: &NodeFacts) -> Result<(), DataDirError> {
    let text = serde_json::to_string(&facts.run_file()).expect("strings and numbers make JSON");
    write_atomically(&layout.node_json(), format!("{text}\n").as_bytes(), 0o600)
}

#[cfg(test)]
mod tests {
    use angel_storage::Options;
    use angel_storage::engine::EngineKind;

    use super::*;

    #[test]
    fn files_without_their_store_are_not_begun_with() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let data = DataDir::open(dir.path()).expect("made");
        let layout = data.layout();
        look_for_store(layout).expect("a new one");
        let upload = layout.blobs().join("tmp");
        fs::create_dir_all(&upload).expect("made");
        fs::write(upload.join("half"), b"a").expect("written");
        look_for_store(layout).expect("nothing was kept yet");
        let kept = layout.blobs().join("ab/cd");
        fs::create_dir_all(&kept).expect("made");
        fs::write(kept.join("file"), b"a").expect("written");
        let refused = look_for_store(layout).expect_err("its store is gone");
        assert!(matches!(refused, DataDirError::StoreMissing { .. }), "{refused}");
        drop(Store::open(&layout.storage(), Options::new(EngineKind::Sled, "a test")));
        look_for_store(layout).expect("it is there");
    }
}
