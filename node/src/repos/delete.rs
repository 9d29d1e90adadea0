//! Taking a repository away.

use std::sync::Arc;

use angel_storage::repos::{self, Contents};
use angel_storage::{AccountId, Batch};

use super::{RepoError, Repos};
use crate::blocking;

/// Rows after which a batch is written before more is added.
const STAGE_ROWS: usize = 8_000;

impl Repos {
    /// Takes an account's repository away; without one, nothing happens. It is gone for readers when this returns, and
    /// swept from the disk soon after. Whoever ends the account tells followers.
    ///
    /// # Errors
    /// The store fails.
    pub async fn delete_all(&self, account: AccountId) -> Result<(), RepoError> {
        let slot = self.shared.cache.slot(account);
        let mut open = Arc::clone(&slot.open).lock_owned().await;
        slot.settled().await?;
        let repos = self.clone();
        blocking::run(move || {
            *open = None;
            let Some(contents) = repos::contents(&repos.shared.reader, account)? else { return Ok(()) };
            let mut batch = Batch::new();
            repos.stage_end(&mut batch, contents)?;
            repos::remove_head(&mut batch, account)?;
            repos.shared.writer.commit(batch)?;
            repos.shared.leftovers.leftover(contents);
            Ok(())
        })
        .await
    }

    /// Adds to `batch` that `contents` go out of force. With very many collections, most are taken off the lists ahead
    /// of the batch. Hold the account's lock, with nothing on its way. Blocks.
    pub(super) fn stage_end(&self, batch: &mut Batch, contents: Contents) -> Result<(), RepoError> {
        for collection in repos::collections(&self.shared.reader, contents)? {
            repos::unlist_collection(batch, contents.account, &collection)?;
            if batch.rows() >= STAGE_ROWS {
                self.shared.writer.commit(std::mem::take(batch))?;
            }
        }
        Ok(repos::put_leftover(batch, contents)?)
    }
}
