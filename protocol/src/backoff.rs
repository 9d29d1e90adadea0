//! How long to wait before trying again: exponential backoff with full jitter.
//!
//! One policy for peers, providers, webhooks, name lookups and storage (`rules.md` SLF-01). The wait before the n-th try
//! in a row is drawn uniformly from zero to the n-th step, so that many nodes that lost the same peer do not return to
//! it together. The caller draws the random number and says what time it is.

use std::time::Duration;

use crate::time::Timestamp;

/// The figures of a backoff.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The first step.
    pub base: Duration,
    /// No step is longer.
    pub ceiling: Duration,
    /// Success that lasted this long makes the next failure the first one again.
    pub reset_after: Duration,
}

impl Default for Policy {
    /// SLF-01: 1 s, doubled up to 300 s, forgotten after 60 s of success.
    fn default() -> Self {
        Self { base: Duration::from_secs(1), ceiling: Duration::from_secs(300), reset_after: Duration::from_secs(60) }
    }
}

/// The memory of one thing that is tried again and again.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    policy: Policy,
    failures: u32,
    succeeded_at: Option<Timestamp>,
}

impl Backoff {
    /// Nothing tried yet.
    #[must_use]
    pub const fn new(policy: Policy) -> Self {
        Self::resumed(policy, 0, None)
    }

    /// One that was kept elsewhere meanwhile: what [`Self::failures`] and [`Self::succeeded_at`] said.
    #[must_use]
    pub const fn resumed(policy: Policy, failures: u32, succeeded_at: Option<Timestamp>) -> Self {
        Self { policy, failures, succeeded_at }
    }

    /// Failures since the last success that lasted.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// When tries began to succeed, if the last one did.
    #[must_use]
    pub const fn succeeded_at(&self) -> Option<Timestamp> {
        self.succeeded_at
    }

    /// The current step: the longest wait that [`Self::failed`] may have answered last. Zero before any failure.
    #[must_use]
    pub fn step(&self) -> Duration {
        match self.failures.checked_sub(1) {
            None => Duration::ZERO,
            Some(doublings) => {
                let factor = 1u32.checked_shl(doublings).unwrap_or(u32::MAX);
                self.policy.base.saturating_mul(factor).min(self.policy.ceiling)
            }
        }
    }

    /// A try succeeded. What was counted stays until the success has lasted.
    pub const fn succeeded(&mut self, now: Timestamp) {
        if self.succeeded_at.is_none() {
            self.succeeded_at = Some(now);
        }
    }

    /// A try failed, or what had succeeded was lost. Answers how long to wait before the next try: a time between zero
    /// and the step, chosen by `random`, which the caller draws uniformly from all of `u64`.
    #[must_use]
    pub fn failed(&mut self, now: Timestamp, random: u64) -> Duration {
        if let Some(since) = self.succeeded_at.take()
            && now.since(since) >= self.policy.reset_after
        {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        let step = u64::try_from(self.step().as_millis()).unwrap_or(u64::MAX);
        // The high half of the product maps the range of `random` onto 0..=step without a bias worth the name.
        let wait = (u128::from(random) * (u128::from(step) + 1)) >> 64;
        Duration::from_millis(u64::try_from(wait).expect("the high half of a product of two 64-bit numbers"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_000_000);

    #[test]
    fn steps_double_up_to_the_ceiling() {
        let mut backoff = Backoff::new(Policy::default());
        assert_eq!(backoff.step(), Duration::ZERO);
        let steps: Vec<u64> = (0..11)
            .map(|_| {
                let wait = backoff.failed(START, u64::MAX);
                assert_eq!(wait, backoff.step(), "the largest random number asks for the whole step");
                wait.as_secs()
            })
            .collect();
        assert_eq!(steps, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    }

    #[test]
    fn jitter_reaches_from_zero_to_the_step() {
        let mut backoff = Backoff::new(Policy::default());
        for _ in 0..4 {
            assert_eq!(backoff.failed(START, 0), Duration::ZERO);
        }
        assert_eq!(backoff.failed(START, u64::MAX / 2), Duration::from_secs(8));
    }

    #[test]
    fn only_a_success_that_lasts_resets() {
        let mut backoff = Backoff::new(Policy::default());
        for _ in 0..5 {
            let _ = backoff.failed(START, 0);
        }
        backoff.succeeded(START);
        let _ = backoff.failed(START + Duration::from_secs(59), 0);
        assert_eq!(backoff.failures(), 6, "59 s of success are too few");
        backoff.succeeded(START);
        backoff.succeeded(START + Duration::from_secs(59));
        let _ = backoff.failed(START + Duration::from_secs(60), 0);
        assert_eq!(backoff.failures(), 1, "60 s of success reset, counted from their beginning");
    }

    proptest! {
        #[test]
        fn no_wait_exceeds_its_step_or_the_ceiling(randoms in prop::collection::vec(any::<u64>(), 1..200)) {
            let policy = Policy::default();
            let mut backoff = Backoff::new(policy);
            for random in randoms {
                let wait = backoff.failed(START, random);
                prop_assert!(wait <= backoff.step() && backoff.step() <= policy.ceiling);
            }
        }
    }
}
