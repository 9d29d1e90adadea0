//! Letting go of what no record names, in the two steps of `angel_storage::blobs`, and of files that have no row because
//! the node stopped between the two.

use std::sync::atomic::Ordering;
use std::time::Duration;

use angel_protocol::time::Timestamp;
use angel_storage::blobs;
use angel_storage::{Batch, CommitError};
use tokio_util::sync::CancellationToken;

use super::files::Files;
use super::{BlobError, Blobs};
use crate::blocking;
use crate::clock;
use crate::tasks::TaskResult;

/// How often it is looked for what is due. What is due may wait.
const EVERY: Duration = Duration::from_mins(10);

/// What one step deals with, so that a stop need not wait for long.
const STEP: usize = 256;

/// Sweeps until told to stop. What cannot be swept now is logged and tried again: it costs room and nothing else.
pub(crate) async fn run(blobs: Blobs, stop: CancellationToken) -> TaskResult {
    stop.run_until_cancelled(async {
        if let Err(error) = blobs.remove_strays().await {
            tracing::warn!(%error, "cannot look for files that belong to nobody");
        }
        let mut due = tokio::time::interval(EVERY);
        loop {
            due.tick().await;
            if let Err(error) = blobs.sweep(clock::now()).await {
                tracing::warn!(%error, "cannot remove blobs that no record names; trying again later");
            }
        }
    })
    .await;
    Ok(())
}

impl Blobs {
    /// Deals with everything that is due.
    pub(super) async fn sweep(&self, now: Timestamp) -> Result<(), BlobError> {
        for step in [Self::sweep_rows, Self::sweep_files] {
            loop {
                let this = self.clone();
                if blocking::run(move || step(&this, now)).await? < STEP {
                    break;
                }
            }
        }
        Ok(())
    }

    fn sweep_rows(&self, now: Timestamp) -> Result<usize, BlobError> {
        let due = blobs::due_checks(&self.0.reader, now, STEP)?;
        let mut dealt_with = 0;
        for check in due {
            let mut batch = Batch::new();
            let gone = blobs::stage_check(&self.0.reader, &mut batch, check, now)?;
            match self.0.writer.commit(batch) {
                Ok(_) => dealt_with += 1,
                // A record began to name it at this very moment: the next sweep sees that.
                Err(CommitError::Conflict { .. }) if gone => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(dealt_with)
    }

    fn sweep_files(&self, now: Timestamp) -> Result<usize, BlobError> {
        let due = blobs::due_files(&self.0.reader, now, STEP)?;
        let mut batch = Batch::new();
        for file in &due {
            let _lock = self.lock(file.cid);
            if self.0.held.load(Ordering::Acquire) > 0 {
                return Ok(0);
            }
            if !blobs::is_held(&self.0.reader, file.cid)? {
                self.0.files.remove(file.cid)?;
            }
            blobs::stage_file_done(&mut batch, *file)?;
        }
        if !batch.is_empty() {
            self.0.writer.commit(batch)?;
        }
        Ok(due.len())
    }

    /// Removes files that no row names. Only before the first sweep: then no write can be under way that brings a row
    /// back.
    pub(super) async fn remove_strays(&self) -> Result<(), BlobError> {
        let this = self.clone();
        for dir in blocking::run(move || this.0.files.dirs()).await? {
            let this = self.clone();
            blocking::run(move || {
                for cid in Files::blobs_in(&dir)? {
                    let _lock = this.lock(cid);
                    if !blobs::is_held(&this.0.reader, cid)? {
                        tracing::debug!(%cid, "removing a file that belongs to nobody");
                        this.0.files.remove(cid)?;
                    }
                }
                Ok::<_, BlobError>(())
            })
            .await?;
        }
        Ok(())
    }
}
