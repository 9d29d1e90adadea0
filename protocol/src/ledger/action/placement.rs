//! Where a tenant is.

use serde::{Deserialize, Serialize};

use crate::crypto::Signature;
use crate::ids::Did;
use crate::time::Timestamp;

/// See [`super::Action::PlaceTenant`]. Signed by the tenant's own wallet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlaceTenant {
    /// The first primary.
    pub primary: Did,
    /// Its backups.
    pub backups: Backups,
    /// How it is spread.
    pub strategy: Strategy,
    /// Where it may lie.
    pub residency: Residency,
    /// The primary's consent, over [`crate::ledger::statement::hosting`].
    #[serde(with = "serde_bytes")]
    pub accepted: Signature,
}

/// See [`super::Action::ChangeHosts`]. Signed by the primary or the tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChangeHosts {
    /// The tenant.
    pub tenant: Did,
    /// The current epoch.
    pub epoch: u64,
    /// The new backups.
    pub backups: Backups,
}

/// See [`super::Action::Migrate`]. Signed by the primary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Migrate {
    /// The tenant.
    pub tenant: Did,
    /// The epoch that begins: the current one and one.
    pub epoch: u64,
    /// The new primary.
    pub to: Did,
    /// Its consent, over [`crate::ledger::statement::hosting`].
    #[serde(with = "serde_bytes")]
    pub accepted: Signature,
}

/// See [`super::Action::RollBack`]. Signed by the tenant, or by either node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RollBack {
    /// The tenant.
    pub tenant: Did,
    /// The epoch that begins: the current one and one.
    pub epoch: u64,
}

/// See [`super::Action::Failover`]. Signed by the standby that takes over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Failover {
    /// The tenant.
    pub tenant: Did,
    /// The epoch that begins: the current one and one.
    pub epoch: u64,
    /// What the hosting nodes saw, the standby's own observation among them.
    pub observations: Vec<Observation>,
}

/// See [`super::Action::Claim`]. Signed by the node that is to be primary, which thereby consents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Claim {
    /// The tenant.
    pub tenant: Did,
    /// The epoch that begins: the current one and one. What a tenant was before it was placed counts as its first.
    pub epoch: u64,
    /// Whose data the node begins with; nothing where that cannot be said.
    pub from: Option<Source>,
    /// The owner's word, over [`crate::ledger::statement::claim`], by the key of the identity that nobody can overrule.
    #[serde(with = "serde_bytes")]
    pub owner: Signature,
}

/// Whose data a copy holds, and how far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Source {
    /// The primary that wrote it.
    pub node: Did,
    /// How far the copy goes: that primary's event number.
    pub sequence: u64,
}

/// One observer's word that the primary is silent, over [`crate::ledger::statement::silence`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Observation {
    /// Who saw: a hosting node, the witness, or the tenant's owner.
    pub observer: Did,
    /// When the primary was last heard.
    pub heard: Timestamp,
    /// When the observer said so.
    pub at: Timestamp,
    /// How far the observer's copy goes: the primary's event number. An owner or witness says 0.
    pub cursor: u64,
    /// The observer's key.
    #[serde(with = "serde_bytes")]
    pub signature: Signature,
}

/// The nodes that back a tenant up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Backups {
    /// May take over.
    pub standbys: Vec<Did>,
    /// Hold ciphertext only.
    pub vaults: Vec<Did>,
    /// Speaks instead of a majority where the tenant has exactly two hosting nodes.
    pub witness: Option<Did>,
}

/// How a tenant is spread (`network.md` 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, borsh::BorshSerialize, borsh::BorshDeserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// No backups, but the one to which it moves.
    SingleNode,
    /// At least two backups.
    MultiNodeReplica,
    /// At least two backups in at least two regions.
    GeoDistributed,
    /// At least one backup.
    LoadBalanced,
}

/// Where a tenant's data may lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, borsh::BorshSerialize, borsh::BorshDeserialize)]
#[serde(rename_all = "snake_case")]
pub enum Residency {
    /// us-east and us-west.
    Us,
    /// europe.
    Eu,
    /// asia.
    Asia,
    /// Anywhere.
    Global,
}
