//! The wall clock, as a value.

use std::time::{SystemTime, UNIX_EPOCH};

use angel_protocol::time::Timestamp;

/// The time by this machine's clock. A clock set before 1970 reads as 1970.
#[must_use]
pub fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}
