//! Removes what is in force no longer, some rows at a time: contents that an import replaced or that never came into
//! force, and blocks that were kept for exports.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use angel_storage::blobs::{Absent, Naming, stage_refs};
use angel_storage::repos::{self, Contents, Order, Swept};
use angel_storage::{AccountId, Batch, CommitError};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::write::blobs_of;
use super::{RepoError, Repos};
use crate::tasks::TaskResult;
use crate::{blocking, clock};

/// Rows removed at a time: a few milliseconds of the writer's time.
const SWEEP_ROWS: usize = 2000;

/// What waits to be swept. What is only here is found again at the next start.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    wake: Notify,
}

#[derive(Default)]
struct Waiting {
    now: VecDeque<Work>,
    /// Until the exports of the account have ended.
    later: BTreeSet<Contents>,
}

#[derive(Clone, Copy)]
enum Work {
    Leftover(Contents),
    Retained(Contents),
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Contents are in force no longer, or will never be.
    pub(super) fn leftover(&self, contents: Contents) {
        self.waiting().now.push_back(Work::Leftover(contents));
        self.wake.notify_one();
    }

    /// Blocks that were kept for exports are of no use any more.
    pub(super) fn retained(&self, contents: Contents) {
        self.waiting().now.push_back(Work::Retained(contents));
        self.wake.notify_one();
    }

    /// An export has ended: what it kept from being swept is looked at again.
    pub(super) fn export_ended(&self, account: AccountId) {
        let mut waiting = self.waiting();
        let now: Vec<_> = waiting.later.iter().filter(|contents| contents.account == account).copied().collect();
        for contents in now {
            waiting.later.remove(&contents);
            waiting.now.push_back(Work::Leftover(contents));
            self.wake.notify_one();
        }
    }

    /// The next thing to do. [`Self::done`] follows.
    fn take(&self) -> Option<Work> {
        self.waiting().now.front().copied()
    }

    fn done(&self) {
        self.waiting().now.pop_front();
    }
}

impl Repos {
    /// Finds what an earlier run has left behind. Call it before anything else is done, and once. Blocks.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub fn recover(&self) -> Result<(), RepoError> {
        let shared = &self.shared;
        loop {
            let mut batch = Batch::new();
            let swept = repos::drop_retained(&shared.reader, &mut batch, None, SWEEP_ROWS)?;
            if !batch.is_empty() {
                shared.writer.commit(batch)?;
            }
            if swept == Swept::All {
                break;
            }
        }
        repos::leftovers(&shared.reader)?.into_iter().for_each(|contents| shared.leftovers.leftover(contents));
        Ok(())
    }

    /// Sweeps until told to stop.
    pub async fn run_sweeper(self, stop: CancellationToken) -> TaskResult {
        loop {
            while let Some(work) = self.shared.leftovers.take() {
                tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    swept = self.sweep(work) => swept?,
                }
                self.shared.leftovers.done();
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = self.shared.leftovers.wake.notified() => {}
            }
        }
    }

    /// Whether something waits that could be swept now.
    #[cfg(test)]
    pub(super) fn is_sweeping(&self) -> bool {
        !self.shared.leftovers.waiting().now.is_empty()
    }

    async fn sweep(&self, work: Work) -> Result<(), RepoError> {
        match work {
            Work::Leftover(contents) => self.sweep_leftover(contents).await,
            Work::Retained(contents) => self.drop_retained(contents).await,
        }
    }

    async fn sweep_leftover(&self, contents: Contents) -> Result<(), RepoError> {
        let slot = self.shared.cache.slot(contents.account);
        {
            let mut waiting = self.shared.leftovers.waiting();
            // Exports of these contents began before they went out of force, so no new one comes.
            if slot.is_exported() {
                waiting.later.insert(contents);
                return Ok(());
            }
        }
        self.drop_references(contents).await?;
        loop {
            let repos = self.clone();
            let (batch, swept) = blocking::run(move || {
                let mut batch = Batch::new();
                let swept = repos::sweep(&repos.shared.reader, &mut batch, contents, SWEEP_ROWS)?;
                Ok::<_, RepoError>((batch, swept))
            })
            .await?;
            self.commit(batch).await?;
            if swept == Swept::All {
                return Ok(());
            }
        }
    }

    /// Takes back the references to blobs by records of `contents` that the contents in force do not have as well. Under
    /// the account's lock, page by page, so that no write adds one meanwhile.
    async fn drop_references(&self, contents: Contents) -> Result<(), RepoError> {
        let slot = self.shared.cache.slot(contents.account);
        let mut next = Some(String::new());
        while let Some(first) = next {
            let _open = Arc::clone(&slot.open).lock_owned().await;
            slot.settled().await?;
            let repos = self.clone();
            let batch;
            (batch, next) = blocking::run(move || repos.stage_references(contents, &first)).await?;
            self.commit(batch).await?;
        }
        Ok(())
    }

    /// One page of [`Self::drop_references`]; also answers where the next begins. Blocks.
    fn stage_references(&self, contents: Contents, first: &str) -> Result<(Batch, Option<String>), RepoError> {
        let reader = &self.shared.reader;
        let in_force = repos::contents(reader, contents.account)?;
        let mut batch = Batch::new();
        let mut scan = repos::records(reader, contents, first, None, Order::Ascending);
        for seen in 0.. {
            let Some((path, record)) = scan.next(SWEEP_ROWS)? else { break };
            if seen >= SWEEP_ROWS || batch.rows() >= SWEEP_ROWS {
                return Ok((batch, Some(path)));
            }
            let gone = blobs_of(&record.bytes);
            let Ok(parsed) = path.parse() else { continue };
            if gone.is_empty() {
                continue;
            }
            let present = in_force.map(|in_force| repos::record(reader, in_force, &path)).transpose()?.flatten();
            let present = present.map(|record| blobs_of(&record.bytes)).unwrap_or_default();
            let gone: Vec<_> =
                gone.into_iter().filter(|gone| present.iter().all(|blob| blob.cid != gone.cid)).collect();
            let (rev, now) = (record.rev, clock::now());
            let naming = Naming { account: contents.account, path: &parsed, rev, now, absent: Absent::Note };
            stage_refs(reader, &mut batch, naming, &[], &gone)?;
        }
        Ok((batch, None))
    }

    /// Under the account's lock, so that no export begins meanwhile.
    async fn drop_retained(&self, contents: Contents) -> Result<(), RepoError> {
        let slot = self.shared.cache.slot(contents.account);
        let _open = Arc::clone(&slot.open).lock_owned().await;
        if slot.is_exported() {
            // The last of them comes here again.
            return Ok(());
        }
        slot.settled().await?;
        slot.set_retained(false);
        loop {
            let repos = self.clone();
            let (batch, swept) = blocking::run(move || {
                let mut batch = Batch::new();
                let swept = repos::drop_retained(&repos.shared.reader, &mut batch, Some(contents), SWEEP_ROWS)?;
                Ok::<_, RepoError>((batch, swept))
            })
            .await?;
            self.commit(batch).await?;
            if swept == Swept::All {
                return Ok(());
            }
        }
    }

    /// Writes a batch and waits until it is durable.
    pub(super) async fn commit(&self, batch: Batch) -> Result<(), RepoError> {
        if batch.is_empty() {
            return Ok(());
        }
        let writer = self.shared.writer.clone();
        let committed = blocking::answered(move |answer| {
            writer.submit_blocking(batch, move |outcome| {
                // Whoever asked may have gone; the batch stands.
                let _ = answer.send(outcome);
            });
        });
        committed.await.unwrap_or(Err(CommitError::Closed))?;
        Ok(())
    }
}
