//! When a full node hands tenants to nodes that have room (`network.md` 4.6): seldom, one at a time, and only over a
//! gap so wide that they do not come back.

use std::time::Duration;

use super::LOAD_FULL;
use crate::time::Timestamp;

/// Load below which a node takes tenants of a full one: the gap to [`LOAD_FULL`] is what keeps tenants from wandering.
const LOAD_TAKES: u8 = 60;

/// How long a node has to be full before it hands anything over.
const GRACE: Duration = Duration::from_hours(1);

/// Moves within [`DAY`].
const MOVES_PER_DAY: usize = 3;

const DAY: Duration = Duration::from_hours(24);

/// How busy a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// 0 to 100 (NET-06).
    pub score: u8,
}

/// What a node remembers of its being full.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rebalance {
    full_since: Option<Timestamp>,
    moves: Vec<Timestamp>,
}

impl Rebalance {
    /// The node's own load at `now`. A load between the two bounds changes nothing.
    pub fn measured(&mut self, now: Timestamp, load: Load) {
        match load.score {
            score if score > LOAD_FULL => drop(self.full_since.get_or_insert(now)),
            score if score < LOAD_TAKES => self.full_since = None,
            _ => {}
        }
    }

    /// Whether a tenant may be offered at `now` to a node with the load `other`.
    #[must_use]
    pub fn may_offer(&self, now: Timestamp, other: Load) -> bool {
        let full = self.full_since.is_some_and(|since| now.since(since) >= GRACE);
        let today = self.moves.iter().filter(|at| now.since(**at) < DAY).count();
        full && other.score < LOAD_TAKES && today < MOVES_PER_DAY
    }

    /// A tenant was handed over.
    pub fn moved(&mut self, now: Timestamp) {
        self.moves.retain(|at| now.since(*at) < DAY);
        self.moves.push(now);
    }
}
