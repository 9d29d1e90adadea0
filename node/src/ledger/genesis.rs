//! Height 0: the genesis that was given, or the one that a node makes for itself when it is alone.

use std::path::Path;

use angel_protocol::ids::{Did, NetworkId, NodeName};
use angel_protocol::ledger::action::Region;
use angel_protocol::ledger::genesis::{GenesisNode, InvalidGenesis};
use angel_protocol::ledger::parameters::Admission;
use angel_protocol::ledger::rows;
use angel_protocol::ledger::{Genesis, MemoryView, Parameters};
use angel_protocol::time::Timestamp;
use angel_storage::ledger::{self, LedgerView};
use angel_storage::reader::ReadError;
use angel_storage::{Reader, Writer};

use super::LedgerError;
use crate::data_dir::{DataDirError, Layout, write_atomically};

/// New identities in an hour on the ledger of a node alone: as many as such a node can sign up.
const FOUNDER_IDENTITIES_PER_HOUR: u32 = 1_000_000;

/// Why the ledger has no beginning.
#[derive(Debug, thiserror::Error)]
pub enum GenesisError {
    /// The file cannot be read.
    #[error("cannot read the genesis in {path}: {source}")]
    File {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no genesis.
    #[error("{path} is no genesis: {why}")]
    Syntax {
        /// The file.
        path: String,
        /// Why.
        why: String,
    },
    /// The genesis is no good.
    #[error("the genesis is not usable: {0}")]
    Invalid(#[from] InvalidGenesis),
    /// The genesis is another network's.
    #[error("the genesis is for the network {genesis}, this node belongs to {configured}: set network.id to match")]
    OtherNetwork {
        /// Of the genesis.
        genesis: NetworkId,
        /// Of the configuration.
        configured: NetworkId,
    },
    /// The ledger on disk began otherwise.
    #[error(
        "the ledger in the data directory began with another genesis than the file {path}; restore the file, or start \
         with an empty data directory"
    )]
    Changed {
        /// The file.
        path: String,
    },
    /// The store, while writing.
    #[error(transparent)]
    Write(#[from] ledger::GenesisError),
    /// The store.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What is stored.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The data directory.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
}

/// Who a node alone is in its own genesis.
#[derive(Clone, Debug)]
pub(crate) struct Founder {
    pub(crate) network: NetworkId,
    pub(crate) did: Did,
    pub(crate) name: NodeName,
    pub(crate) region: Region,
    pub(crate) admission: Admission,
}

impl Founder {
    /// The genesis of a network of one.
    fn genesis(&self, time: Timestamp) -> Genesis {
        let parameters = Parameters {
            admission: self.admission.clone(),
            // Whoever signs up here is limited at this node's own door.
            identities_per_hour: FOUNDER_IDENTITIES_PER_HOUR,
            ..Parameters::new(self.did.clone())
        };
        let node = GenesisNode {
            did: self.did.clone(),
            name: self.name.clone(),
            operator: self.did.clone(),
            region: self.region,
            hosts: true,
            validator: true,
        };
        Genesis { network: self.network.clone(), time, parameters, nodes: vec![node], wallets: vec![] }
    }
}

/// Reads a genesis file.
///
/// # Errors
/// [`GenesisError`], by what is wrong.
pub(crate) fn read(path: &Path) -> Result<Genesis, GenesisError> {
    let shown = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|source| GenesisError::File { path: shown.clone(), source })?;
    serde_json::from_slice(&bytes).map_err(|error| GenesisError::Syntax { path: shown, why: error.to_string() })
}

/// Sees to it that the ledger has its height 0. Blocks.
///
/// # Errors
/// [`GenesisError`], by what is wrong.
pub(crate) fn ensure(
    layout: &Layout,
    founder: &Founder,
    reader: &Reader,
    writer: &Writer,
    now: Timestamp,
) -> Result<(), GenesisError> {
    let path = layout.genesis();
    if !path.exists() {
        let genesis = founder.genesis(now);
        let text = serde_json::to_vec_pretty(&genesis).expect("a genesis has only integers, texts and keys");
        write_atomically(&path, &text, 0o600)?;
        tracing::info!(network = %genesis.network, "alone: this node made a genesis of its own and is its one validator");
    }
    let genesis = read(&path)?;
    if genesis.network != founder.network {
        return Err(GenesisError::OtherNetwork { genesis: genesis.network, configured: founder.network.clone() });
    }
    if rows::head(&LedgerView(reader)).map_err(LedgerError::from)?.is_some() {
        let same = stored_hash(reader)? == genesis.hash();
        return if same { Ok(()) } else { Err(GenesisError::Changed { path: path.display().to_string() }) };
    }
    let (changes, _) = genesis.rows()?;
    let mut memory = MemoryView::new();
    memory.write(changes.clone());
    let validators = rows::validators(&memory).map_err(LedgerError::from)?.unwrap_or_default();
    Ok(ledger::genesis(writer, &changes, &validators)?)
}

/// The hash of the genesis that the stored ledger began with.
pub(crate) fn stored_hash(reader: &Reader) -> Result<[u8; 32], LedgerError> {
    let hash = rows::genesis(&LedgerView(reader))?;
    Ok(hash.ok_or(angel_protocol::ledger::ApplyError::NoGenesis)?)
}
