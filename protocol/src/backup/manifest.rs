//! The manifest of a snapshot: who made it, of what, when, and what the whole must come to. Signed by the node.
//!
//! It lies open beside the chunks, so that snapshots can be listed without a key. It names no account and no tenant, unless
//! the snapshot is of one account alone: whoever keeps that has been told whose it is.

use serde::{Deserialize, Serialize};

use super::cipher::ChunkName;
use crate::crypto::{Domain, NodeKey, NodePublicKey};
use crate::ids::{Did, NetworkId};
use crate::limits::{BACKUP_MANIFEST_BYTES_MAX, BACKUP_RECIPIENTS_MAX};
use crate::time::Timestamp;

/// The format of a node's snapshot.
pub const FORMAT: u32 = 1;

/// The format of a snapshot of one account alone. Software that does not know it would take it for a node's.
pub const FORMAT_OF_ACCOUNT: u32 = 2;

const DOMAIN: Domain = Domain::new("angel/backup/1");

/// A chunk as it is referred to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkRef {
    /// Its name.
    pub name: ChunkName,
    /// Bytes of its content.
    pub bytes: u32,
}

/// What one table comes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TableSum {
    /// The table's byte.
    pub table: u8,
    /// Its name.
    pub name: String,
    /// Rows.
    pub rows: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// SHA-256 over all of them in order.
    pub root: ChunkName,
}

/// How much a snapshot holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Totals {
    /// Rows of all tables.
    pub rows: u64,
    /// Bytes of their keys and values.
    pub row_bytes: u64,
    /// Files of accounts.
    pub blobs: u64,
    /// Their bytes.
    pub blob_bytes: u64,
    /// Keys and other files.
    pub files: u64,
}

/// What a snapshot is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// The format of the whole.
    pub format: u32,
    /// Its number: higher than every one before it in the same place.
    pub number: u64,
    /// When the snapshot was cut.
    pub made_at: Timestamp,
    /// The node that made it.
    pub node: Did,
    /// The network that it belongs to.
    pub network: NetworkId,
    /// The software that made it.
    pub software: String,
    /// Newest event of the log.
    pub sequence: u64,
    /// Newest decided height of the ledger.
    pub height: u64,
    /// Root of the ledger's state at that height.
    pub ledger_root: ChunkName,
    /// By what the key of the chunks is known.
    #[serde(with = "serde_bytes")]
    pub key_id: [u8; 16],
    /// That key, sealed with `age` to the recipients.
    #[serde(with = "serde_bytes")]
    pub sealed_key: Vec<u8>,
    /// Who can open it.
    pub recipients: Vec<String>,
    /// SHA-256 of the manifest before this one in the same place, all zeros for the first.
    pub previous: ChunkName,
    /// What the tables come to, in the order of their bytes.
    pub tables: Vec<TableSum>,
    /// How much it is.
    pub totals: Totals,
    /// The chunks of the index, in order.
    pub index: Vec<ChunkRef>,
    /// The account that it is of, where it is not of the whole node: then there are no keys of the node in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<Did>,
}

/// A manifest with the node's signature, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedManifest {
    #[serde(with = "serde_bytes")]
    manifest: Vec<u8>,
    #[serde(with = "serde_bytes")]
    signature: [u8; 64],
}

/// Why bytes are not believed to be a manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestRefused {
    /// Too large.
    #[error("the manifest has {0} bytes, more than any has")]
    TooLarge(usize),
    /// No manifest.
    #[error("this is no manifest of a backup, or one that was cut short")]
    Form,
    /// Newer software wrote it.
    #[error(
        "the backup has format {0}, this software knows up to {FORMAT_OF_ACCOUNT}: restore it with the release that made it, \
         or a newer one"
    )]
    Newer(u32),
    /// It names no node.
    #[error("the manifest names {0}, which is no node")]
    NoNode(Did),
    /// The node that it names did not sign it.
    #[error("the manifest was altered: {0} did not sign it so")]
    Signature(Did),
    /// It contradicts itself.
    #[error("the manifest contradicts itself: {0}")]
    Contradiction(&'static str),
}

#[derive(Deserialize)]
struct Head {
    format: u32,
}

impl Manifest {
    /// Signs it with the key of the node that it names.
    #[must_use]
    pub fn sign(&self, key: &NodeKey) -> Vec<u8> {
        let manifest = serde_ipld_dagcbor::to_vec(self).expect("a manifest has a canonical form");
        let signature = key.sign(DOMAIN, &manifest);
        serde_ipld_dagcbor::to_vec(&SignedManifest { manifest, signature }).expect("bytes have a canonical form")
    }

    /// Reads a signed manifest and checks who signed it.
    ///
    /// # Errors
    /// [`ManifestRefused`].
    pub fn read(bytes: &[u8]) -> Result<Self, ManifestRefused> {
        if bytes.len() > BACKUP_MANIFEST_BYTES_MAX {
            return Err(ManifestRefused::TooLarge(bytes.len()));
        }
        let signed: SignedManifest = serde_ipld_dagcbor::from_slice(bytes).map_err(|_| ManifestRefused::Form)?;
        let head: Head = serde_ipld_dagcbor::from_slice(&signed.manifest).map_err(|_| ManifestRefused::Form)?;
        if ![FORMAT, FORMAT_OF_ACCOUNT].contains(&head.format) {
            return Err(ManifestRefused::Newer(head.format));
        }
        let manifest: Self = serde_ipld_dagcbor::from_slice(&signed.manifest).map_err(|_| ManifestRefused::Form)?;
        let key = NodePublicKey::from_did(&manifest.node);
        let key = key.map_err(|_| ManifestRefused::NoNode(manifest.node.clone()))?;
        let verified = key.verify(DOMAIN, &signed.manifest, &signed.signature);
        verified.map_err(|_| ManifestRefused::Signature(manifest.node.clone()))?;
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), ManifestRefused> {
        let not = |why| Err(ManifestRefused::Contradiction(why));
        if self.recipients.is_empty() || self.recipients.len() > BACKUP_RECIPIENTS_MAX {
            return not("nobody, or too many, could open it");
        }
        if !self.tables.is_sorted_by(|a, b| a.table < b.table) {
            return not("its tables are not in order");
        }
        if self.account.is_some() != (self.format == FORMAT_OF_ACCOUNT) {
            return not("its format says something else than its list of what is in it");
        }
        let rows = self.tables.iter().try_fold(0_u64, |sum, table| sum.checked_add(table.rows));
        if rows != Some(self.totals.rows) {
            return not("its tables do not come to its rows");
        }
        Ok(())
    }
}
