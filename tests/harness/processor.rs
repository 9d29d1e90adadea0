//! Time on the processor, which says something even on a machine that others use too.

use std::time::Duration;

/// What all threads of this process have used, those that have ended among them, from Linux; zero elsewhere.
#[must_use]
pub fn time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name of the process comes before the last parenthesis; user and system time are fields 14 and 15.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 1_000 / rustix::param::clock_ticks_per_second())
}
