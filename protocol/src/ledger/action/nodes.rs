//! Nodes that come.

use serde::{Deserialize, Serialize};

use crate::crypto::Signature;
use crate::ids::{Did, NodeName};
use crate::time::Timestamp;

/// See [`super::Action::RegisterNode`]. The wallet is the node's own DID; its key is that `did:key`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RegisterNode {
    /// Its unique name.
    pub name: NodeName,
    /// The account that runs it.
    pub operator: Did,
    /// Where it stands.
    pub region: Region,
    /// Whether it takes tenants (`tenant_hosting`).
    pub hosts: bool,
    /// Whether it may become a validator (`blockchain_services`).
    pub validates: bool,
    /// A member's word, where the network asks for one.
    pub invitation: Option<Invitation>,
}

/// Where a node stands (`records.md` 6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, borsh::BorshSerialize, borsh::BorshDeserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Region {
    /// North America, east.
    UsEast,
    /// North America, west.
    UsWest,
    /// Europe.
    Europe,
    /// Asia.
    Asia,
    /// Australia.
    Australia,
}

/// A member node's invitation, over [`crate::ledger::statement::invitation`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Invitation {
    /// The member.
    pub node: Did,
    /// Until when it counts.
    pub expires: Timestamp,
    /// The member's signature.
    #[serde(with = "serde_bytes")]
    pub signature: Signature,
}
