//! Uptime: the share of expected heartbeats that came, over 30 days (NET-05).
//!
//! Counted by day, so that a window of 30 days costs 30 small rows. Time in which this observer itself was not
//! listening is neither expected nor received: a node is not blamed for its observer's sleep.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

const DAY_MS: u64 = 24 * 3600 * 1000;

/// Days in the window.
const DAYS: u64 = 30;

/// The record of one node at one observer.
///
/// What each heartbeat touches comes first, for the sake of those who keep many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(C)]
pub struct Uptime {
    /// Up to when time has been counted as expected.
    counted_to: Timestamp,
    /// When the last heartbeat was counted as received.
    received_at: Timestamp,
    today: Day,
    /// The days before, oldest first. Seldom changed, so it has no room to grow.
    past: Box<[Day]>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Day {
    day: u32,
    expected_ms: u32,
    received: u32,
}

impl Day {
    fn add(&mut self, expected_ms: u64) {
        self.expected_ms = self.expected_ms.saturating_add(u32::try_from(expected_ms).unwrap_or(u32::MAX));
    }
}

impl Uptime {
    /// What each heartbeat touches, from the start of the structure.
    #[cfg(test)]
    pub(super) const HOT_BYTES: usize = std::mem::offset_of!(Self, past);

    /// Counts from `now` on.
    #[must_use]
    pub fn starting(now: Timestamp) -> Self {
        let today = Day { day: day_of(now.as_millis()), ..Day::default() };
        Self { today, past: Box::default(), counted_to: now, received_at: now }
    }

    /// Leaves out the time up to `now`: this observer was not listening.
    pub fn resume(&mut self, now: Timestamp) {
        self.counted_to = now;
        self.received_at = now;
    }

    /// A heartbeat came. Those closer than four fifths of an interval to the one before do not count: no honest shift
    /// is larger, and sending more often does not make a node more alive.
    pub fn heartbeat(&mut self, now: Timestamp, interval: Duration) {
        self.pass(now);
        if now.since(self.received_at) * 5 >= interval * 4 {
            self.today.received = self.today.received.saturating_add(1);
            self.received_at = now;
        }
    }

    /// Received by expected heartbeats in basis points, at most 10,000.
    #[must_use]
    pub fn basis_points(&self, now: Timestamp, interval: Duration) -> u16 {
        let mut counted = self.clone();
        counted.pass(now);
        let days = || counted.past.iter().chain([&counted.today]);
        let expected_ms: u64 = days().map(|day| u64::from(day.expected_ms)).sum();
        let received: u64 = days().map(|day| u64::from(day.received)).sum();
        let interval_ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
        // The heartbeat that is due but not late is not missing.
        let expected_ms = expected_ms.saturating_sub(interval_ms);
        let received_ms = received.saturating_mul(interval_ms);
        let share = received_ms.saturating_mul(10_000).checked_div(expected_ms).unwrap_or(10_000);
        u16::try_from(share.min(10_000)).unwrap_or(10_000)
    }

    /// Counts the time up to `now` as expected, day by day.
    fn pass(&mut self, now: Timestamp) {
        let (from, to) = (self.counted_to.as_millis(), now.as_millis());
        if to <= from {
            return;
        }
        self.counted_to = now;
        if day_of(from) == self.today.day && day_of(to) == self.today.day {
            self.today.add(to - from);
        } else {
            self.pass_days(from, to);
        }
    }

    /// Apart, so that the usual case does not read the past.
    #[cold]
    fn pass_days(&mut self, mut from: u64, to: u64) {
        // A gap longer than the window leaves nothing of it but its last days.
        from = from.max(to.saturating_sub((DAYS + 1) * DAY_MS));
        while from < to {
            let end = ((from / DAY_MS + 1) * DAY_MS).min(to);
            self.turn_to(day_of(from));
            self.today.add(end - from);
            from = end;
        }
    }

    fn turn_to(&mut self, day: u32) {
        if day > self.today.day {
            let today = std::mem::replace(&mut self.today, Day { day, ..Day::default() });
            let past = self.past.iter().copied().chain([today]);
            self.past = past.filter(|past| u64::from(past.day) + DAYS > u64::from(day)).collect();
        }
    }
}

/// The number of a day; the calendar ends long before the numbers do.
fn day_of(at_ms: u64) -> u32 {
    u32::try_from(at_ms / DAY_MS).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(30);
    const START: Timestamp = Timestamp::from_millis(20_000 * DAY_MS + 7);

    fn beat(uptime: &mut Uptime, from: Timestamp, times: u64, every: Duration) -> Timestamp {
        (1..=times).fold(from, |at, _| {
            let at = at + every;
            uptime.heartbeat(at, INTERVAL);
            at
        })
    }

    #[test]
    fn a_node_that_never_misses_has_all_of_it() {
        let mut uptime = Uptime::starting(START);
        assert_eq!(uptime.basis_points(START, INTERVAL), 10_000);
        let end = beat(&mut uptime, START, 40 * 2880, INTERVAL);
        assert_eq!(uptime.basis_points(end, INTERVAL), 10_000);
        assert!(uptime.past.len() < 30, "{}", uptime.past.len());
    }

    #[test]
    fn every_second_one_is_half() {
        let mut uptime = Uptime::starting(START);
        let end = beat(&mut uptime, START, 2880, 2 * INTERVAL);
        assert!(uptime.basis_points(end, INTERVAL).abs_diff(5_000) < 5);
    }

    #[test]
    fn sending_more_often_gains_little() {
        let mut uptime = Uptime::starting(START);
        let middle = beat(&mut uptime, START, 6 * 600, INTERVAL / 6);
        let end = middle + 600 * INTERVAL;
        assert!(uptime.basis_points(end, INTERVAL) <= 6_250);
    }

    #[test]
    fn old_days_are_forgotten_and_silence_counts() {
        let mut uptime = Uptime::starting(START);
        let lived = beat(&mut uptime, START, 2880, INTERVAL);
        let later = lived + Duration::from_millis(15 * DAY_MS);
        assert!(uptime.basis_points(later, INTERVAL).abs_diff(625) < 20);
        assert_eq!(uptime.basis_points(lived + Duration::from_millis(32 * DAY_MS), INTERVAL), 0);
    }

    #[test]
    fn the_observers_own_sleep_is_left_out() {
        let mut uptime = Uptime::starting(START);
        let lived = beat(&mut uptime, START, 2880, INTERVAL);
        let back = lived + Duration::from_millis(5 * DAY_MS);
        uptime.resume(back);
        let end = beat(&mut uptime, back, 2880, INTERVAL);
        assert_eq!(uptime.basis_points(end, INTERVAL), 10_000);
    }
}
