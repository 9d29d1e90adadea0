//! How far back the log goes: events older than the window are removed, unless another reader of the log still needs
//! them.

use std::sync::atomic::Ordering;
use std::time::Duration;

use angel_protocol::time::Timestamp;
use angel_storage::cursors::{self, CursorRow};
use angel_storage::events::TrimError;
use angel_storage::reader::ReadError;
use angel_storage::{Batch, CommitError, Reader, events};
use tokio_util::sync::CancellationToken;

use super::{Firehose, cursor};
use crate::blocking;
use crate::clock;
use crate::tasks::TaskResult;

/// The row that says how far the log was trimmed, in the table of cursors but no reader.
const TRIMMED: (&str, &str) = ("trimmed", "events");

/// Events that one batch removes: each may have more than a hundred rows.
const STEP: usize = 100;

/// How often it is looked for what is too old: a tenth of the window, within these.
const EVERY_MIN: Duration = Duration::from_secs(1);
const EVERY_MAX: Duration = Duration::from_mins(10);

/// Up to which sequence events are gone.
pub(super) fn trimmed(reader: &Reader) -> Result<u64, ReadError> {
    cursors::get(reader, TRIMMED.0, TRIMMED.1)
}

/// Trims until told to stop.
pub(crate) async fn run(firehose: Firehose, stop: CancellationToken) -> TaskResult {
    let mut due = tokio::time::interval((firehose.0.backfill / 10).clamp(EVERY_MIN, EVERY_MAX));
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = due.tick() => {}
        }
        loop {
            let this = firehose.clone();
            match blocking::run(move || this.trim(clock::now())).await {
                Ok(true) if !stop.is_cancelled() => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(%error, "cannot remove old events; trying again later");
                    break;
                }
            }
        }
    }
}

impl Firehose {
    /// Removes some of what is too old; answers whether there may be more. Blocks.
    pub(super) fn trim(&self, now: Timestamp) -> Result<bool, TrimFailed> {
        let (reader, shared) = (&self.0.reader, &self.0);
        if let Some(batch) = shared.gone.forget(now - shared.backfill).map_err(TrimError::from)? {
            shared.writer.commit(batch)?;
        }
        let mut last = cursor::last_before(reader, now - shared.backfill)?;
        if let Some(needed) = cursors::least(reader, TRIMMED.0)? {
            last = last.min(needed);
        }
        let before = shared.trimmed.load(Ordering::Acquire);
        if last <= before {
            return Ok(false);
        }
        let mut batch = Batch::new();
        let Some(reached) = events::trim(reader, &mut batch, last + 1, STEP)? else { return Ok(false) };
        let row = CursorRow { sequence: reached, at: now };
        cursors::set(&mut batch, TRIMMED.0, TRIMMED.1, row).map_err(TrimError::from)?;
        // Followers behind it are told before the events go.
        shared.trimmed.store(reached, Ordering::Release);
        shared.writer.commit(batch)?;
        Ok(reached < last)
    }
}

/// Why old events could not be removed.
#[derive(Debug, thiserror::Error)]
pub(super) enum TrimFailed {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Trim(#[from] TrimError),
    #[error(transparent)]
    Commit(#[from] CommitError),
}
