//! Wallets that moved on while transactions were being judged.
//!
//! Judging reads the ledger on another thread, and heights are decided meanwhile. A transaction that was judged before
//! the one in front of it was decided, and is looked at after that, would wait for a number that is behind: nothing would
//! ever come to fill the gap. Whoever is told here that its wallet moved on is judged again.

use std::collections::{HashSet, VecDeque};

use angel_protocol::ids::Did;
use angel_protocol::ledger::Signed;

/// What was decided since the oldest judging that goes on began. Bounded by the heights of that time.
#[derive(Debug, Default)]
pub(super) struct Moved {
    /// The heights that were durable when each judging that goes on began.
    began: Vec<u64>,
    /// Heights decided since, with the wallets whose transactions they hold.
    heights: VecDeque<(u64, HashSet<Did>)>,
}

impl Moved {
    /// Judging begins; everything up to `height` is durable, so this much it sees.
    pub(super) fn begin(&mut self, height: u64) {
        self.began.push(height);
    }

    /// A height was decided, and is durable.
    pub(super) fn decided(&mut self, height: u64, transactions: &[Signed]) {
        if !self.began.is_empty() {
            let wallets = transactions.iter().map(|signed| signed.transaction().wallet.clone()).collect();
            self.heights.push_back((height, wallets));
        }
    }

    /// Whether a transaction of `wallet` was decided which judging that began at `height` may not have seen.
    pub(super) fn since(&self, height: u64, wallet: &Did) -> bool {
        self.heights.iter().any(|(decided, wallets)| *decided > height && wallets.contains(wallet))
    }

    /// Judging that began at `height` has ended, and its transactions have been looked at.
    pub(super) fn end(&mut self, height: u64) {
        if let Some(place) = self.began.iter().position(|began| *began == height) {
            self.began.swap_remove(place);
        }
        let oldest = self.began.iter().min().copied().unwrap_or(u64::MAX);
        self.heights.retain(|(decided, _)| *decided > oldest);
    }
}

#[cfg(test)]
mod tests {
    use angel_protocol::crypto::NodeKey;

    use super::*;
    use crate::ledger::samples::registration;

    fn signed(seed: u8) -> Signed {
        let key = NodeKey::from_seed(&[seed; 32]);
        registration(&key, &key, 0)
    }

    #[test]
    fn whoever_was_judged_before_its_wallet_moved_on_is_told_and_nothing_is_kept_longer() {
        let wallet = |seed| signed(seed).transaction().wallet.clone();
        let mut moved = Moved::default();
        moved.decided(1, &[signed(1)]);
        assert!(moved.heights.is_empty(), "nothing is being judged");

        moved.begin(1);
        moved.decided(2, &[signed(1), signed(2)]);
        moved.begin(2);
        moved.decided(3, &[signed(3)]);
        assert_eq!([1, 2, 3, 4].map(|seed| moved.since(1, &wallet(seed))), [true, true, true, false]);
        assert_eq!([1, 2, 3, 4].map(|seed| moved.since(2, &wallet(seed))), [false, false, true, false]);

        moved.end(1);
        assert_eq!(moved.heights.len(), 1, "only what the other may not have seen");
        assert!(moved.since(2, &wallet(3)));
        moved.begin(3);
        moved.end(2);
        assert!(moved.heights.is_empty());
        moved.decided(4, &[signed(4)]);
        assert!(moved.since(3, &wallet(4)));
        moved.end(3);
        assert!(moved.heights.is_empty() && moved.began.is_empty());
    }
}
