//! Nodes and tenants' places on them.

use borsh::{BorshDeserialize, BorshSerialize};

use super::super::action::{Region, Residency, Strategy};
use crate::ids::Did;

/// A registered node.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Node {
    /// Its unique name.
    pub name: String,
    /// The account that runs it.
    pub operator: Did,
    /// Where it stands.
    pub region: Region,
    /// Whether it takes tenants.
    pub hosts: bool,
    /// Whether it may become a validator.
    pub validates: bool,
    /// Batch time of its first registration, in milliseconds.
    pub since: u64,
    /// Whether it left the network.
    pub retired: bool,
    /// People its operator vouched for (TOK-05).
    pub vouched: u32,
    /// Tenants of which it is the primary.
    pub primaries: u32,
}

/// Which node holds a name.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct NameOwner(pub(crate) Did);

/// Where a tenant is (`records.md` 6.2). There is one primary in each epoch, because only a decided transaction
/// begins one.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Placement {
    /// Rises by one with every change of primary.
    pub epoch: u64,
    /// Serves writes.
    pub primary: Did,
    /// May take over.
    pub standbys: Vec<Did>,
    /// Hold ciphertext only.
    pub vaults: Vec<Did>,
    /// Speaks instead of a majority where there are exactly two hosting nodes.
    pub witness: Option<Did>,
    /// How the tenant is spread.
    pub strategy: Strategy,
    /// Where it may lie.
    pub residency: Residency,
    /// The migration that can still be undone.
    pub previous: Option<Previous>,
    /// Height of the latest change.
    pub height: u64,
}

/// The primary before a migration.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Previous {
    /// The node.
    pub primary: Did,
    /// Until when it can become primary again, in milliseconds.
    pub until: u64,
}

impl Placement {
    /// All hosting nodes: the primary and its backups.
    pub fn hosts(&self) -> impl Iterator<Item = &Did> {
        std::iter::once(&self.primary).chain(&self.standbys).chain(&self.vaults)
    }
}
