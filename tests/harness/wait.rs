//! Waiting for what has no event of its own: another process, seen through its HTTP.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How often is looked. Short against everything that is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Looks until `probe` answers with something, and says how long that took. A scenario never waits for a time to
/// pass, only for a thing to be so.
///
/// # Errors
/// When `patience` ends first: with `what`, and the last complaint of the probe.
pub async fn until<T>(
    what: &str,
    patience: Duration,
    mut probe: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<(T, Duration)> {
    let began = Instant::now();
    let mut complaint = "not so yet".to_owned();
    loop {
        match probe().await {
            Ok(Some(found)) => return Ok((found, began.elapsed())),
            Ok(None) => {}
            Err(error) => complaint = format!("{error:#}"),
        }
        if began.elapsed() > patience {
            bail!("{what}: not within {} s ({complaint})", patience.as_secs());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
