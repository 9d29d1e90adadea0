//! Clearing away what a deleted account leaves: its repositories and its files, which are too much for one batch.

use angel_storage::AccountId;
use tokio_util::sync::CancellationToken;

use super::{Lifecycle, LifecycleError};
use crate::blocking;
use crate::tasks::TaskResult;

/// Repositories looked at together.
const PAGE: usize = 500;

impl Lifecycle {
    /// Clears away what is left of an account that is no more.
    pub(super) async fn clear_away(&self, id: AccountId) -> Result<(), LifecycleError> {
        let private = self.permissioned.clone();
        blocking::run(move || private.delete_all_blocking(id)).await?;
        let blobs = self.blobs.clone();
        blocking::run(move || blobs.delete_all_blocking(id)).await?;
        // The repository last: as long as its head is there, the next start knows that something is left.
        Ok(self.repos.delete_all(id).await?)
    }

    /// Finishes at the start what the last run did not: repositories whose account is gone are cleared away.
    pub(crate) async fn run_sweep(self, stop: CancellationToken) -> TaskResult {
        let mut after = None;
        loop {
            let (repos, accounts) = (self.repos.clone(), self.accounts.clone());
            let work = blocking::run(move || {
                let heads = repos.heads_blocking(after, PAGE)?;
                let last = heads.last().map(|head| head.contents.account);
                let mut gone = Vec::new();
                for head in heads {
                    if accounts.by_id_blocking(head.contents.account)?.is_none() {
                        gone.push(head.contents.account);
                    }
                }
                Ok::<_, LifecycleError>((last, gone))
            });
            let (last, gone) = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                looked = work => looked?,
            };
            for id in gone {
                tracing::info!(account = id.0, "what a deleted account left is cleared away");
                self.clear_away(id).await?;
            }
            match last {
                Some(last) => after = Some(last),
                None => {
                    stop.cancelled().await;
                    return Ok(());
                }
            }
        }
    }
}
