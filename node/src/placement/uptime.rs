//! The clock that leases and silences are measured with.

use std::time::Duration;

use angel_protocol::time::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// A clock that never goes back, in milliseconds since it was made. What leases and silences are measured with. It runs
/// while the machine is suspended: a lease does not last longer for a laptop that was closed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Uptime(Duration);

impl Uptime {
    pub(super) fn start() -> Self {
        Self(since_boot())
    }

    /// Now; a minute in, so that there is a time before.
    pub(crate) fn now(self) -> Timestamp {
        Timestamp::EPOCH + Duration::from_mins(1) + since_boot().saturating_sub(self.0)
    }
}

fn since_boot() -> Duration {
    #[cfg(target_os = "linux")]
    const CLOCK: ClockId = ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    const CLOCK: ClockId = ClockId::Monotonic;
    // The clock counts from the start of the machine: neither part is below zero.
    let at = clock_gettime(CLOCK);
    Duration::new(at.tv_sec.unsigned_abs(), u32::try_from(at.tv_nsec).unwrap_or(0))
}
