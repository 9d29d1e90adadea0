//! The wall clock, as a value.

use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use angel_protocol::time::Timestamp;

/// The variable that has a node read its clock with so many seconds added, or taken away: for tests of networks whose
/// clocks are apart.
const OFFSET: &str = "ANGEL_CLOCK_OFFSET";

static OFFSET_SECONDS: LazyLock<i64> = LazyLock::new(|| {
    let seconds = std::env::var(OFFSET).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    if seconds != 0 {
        tracing::warn!(seconds, "{OFFSET} is set: this node does not go by its machine's clock");
    }
    seconds
});

/// The time by this machine's clock. A clock set before 1970 reads as 1970.
#[must_use]
pub fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX);
    Timestamp::from_millis(millis.saturating_add_signed(OFFSET_SECONDS.saturating_mul(1000)))
}
