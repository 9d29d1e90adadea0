//! Whether this node takes a copy of somebody's tenant. Asked before the ledger is, and again whenever it has decided:
//! a decision makes nobody's disk larger.

use serde::{Deserialize, Serialize};

use super::{Region, Residency, within};
use crate::ids::Did;

/// From whom this node takes copies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accept {
    /// From nobody.
    Nobody,
    /// From these nodes.
    Listed(Vec<Did>),
    /// From every node of its network.
    Network,
}

/// What a primary asks of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Offer {
    /// The tenant.
    pub tenant: Did,
    /// How much it is now, in bytes.
    pub bytes: u64,
    /// Where it may lie.
    pub residency: Residency,
}

/// What this node holds for others already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// Tenants.
    pub tenants: u32,
    /// Bytes of their records and files.
    pub bytes: u64,
}

/// A node's terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consent {
    /// From whom.
    pub accept: Accept,
    /// Bytes that all copies together may take.
    pub quota: u64,
    /// Tenants at most.
    pub tenants_max: u32,
    /// Where this node stands.
    pub region: Region,
}

/// Why a node takes no copy, or no more of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
pub enum Declined {
    /// Not from this primary.
    #[error("the node takes no copies from this primary (replicas.accept_tenants)")]
    NotFromYou,
    /// It stands elsewhere.
    #[error("the node stands outside the tenant's residency")]
    Residency,
    /// It has enough tenants.
    #[error("the node holds as many tenants as it takes (node.max_tenants)")]
    TooManyTenants,
    /// It has too little room.
    #[error("the copy does not fit into what the node sets aside for others (replicas.quota)")]
    Quota,
    /// It has enough to do, or too little room, to take a tenant off a full node.
    #[error("the node is too busy itself to take a tenant off a full one")]
    Busy,
    /// One is on its way to it from a full node, or so many came of late.
    #[error("the node is taking a tenant off a full one already, or has taken as many as it does in a day")]
    Taking,
}

impl Consent {
    /// Whether this node takes what `primary` offers, given what it holds besides.
    ///
    /// # Errors
    /// [`Declined`], by name.
    pub fn to(&self, primary: &Did, offer: &Offer, holding: Holding) -> Result<(), Declined> {
        let from_here = match &self.accept {
            Accept::Nobody => false,
            Accept::Listed(listed) => listed.contains(primary),
            Accept::Network => true,
        };
        if !from_here {
            return Err(Declined::NotFromYou);
        }
        if !within(offer.residency, self.region) {
            return Err(Declined::Residency);
        }
        if holding.tenants >= self.tenants_max {
            return Err(Declined::TooManyTenants);
        }
        if holding.bytes.saturating_add(offer.bytes) > self.quota {
            return Err(Declined::Quota);
        }
        Ok(())
    }

    /// Bytes that a copy may still grow by.
    #[must_use]
    pub const fn room(&self, holding: Holding) -> u64 {
        self.quota.saturating_sub(holding.bytes)
    }
}
