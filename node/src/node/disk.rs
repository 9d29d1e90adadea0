//! What a node reads from its data directory before anything starts, and the facts that it leaves there.

use std::path::PathBuf;

use angel_protocol::ids::NodeName;

use super::error::StartError;
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

pub(super) fn write_run_file(layout: &Layout, facts: &NodeFacts) -> Result<(), DataDirError> {
    let text = serde_json::to_string(&facts.run_file()).expect("strings and numbers make JSON");
    write_atomically(&layout.node_json(), format!("{text}\n").as_bytes(), 0o600)
}
