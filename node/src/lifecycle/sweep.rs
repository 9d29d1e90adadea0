//! Clearing away what a deleted account leaves: its repositories and its files, which are too much for one batch. And
//! deleting accounts whose owners switched them off until a day that has come.

use std::time::Duration;

use angel_protocol::time::Timestamp;
use angel_storage::AccountId;
use tokio_util::sync::CancellationToken;

use super::{Lifecycle, LifecycleError};
use crate::accounts::Account;
use crate::tasks::TaskResult;
use crate::{blocking, clock};

/// Repositories, and accounts, looked at together.
const PAGE: usize = 500;

/// How often it is looked whether an account is to be deleted. Owners name a day, not a minute.
const DUE_EVERY: Duration = Duration::from_mins(10);

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
                None => return self.run_deletions(stop).await,
            }
        }
    }

    /// Deletes accounts whose day has come, until stopped.
    async fn run_deletions(self, stop: CancellationToken) -> TaskResult {
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                deleted = self.delete_due(clock::now()) => drop(deleted?),
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(DUE_EVERY) => {}
            }
        }
    }

    /// Deletes the accounts that are switched off and were to be deleted by `now`, and answers how many they were. One
    /// that another node writes by now is left to that node.
    ///
    /// # Errors
    /// The accounts cannot be read. What becomes of one of them is no error of the others.
    pub(super) async fn delete_due(&self, now: Timestamp) -> Result<usize, LifecycleError> {
        let mut deleted = 0;
        let mut after = None;
        loop {
            let accounts = self.accounts.clone();
            let (page, more) = blocking::run(move || accounts.page_blocking(after, PAGE)).await?;
            after = page.last().map(Account::id);
            for account in page.iter().filter(|account| is_due(account, now)) {
                let id = account.id();
                let Ok(_leave) = self.repos.may_write(id).await else { continue };
                tracing::info!(did = %account.did(), "an account is deleted, as its owner asked when switching it off");
                match self.delete(id).await {
                    Ok(()) => deleted += 1,
                    Err(error) => tracing::error!(did = %account.did(), %error, "an account could not be deleted"),
                }
            }
            if !more || after.is_none() {
                return Ok(deleted);
            }
        }
    }
}

fn is_due(account: &Account, now: Timestamp) -> bool {
    let Some(deactivated) = &account.row().deactivated else { return false };
    deactivated.delete_after.is_some_and(|due| due <= now)
}
