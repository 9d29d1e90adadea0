//! How long a round waits.

use std::time::Duration;

use malachitebft_core_types::{LinearTimeouts, Timeout, TimeoutKind};

use super::context::LedgerContext;
use super::validators::{Address, ValidatorSet};

/// Waiting times of one height. Local: nodes need not agree on them, so a proposer that this node cannot reach is
/// waited for less long, and a dead validator costs little whenever its turn comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    linear: LinearTimeouts,
    /// For a proposer that seems absent.
    absent: Duration,
    /// Places in the set of those who seem absent, one bit each; there are at most 100 validators.
    absentees: u128,
    height: u64,
    validators: u32,
}

impl Timeouts {
    /// `linear` for everybody who is there, `absent` for the proposals of the others.
    #[must_use]
    pub fn new(linear: LinearTimeouts, absent: Duration, height: u64, validators: &ValidatorSet) -> Self {
        use malachitebft_core_types::ValidatorSet as _;
        let validators = u32::try_from(validators.count()).unwrap_or(u32::MAX);
        Self { linear, absent, absentees: 0, height, validators }
    }

    /// Waits less for these.
    #[must_use]
    pub fn without<'a>(mut self, validators: &ValidatorSet, absent: impl IntoIterator<Item = &'a Address>) -> Self {
        for address in absent {
            if let Some(bit) =
                validators.position(address).and_then(|place| 1_u128.checked_shl(u32::try_from(place).ok()?))
            {
                self.absentees |= bit;
            }
        }
        self
    }

    /// Whether the proposer of `round` seems absent. After everybody had a turn, all are waited for in full: then it
    /// may be this node that sees too little.
    fn is_absent(&self, round: u32) -> bool {
        if self.validators == 0 || round >= self.validators {
            return false;
        }
        let count = u64::from(self.validators);
        let place = (self.height % count + u64::from(round)) % count;
        1_u128.checked_shl(u32::try_from(place).unwrap_or(u32::MAX)).is_some_and(|bit| self.absentees & bit != 0)
    }
}

impl malachitebft_core_types::Timeouts<LedgerContext> for Timeouts {
    fn duration_for(&self, timeout: Timeout) -> Duration {
        let round = timeout.round.as_u32().unwrap_or(0);
        if timeout.kind == TimeoutKind::Propose && self.is_absent(round) {
            return self.absent;
        }
        self.linear.duration_for(timeout)
    }
}

#[cfg(test)]
mod tests {
    use malachitebft_core_types::{Round, Timeouts as _};

    use super::*;
    use crate::crypto::NodeKey;
    use crate::ledger;

    #[test]
    fn only_the_turns_of_the_absent_are_short() {
        let dids: Vec<_> = (1..=4).map(|seed| NodeKey::from_seed(&[seed; 32]).did()).collect();
        let set = ValidatorSet::new(&ledger::ValidatorSet::new(dids));
        let absent = Duration::from_millis(100);
        let dead = {
            use malachitebft_core_types::Validator as _;
            set.proposer(7, 1).address().clone()
        };
        let timeouts = Timeouts::new(LinearTimeouts::default(), absent, 7, &set).without(&set, [&dead]);
        let propose = |round| timeouts.duration_for(Timeout::propose(Round::new(round)));
        assert_eq!(propose(1), absent);
        assert!([0, 2, 3].into_iter().all(|round| propose(round) > absent));
        assert!(propose(5) > absent, "in the second turn everybody is waited for");
        assert!(timeouts.duration_for(Timeout::prevote(Round::new(1))) > absent);
    }
}
