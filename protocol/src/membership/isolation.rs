//! Am I the one who is cut off? (NET-08)
//!
//! A node that sees fewer than a third of the nodes it knew ten minutes ago must assume that it is itself cut off. Read
//! to the letter the rule would end by itself after ten minutes of isolation, when "ten minutes ago" was already lonely.
//! So while isolated, the count to compare with stands still; isolation ends when enough nodes are seen again, or when
//! the operator says that the others are gone for good.

use std::collections::VecDeque;

use crate::time::Timestamp;

/// Samples kept of the window.
const SAMPLES: u32 = 10;

/// The rule's memory.
#[derive(Clone, Debug)]
pub(super) struct Isolation {
    /// How many nodes were seen and when, oldest first: at most [`SAMPLES`] and the current one.
    seen: VecDeque<(Timestamp, usize)>,
    next_sample: Timestamp,
    every: std::time::Duration,
    isolated: bool,
}

impl Isolation {
    /// Starts with what was seen when this observer last ran.
    pub(super) fn starting(now: Timestamp, window: std::time::Duration, seen_before: usize) -> Self {
        let every = window / SAMPLES;
        Self { seen: VecDeque::from([(now, seen_before)]), next_sample: now + every, every, isolated: false }
    }

    pub(super) const fn is_isolated(&self) -> bool {
        self.isolated
    }

    pub(super) const fn next_sample(&self) -> Timestamp {
        self.next_sample
    }

    /// Takes a sample when one is due. The window stands still while isolated.
    pub(super) fn sample(&mut self, now: Timestamp, seen: usize) {
        if now < self.next_sample {
            return;
        }
        self.next_sample = now + self.every;
        if !self.isolated {
            self.seen.push_back((now, seen));
            while self.seen.len() > SAMPLES as usize + 1 {
                self.seen.pop_front();
            }
        }
    }

    /// Brings the next sample forward after the clock went back.
    pub(super) fn not_later_than(&mut self, now: Timestamp) {
        self.next_sample = self.next_sample.min(now + self.every);
    }

    /// When the nodes were counted that the present ones are compared with: whoever is younger does not count now. The
    /// start, for as long as the count is that of an earlier run.
    pub(super) fn compared_with(&self) -> Option<Timestamp> {
        self.seen.front().map(|(at, _)| *at)
    }

    /// Judges anew, given how many of the nodes known back then are seen now. True when the verdict changed.
    pub(super) fn judge(&mut self, seen: usize) -> bool {
        let known = self.seen.front().map_or(0, |(_, seen)| *seen);
        let isolated = seen.saturating_mul(3) < known;
        std::mem::replace(&mut self.isolated, isolated) != isolated
    }

    /// Takes what is seen now for all there is.
    pub(super) fn accept(&mut self, now: Timestamp, seen: usize) {
        self.seen = VecDeque::from([(now, seen)]);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const WINDOW: Duration = Duration::from_secs(600);

    fn minutes(isolation: &mut Isolation, from: u64, to: u64, seen: usize) {
        for minute in from..to {
            isolation.sample(Timestamp::from_millis(minute * 60_000), seen);
            isolation.judge(seen);
        }
    }

    #[test]
    fn fewer_than_a_third_is_isolation_and_lasts() {
        let mut isolation = Isolation::starting(Timestamp::EPOCH, WINDOW, 0);
        minutes(&mut isolation, 1, 30, 9);
        assert!(!isolation.is_isolated());
        assert!(!isolation.judge(3), "a third is enough");
        assert!(isolation.judge(2));
        minutes(&mut isolation, 30, 300, 2);
        assert!(isolation.is_isolated(), "it does not pass by waiting");
        assert!(isolation.judge(3));
        assert!(!isolation.is_isolated());
    }

    #[test]
    fn a_slow_decline_is_no_isolation() {
        let mut isolation = Isolation::starting(Timestamp::EPOCH, WINDOW, 0);
        for (round, seen) in (1..=90).rev().enumerate() {
            let from = 1 + 11 * round as u64;
            minutes(&mut isolation, from, from + 11, seen);
            assert!(!isolation.is_isolated(), "{seen}");
        }
    }

    #[test]
    fn after_a_restart_the_others_must_be_seen_first() {
        let mut isolation = Isolation::starting(Timestamp::EPOCH, WINDOW, 5);
        assert!(isolation.judge(0) && isolation.is_isolated());
        assert!(isolation.judge(2) && !isolation.is_isolated());
    }

    #[test]
    fn an_operator_may_accept_the_absence() {
        let mut isolation = Isolation::starting(Timestamp::EPOCH, WINDOW, 5);
        isolation.judge(0);
        isolation.accept(Timestamp::EPOCH, 0);
        assert!(isolation.judge(0) && !isolation.is_isolated());
    }
}
