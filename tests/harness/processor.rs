//! Time on the processor, which says something even on a machine that others use too.

use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Pid;

/// What all threads of this process have used, those that have ended among them, from Linux; zero elsewhere.
#[must_use]
pub fn time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    read(&stat).unwrap_or_default()
}

/// The same of another process.
///
/// # Errors
/// It is gone, or this is no Linux.
pub fn of(pid: Pid) -> Result<Duration> {
    let path = format!("/proc/{}/stat", pid.as_raw_nonzero());
    let stat = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    read(&stat).context(path)
}

fn read(stat: &str) -> Option<Duration> {
    // The name of the process comes before the last parenthesis; user and system time are fields 14 and 15.
    let fields = stat.rsplit(')').next()?.split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Some(Duration::from_millis(ticks * 1_000 / rustix::param::clock_ticks_per_second()))
}
