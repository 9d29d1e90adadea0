//! When a full node hands tenants to nodes that have room, and which to whom (`network.md` 4.6): seldom, one at a time,
//! and only over a gap so wide that they do not come back.

use std::time::Duration;

use super::{Candidate, LOAD_FULL};
use crate::ids::Did;
use crate::ledger::action::{Residency, Strategy};
use crate::limits::BACKUPS_MAX;
use crate::time::Timestamp;

/// Load below which a node takes tenants of a full one: the gap to [`LOAD_FULL`] is what keeps tenants from wandering.
pub(super) const LOAD_TAKES: u8 = 60;

/// How long a node has to be full before it hands anything over, unless its operator says otherwise.
pub const FULL_FOR: Duration = Duration::from_hours(1);

/// How long a tenant stays where it is after a move, whoever asked for that one and however it ended.
const REST: Duration = Duration::from_hours(7 * 24);

/// Moves within [`DAY`]: that a node gives, and that it takes.
pub(super) const MOVES_PER_DAY: usize = 3;

pub(super) const DAY: Duration = Duration::from_hours(24);

/// How busy a node is, 0 to 100 (NET-06).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// CPU and memory: these a node is relieved of by whoever serves a tenant in its place.
    pub work: u8,
    /// Tenants and storage: these only by a node that has no copy of the tenant yet, so that the one here can go.
    pub space: u8,
}

impl Load {
    /// The worse of the two.
    #[must_use]
    pub const fn score(self) -> u8 {
        if self.work > self.space { self.work } else { self.space }
    }
}

/// A tenant that the full node is primary of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hosted {
    /// Who.
    pub tenant: Did,
    /// How it is spread. One that is on a single node stays: its owner is asked first.
    pub strategy: Strategy,
    /// Where it may lie.
    pub residency: Residency,
    /// Its backups.
    pub backups: Vec<Did>,
    /// Those of them that have a whole copy.
    pub copies: Vec<Did>,
    /// Its newest event in the node's log: the smallest belongs to the tenant in which nothing happened for longest.
    pub newest: u64,
    /// When it last moved: here, by the ledger, or from here, as far as this node's journal goes back.
    pub moved_at: Option<Timestamp>,
    /// Whether it came by a move that can still be undone: it is not taken further meanwhile.
    pub in_grace: bool,
}

/// A tenant that is to be handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Which.
    pub tenant: Did,
    /// To whom.
    pub to: Did,
}

/// What a node remembers of its being full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebalance {
    /// How long it has to be full.
    full_for: Duration,
    full_since: Option<Timestamp>,
    latest: Option<Load>,
    moves: Vec<Timestamp>,
}

impl Default for Rebalance {
    fn default() -> Self {
        Self::new(FULL_FOR, Vec::new())
    }
}

impl Rebalance {
    /// Of a node that has to be full for so long, and has handed tenants over at these times: what it did before it was
    /// started anew counts as well. How long it has been full does not.
    #[must_use]
    pub const fn new(full_for: Duration, moves: Vec<Timestamp>) -> Self {
        Self { full_for, full_since: None, latest: None, moves }
    }

    /// The node's own load at `now`. It has been full since it first was, unless it had room meanwhile: a load between the
    /// two bounds ends nothing.
    pub fn measured(&mut self, now: Timestamp, load: Load) {
        self.latest = Some(load);
        match load.score() {
            score if score > LOAD_FULL => drop(self.full_since.get_or_insert(now)),
            score if score < LOAD_TAKES => self.full_since = None,
            _ => {}
        }
    }

    /// What is too much, if anything is to be handed over at `now`: the node is full, has been for long enough, and has
    /// not handed over as many as it may in a day.
    #[must_use]
    pub fn is_due(&self, now: Timestamp) -> Option<Load> {
        let long = self.full_since.is_some_and(|since| now.since(since) >= self.full_for);
        let today = self.moves.iter().filter(|at| now.since(**at) < DAY).count();
        self.latest.filter(|latest| latest.score() > LOAD_FULL && long && today < MOVES_PER_DAY)
    }

    /// What to hand over at `now`, if anything: the tenant in which nothing happened for longest, to the node that suits it
    /// best. A tenant stays where one of its backups is not to be seen: somebody may be about to take its place, and it
    /// has fewer copies than it should.
    #[must_use]
    pub fn propose(&self, now: Timestamp, own: &Did, hosted: &[Hosted], nodes: &[Candidate]) -> Option<Proposal> {
        let load = self.is_due(now)?;
        let is_seen = |did: &Did| nodes.iter().any(|it| it.did == *did && it.online);
        let may_go = |it: &&Hosted| {
            let rests = it.moved_at.is_some_and(|at| now.since(at) < REST);
            it.strategy != Strategy::SingleNode && !it.in_grace && !rests && it.backups.iter().all(is_seen)
        };
        let mut hosted: Vec<_> = hosted.iter().filter(may_go).collect();
        hosted.sort_unstable_by(|a, b| (a.newest, &a.tenant).cmp(&(b.newest, &b.tenant)));
        hosted.into_iter().find_map(|tenant| {
            let takes = |it: &&Candidate| it.did != *own && tenant.may_go_to(it, load);
            let best = nodes.iter().filter(takes).min_by_key(|it| tenant.rank(it, nodes))?;
            Some(Proposal { tenant: tenant.tenant.clone(), to: best.did.clone() })
        })
    }

    /// A tenant was handed over.
    pub fn moved(&mut self, now: Timestamp) {
        self.moves.retain(|at| now.since(*at) < DAY);
        self.moves.push(now);
    }
}

impl Hosted {
    /// Whether `node` may have it, and whether that relieves a primary with this load.
    fn may_go_to(&self, node: &Candidate, load: Load) -> bool {
        let is_backup = self.backups.contains(&node.did);
        let relieves = load.space <= LOAD_FULL || !is_backup;
        let has_place = is_backup || self.backups.len() < BACKUPS_MAX;
        node.fits(self.residency) && node.load_score < LOAD_TAKES && relieves && has_place
    }

    /// Those that have a whole copy come first, so that little has to travel; then those that leave the tenant spread over
    /// regions, where it wants that, and operators; then the less busy.
    fn rank(&self, node: &Candidate, nodes: &[Candidate]) -> (bool, bool, bool, u8, Did) {
        let others = || nodes.iter().filter(|it| it.did != node.did && self.backups.contains(&it.did));
        let same_region = others().any(|it| it.region == node.region);
        let same_operator = others().any(|it| it.operator == node.operator);
        (
            !self.copies.contains(&node.did),
            self.strategy == Strategy::GeoDistributed && same_region,
            same_operator,
            node.load_score,
            node.did.clone(),
        )
    }
}
