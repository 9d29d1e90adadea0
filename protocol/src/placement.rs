//! Which nodes should hold a tenant, and whether a node consents (`network.md` 4.1 to 4.3 and 4.6).
//!
//! [`choose`] is the same for everyone who has the same data; what was chosen counts once the ledger has decided it.
//! [`Consent`] is a node's own: nobody can be made to hold a copy. [`Rebalance`] is how a full node parts with tenants,
//! [`Intake`] how another takes them, and [`Replace`] how a standby
//! without room for more makes way.

mod consent;
mod intake;
mod rebalance;
mod replace;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use crate::ids::Did;
pub use crate::ledger::action::{Region, Residency, Strategy};
use crate::limits::BACKUPS_MAX;

pub use consent::{Accept, Consent, Declined, Holding, Offer};
pub use intake::Intake;
pub use rebalance::{FULL_FOR, Hosted, Load, Proposal, Rebalance};
pub use replace::{Covered, Replace, Step};

/// Load score above which a node counts as full (NET-06).
pub const LOAD_FULL: u8 = 85;

/// A node as whoever chooses sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Who.
    pub did: Did,
    /// Where it stands.
    pub region: Region,
    /// Who runs it.
    pub operator: Did,
    /// Whether it takes tenants, is registered on the ledger, and has not left.
    pub hosts: bool,
    /// Whether it is online.
    pub online: bool,
    /// 0 to 100 (NET-06).
    pub load_score: u8,
    /// Tenants it takes at most, and has.
    pub tenants: (u64, u64),
    /// Measured from the region of the tenant's members, in milliseconds; unknown is last.
    pub latency_ms: Option<u32>,
}

/// What a tenant asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// How it is to be spread.
    pub strategy: Strategy,
    /// Where it may lie.
    pub residency: Residency,
    /// How many backups it wants; the strategy's fewest count where this is less.
    pub backups: usize,
}

/// Why no placement was found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPlace {
    /// More backups than may be.
    #[error("a tenant has at most {BACKUPS_MAX} backups")]
    TooMany,
    /// The primary does not fit the wish itself.
    #[error("the primary {0} stands outside the residency, or takes no tenants")]
    Primary(Did),
    /// Too few nodes fit.
    #[error("{needed} backups are needed and {found} nodes fit: online, not full, with room, within the residency")]
    TooFew {
        /// By strategy or wish.
        needed: usize,
        /// Fit.
        found: usize,
    },
    /// All that fit stand in one region.
    #[error("the strategy asks for nodes in two regions, and all that fit are in one")]
    OneRegion,
}

/// Whether a node in `region` may hold a tenant with this residency (`network.md` 4.3).
#[must_use]
pub const fn within(residency: Residency, region: Region) -> bool {
    match residency {
        Residency::Us => matches!(region, Region::UsEast | Region::UsWest),
        Residency::Eu => matches!(region, Region::Europe),
        Residency::Asia => matches!(region, Region::Asia),
        Residency::Global => true,
    }
}

/// Fewest backups of a strategy.
#[must_use]
pub const fn backups_min(strategy: Strategy) -> usize {
    match strategy {
        Strategy::SingleNode => 0,
        Strategy::LoadBalanced => 1,
        Strategy::MultiNodeReplica | Strategy::GeoDistributed => 2,
    }
}

impl Candidate {
    fn fits(&self, residency: Residency) -> bool {
        self.hosts
            && self.online
            && self.load_score < LOAD_FULL
            && self.tenants.1 < self.tenants.0
            && within(residency, self.region)
    }

    /// The order of `network.md` 4.3, after the residency: latency, load, DID. Where the load is to be spread, it
    /// comes first.
    fn rank(&self, strategy: Strategy) -> (u32, u32, &Did) {
        let latency = self.latency_ms.unwrap_or(u32::MAX);
        let load = u32::from(self.load_score);
        if strategy == Strategy::LoadBalanced { (load, latency, &self.did) } else { (latency, load, &self.did) }
    }
}

/// The backups for a tenant whose primary is `primary`, the best first. A node that runs under an operator who has the
/// tenant already comes behind all others, and with [`Strategy::GeoDistributed`] one in a region that has it.
///
/// # Errors
/// [`NoPlace`].
pub fn choose(candidates: &[Candidate], primary: &Did, wish: Wish) -> Result<Vec<Did>, NoPlace> {
    let needed = wish.backups.max(backups_min(wish.strategy));
    if needed > BACKUPS_MAX {
        return Err(NoPlace::TooMany);
    }
    let home = candidates.iter().find(|it| it.did == *primary);
    let home = home.filter(|it| it.hosts && within(wish.residency, it.region));
    let home = home.ok_or_else(|| NoPlace::Primary(primary.clone()))?;
    if wish.strategy == Strategy::SingleNode && wish.backups == 0 {
        return Ok(Vec::new());
    }
    let mut fitting: Vec<_> = candidates.iter().filter(|it| it.did != *primary && it.fits(wish.residency)).collect();
    if fitting.len() < needed {
        return Err(NoPlace::TooFew { needed, found: fitting.len() });
    }
    let mut operators = BTreeSet::from([&home.operator]);
    let mut regions = BTreeSet::from([region_number(home.region)]);
    let mut chosen = Vec::with_capacity(needed);
    while chosen.len() < needed {
        let cost = |it: &&Candidate| {
            let again = wish.strategy == Strategy::GeoDistributed && regions.contains(&region_number(it.region));
            (again, operators.contains(&it.operator))
        };
        let best = (0..fitting.len()).min_by(|a, b| {
            let (a, b) = (fitting[*a], fitting[*b]);
            (cost(&a), a.rank(wish.strategy)).cmp(&(cost(&b), b.rank(wish.strategy)))
        });
        let Some(best) = best else { break };
        let best = fitting.remove(best);
        operators.insert(&best.operator);
        regions.insert(region_number(best.region));
        chosen.push(best.did.clone());
    }
    if wish.strategy == Strategy::GeoDistributed && regions.len() < 2 {
        return Err(NoPlace::OneRegion);
    }
    Ok(chosen)
}

const fn region_number(region: Region) -> u8 {
    match region {
        Region::UsEast => 0,
        Region::UsWest => 1,
        Region::Europe => 2,
        Region::Asia => 3,
        Region::Australia => 4,
    }
}
