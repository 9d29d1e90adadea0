//! When a standby that has no room for more of a tenant is replaced, and by whom: after a grace, seldom, one at a time, and only by
//! a node with so much room that it is not the next to be full. The other comes first and goes last: while the new copy is
//! made the old one stays, for an old copy is better than none.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::rebalance::{DAY, LOAD_TAKES, MOVES_PER_DAY};
use super::{Candidate, Strategy, region_number};
use crate::ids::Did;
use crate::ledger::action::Residency;
use crate::limits::BACKUPS_MAX;
use crate::time::Timestamp;

/// For how long a node that had no room for a tenant, or declined it, is not asked for that one again.
const NOT_AGAIN: Duration = Duration::from_hours(7 * 24);

/// Nodes that declined tenants, remembered at once. The oldest are forgotten first: they are asked again, which costs a
/// question.
const DECLINED_MAX: usize = 4096;

/// A tenant that this node serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Covered {
    /// Who.
    pub tenant: Did,
    /// How it is spread.
    pub strategy: Strategy,
    /// Where it may lie.
    pub residency: Residency,
    /// Its standbys.
    pub standbys: Vec<Did>,
    /// Those of them that have a whole copy, if perhaps an older one.
    pub whole: BTreeSet<Did>,
    /// Vaults and the witness: they cannot be standbys as well.
    pub others: BTreeSet<Did>,
    /// How many standbys it is to have, noted when a replacement was begun and until it has ended: by this node, perhaps
    /// before it started anew, or by the primary before it.
    pub wanted: Option<usize>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The node becomes one more standby, if it consents.
    Add {
        /// Of which tenant.
        tenant: Did,
        /// Which.
        node: Did,
    },
    /// Another has a whole copy in its place: the standby is one no more.
    Remove {
        /// Of which tenant.
        tenant: Did,
        /// Which.
        node: Did,
    },
}

/// What a primary remembers of standbys without room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replace {
    /// For how long a standby must have had no room.
    after: Duration,
    /// Since when, by tenant and standby.
    full: BTreeMap<Did, BTreeMap<Did, Timestamp>>,
    /// How many standbys the tenant had when the first of them had no room.
    wanted: BTreeMap<Did, usize>,
    declined: BTreeMap<(Did, Did), Timestamp>,
    added: Vec<Timestamp>,
}

impl Replace {
    /// Of a node that has heard nothing yet: a restart begins the grace anew.
    #[must_use]
    pub const fn new(after: Duration) -> Self {
        Self { after, full: BTreeMap::new(), wanted: BTreeMap::new(), declined: BTreeMap::new(), added: Vec::new() }
    }

    /// Standbys of a tenant say at `now` whether they have room for more of it. One that does ends its grace; of one that
    /// says nothing what it said last holds.
    pub fn heard(&mut self, now: Timestamp, tenant: &Covered, has_room: &BTreeMap<Did, bool>) {
        let full = self.full.entry(tenant.tenant.clone()).or_default();
        full.retain(|standby, _| tenant.standbys.contains(standby));
        for (standby, has_room) in has_room.iter().filter(|(standby, _)| tenant.standbys.contains(standby)) {
            if *has_room {
                full.remove(standby);
            } else {
                full.entry(standby.clone()).or_insert(now);
            }
        }
        if full.is_empty() {
            self.full.remove(&tenant.tenant);
            self.wanted.remove(&tenant.tenant);
        } else {
            // The standby that was added is one of those that there are, and not one of those that are wanted.
            let wanted = tenant.wanted.unwrap_or(tenant.standbys.len());
            self.wanted.entry(tenant.tenant.clone()).or_insert(wanted);
        }
    }

    /// How many standbys a tenant is to have, while one of them has no room: to be noted before another is added.
    #[must_use]
    pub fn wanted_of(&self, tenant: &Did) -> Option<usize> {
        self.wanted.get(tenant).copied()
    }

    /// A tenant was placed anew: whatever standbys it has now are those that are wanted.
    pub fn placed(&mut self, tenant: &Did) {
        self.wanted.remove(tenant);
    }

    /// Only these tenants are still served here.
    pub fn serves(&mut self, is_served: impl Fn(&Did) -> bool) {
        self.full.retain(|tenant, _| is_served(tenant));
        self.wanted.retain(|tenant, _| is_served(tenant));
    }

    /// The standbys of a tenant that have no room, as they said last, for the operator.
    pub fn full_of(&self, tenant: &Did) -> impl Iterator<Item = &Did> {
        self.full.get(tenant).into_iter().flat_map(BTreeMap::keys)
    }

    /// What to do at `now`, if anything. A tenant waits as long as one of its standbys that has room has no whole copy:
    /// perhaps that is the one which was added.
    #[must_use]
    pub fn propose(&self, now: Timestamp, own: &Did, covered: &[Covered], nodes: &[Candidate]) -> Option<Step> {
        let mut due: Vec<_> = covered.iter().filter_map(|it| Some((self.due(now, it)?, it))).collect();
        due.sort_unstable_by(|(a, x), (b, y)| (a.0, &x.tenant).cmp(&(b.0, &y.tenant)));
        let is_copied = |it: &Covered| self.with_room(it).all(|standby| it.whole.contains(standby));
        // Before anything new is begun, what is whole is brought to its end.
        for ((_, standby), it) in due.iter().filter(|(_, it)| is_copied(it)) {
            if self.with_room(it).count() >= self.wanted.get(&it.tenant).copied().unwrap_or(usize::MAX) {
                return Some(Step::Remove { tenant: it.tenant.clone(), node: (*standby).clone() });
            }
        }
        let today = self.added.iter().filter(|at| now.since(**at) < DAY).count();
        if today >= MOVES_PER_DAY || due.iter().any(|(_, it)| !is_copied(it)) {
            return None;
        }
        due.into_iter().find_map(|(_, it)| {
            let node = self.best(now, own, it, nodes)?;
            Some(Step::Add { tenant: it.tenant.clone(), node: node.did.clone() })
        })
    }

    /// The standby that has had no room for longest, if that is long enough.
    fn due<'a>(&'a self, now: Timestamp, tenant: &'a Covered) -> Option<(Timestamp, &'a Did)> {
        let full = self.full.get(&tenant.tenant)?;
        let long = full.iter().filter(|(_, since)| now.since(**since) >= self.after);
        long.filter(|(standby, _)| tenant.standbys.contains(standby)).map(|(standby, since)| (*since, standby)).min()
    }

    fn with_room<'a>(&'a self, tenant: &'a Covered) -> impl Iterator<Item = &'a Did> {
        let full = self.full.get(&tenant.tenant);
        tenant.standbys.iter().filter(move |standby| full.is_none_or(|full| !full.contains_key(*standby)))
    }

    fn best<'a>(&self, now: Timestamp, own: &Did, tenant: &Covered, nodes: &'a [Candidate]) -> Option<&'a Candidate> {
        // A tenant on a single node has a standby for the time of a move alone.
        if tenant.strategy == Strategy::SingleNode || tenant.standbys.len() + tenant.others.len() >= BACKUPS_MAX {
            return None;
        }
        let is_taken = |did: &Did| did == own || tenant.standbys.contains(did) || tenant.others.contains(did);
        let has_declined = |did: &Did| {
            let declined = self.declined.get(&(tenant.tenant.clone(), did.clone()));
            declined.is_some_and(|at| now.since(*at) < NOT_AGAIN)
        };
        let takes = |it: &&Candidate| {
            it.fits(tenant.residency) && it.load_score < LOAD_TAKES && !is_taken(&it.did) && !has_declined(&it.did)
        };
        let stays = |it: &&Candidate| it.did == *own || self.with_room(tenant).any(|standby| *standby == it.did);
        let stay: Vec<_> = nodes.iter().filter(stays).collect();
        let cost = |it: &Candidate| {
            let same_region = stay.iter().any(|other| region_number(other.region) == region_number(it.region));
            let same_operator = stay.iter().any(|other| other.operator == it.operator);
            (tenant.strategy == Strategy::GeoDistributed && same_region, same_operator)
        };
        nodes
            .iter()
            .filter(takes)
            .min_by(|a, b| (cost(a), a.rank(tenant.strategy)).cmp(&(cost(b), b.rank(tenant.strategy))))
    }

    /// The node does not take the tenant, or has no room for more of it: another is looked for.
    pub fn declined(&mut self, now: Timestamp, tenant: &Did, node: &Did) {
        self.declined.retain(|_, at| now.since(*at) < NOT_AGAIN);
        while self.declined.len() >= DECLINED_MAX {
            let oldest = self.declined.iter().min_by_key(|(_, at)| **at).map(|(key, _)| key.clone());
            let Some(oldest) = oldest else { break };
            self.declined.remove(&oldest);
        }
        self.declined.insert((tenant.clone(), node.clone()), now);
    }

    /// A step was carried out.
    pub fn done(&mut self, now: Timestamp, step: &Step) {
        match step {
            Step::Add { .. } => {
                self.added.retain(|at| now.since(*at) < DAY);
                self.added.push(now);
            }
            Step::Remove { tenant, node } => {
                if let Some(full) = self.full.get_mut(tenant) {
                    full.remove(node);
                    if full.is_empty() {
                        self.full.remove(tenant);
                        self.wanted.remove(tenant);
                    }
                }
                self.declined(now, tenant, node);
            }
        }
    }
}
