//! Whether this node takes a tenant off a full one (`network.md` 4.6). Every full node chooses for itself, and several may
//! choose the same target at the same moment: so it is the target that lets them come one by one.

use std::time::Duration;

use super::Declined;
use super::rebalance::{DAY, LOAD_TAKES, Load, MOVES_PER_DAY};
use crate::ids::Did;
use crate::time::Timestamp;

/// For how long a tenant counts as on its way once it was promised a place: as long as a large one takes to be copied.
const UNDER_WAY: Duration = Duration::from_hours(6);

/// What a node remembers of tenants that it has taken, or promised to take, within a day: never more than three.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Intake {
    promised: Vec<(Timestamp, Did)>,
}

impl Intake {
    /// Of a node to which these tenants moved at these times: what came before it was started anew counts as well.
    #[must_use]
    pub fn new(mut arrived: Vec<(Timestamp, Did)>) -> Self {
        arrived.sort_unstable_by(|a, b| b.cmp(a));
        arrived.truncate(MOVES_PER_DAY);
        Self { promised: arrived }
    }

    /// A full node asks at `now` whether `tenant` may come to this one, whose load is `own`; `is_here` tells of which
    /// tenants it is primary. Asked twice for one tenant, the answer is the same.
    ///
    /// # Errors
    /// [`Declined::Busy`] and [`Declined::Taking`].
    pub fn asked(
        &mut self,
        now: Timestamp,
        tenant: &Did,
        own: Load,
        is_here: impl Fn(&Did) -> bool,
    ) -> Result<(), Declined> {
        if own.score() >= LOAD_TAKES {
            return Err(Declined::Busy);
        }
        self.promised.retain(|(at, _)| now.since(*at) < DAY);
        let mut others = self.promised.iter().filter(|(_, other)| other != tenant);
        if others.any(|(at, other)| now.since(*at) < UNDER_WAY && !is_here(other)) {
            return Err(Declined::Taking);
        }
        if self.promised.iter().any(|(_, known)| known == tenant) {
            return Ok(());
        }
        if self.promised.len() >= MOVES_PER_DAY {
            return Err(Declined::Taking);
        }
        self.promised.push((now, tenant.clone()));
        Ok(())
    }
}
