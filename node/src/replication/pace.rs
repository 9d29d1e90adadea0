//! The pace of copying: whatever is sent in bulk to other nodes shares one rate and a few turns, so that a tenant's first
//! copy, or twenty of them, leave the line and the disk to those who are served.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};

/// Repositories, pieces of files and stretches of rows that are sent at once; more wait for their turn.
const TURNS: usize = 4;

/// How much may be sent at once after a pause, as a time at the full rate.
const BURST: Duration = Duration::from_millis(250);

/// See the module.
#[derive(Debug)]
pub(super) struct Pace {
    /// Bytes a second.
    rate: u64,
    /// When what has been sent so far would have been sent at the rate.
    paid_until: Mutex<Instant>,
    turns: Semaphore,
}

impl Pace {
    /// At most `rate` bytes a second.
    pub(super) fn new(rate: u64) -> Self {
        Self { rate: rate.max(1), paid_until: Mutex::new(Instant::now()), turns: Semaphore::new(TURNS) }
    }

    /// Waits for a turn, which lasts as long as it is held.
    pub(super) async fn turn(&self) -> SemaphorePermit<'_> {
        self.turns.acquire().await.expect("nobody closes the semaphore")
    }

    /// Waits until so many bytes may be sent.
    pub(super) async fn send(&self, bytes: usize) {
        let wait = self.wait_at(Instant::now(), bytes);
        if wait.is_zero() { tokio::task::yield_now().await } else { tokio::time::sleep(wait).await }
    }

    fn wait_at(&self, now: Instant, bytes: usize) -> Duration {
        let mut paid_until = self.paid_until.lock().unwrap_or_else(PoisonError::into_inner);
        let from = now.checked_sub(BURST).map_or(*paid_until, |burst| burst.max(*paid_until));
        let micros = (bytes as u64).saturating_mul(1_000_000) / self.rate;
        *paid_until = from + Duration::from_micros(micros);
        from.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_of_sending_is_the_rate_and_a_pause_is_no_credit_without_end() {
        let pace = Pace::new(1_000_000);
        let mut now = Instant::now() + Duration::from_hours(1);
        let (began, mut sent) = (now, 0);
        while now < began + Duration::from_secs(2) {
            now += pace.wait_at(now, 10_000);
            sent += 10_000;
        }
        assert!((2_000_000..=2_300_000).contains(&sent), "{sent} bytes in two seconds");
    }
}
