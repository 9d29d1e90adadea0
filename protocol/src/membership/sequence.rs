//! Sequence numbers that never fall, not even across a crash (`network.md` 1.4).
//!
//! A number may be used only after a number above it has been made durable. So that not every heartbeat waits for the
//! disk, numbers are reserved in blocks; a crash wastes the rest of a block, which costs nothing.

use crate::limits::SEQUENCE_MAX;

/// The numbers this node signs with.
#[derive(Clone, Debug)]
pub(super) struct Sequence {
    next: u64,
    reserved: u64,
    asked: u64,
    block: u64,
}

impl Sequence {
    /// Continues behind `high_water`, the first number that was never reserved before.
    pub(super) fn after(high_water: u64, block: u64) -> Self {
        let next = high_water.max(1);
        Self { next, reserved: high_water, asked: high_water, block: block.max(1) }
    }

    /// The next number, when it is reserved.
    pub(super) fn take(&mut self) -> Option<u64> {
        (self.next < self.reserved && self.next <= SEQUENCE_MAX).then(|| {
            self.next += 1;
            self.next - 1
        })
    }

    /// The first number this process has not used.
    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    /// What to reserve now: a block, when less than a quarter of one is left. With `again`, also what was asked for
    /// and never granted.
    pub(super) fn wanted(&mut self, again: bool) -> Option<u64> {
        let low = self.reserved.saturating_sub(self.next) < self.block.div_ceil(4);
        let pending = self.asked > self.reserved;
        if !low || (pending && !again) {
            return None;
        }
        self.asked = self.next.saturating_add(self.block);
        Some(self.asked)
    }

    /// Numbers below `up_to` are durably reserved.
    pub(super) fn reserved(&mut self, up_to: u64) {
        self.reserved = self.reserved.max(up_to);
    }

    /// Moves past a number seen in use elsewhere.
    pub(super) fn move_past(&mut self, seen: u64) {
        self.next = self.next.max(seen.saturating_add(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_is_used_before_it_is_reserved() {
        let mut sequence = Sequence::after(0, 8);
        assert_eq!(sequence.take(), None);
        assert_eq!(sequence.wanted(false), Some(9));
        assert_eq!((sequence.wanted(false), sequence.take()), (None, None));
        assert_eq!(sequence.wanted(true), Some(9));
        sequence.reserved(9);
        let taken: Vec<u64> = std::iter::from_fn(|| sequence.take()).collect();
        assert_eq!(taken, (1..9).collect::<Vec<_>>());
    }

    #[test]
    fn the_next_block_is_asked_for_in_time() {
        let mut sequence = Sequence::after(0, 8);
        let first = sequence.wanted(false).expect("empty");
        sequence.reserved(first);
        while sequence.wanted(false).is_none() {
            assert!(sequence.take().is_some(), "asks before it runs dry");
        }
        assert!(sequence.take().is_some(), "some are left while the disk works");
    }

    #[test]
    fn a_restart_continues_above() {
        let mut sequence = Sequence::after(1025, 1024);
        assert_eq!(sequence.wanted(false), Some(2049));
        sequence.reserved(2049);
        assert_eq!(sequence.take(), Some(1025));
        sequence.move_past(1_000_000);
        assert_eq!(sequence.take(), None);
        assert_eq!(sequence.wanted(false), Some(1_001_025));
    }
}
