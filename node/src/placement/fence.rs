//! The check at the head of a write, for the rooms that write into accounts: accounts, app passwords, preferences,
//! tenants, private data. Repositories have it of their own.
//!
//! A room is opened before it is known who holds copies of whom. Until [`Fence::raise`] is called nobody is kept out:
//! no request is answered before.

use std::sync::{Arc, OnceLock};

use angel_storage::{AccountId, Committed};
use tokio::runtime::Handle;

use super::{NotWritable, Placement, WriteGuard};

/// Who may write into which account here. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Fence(Arc<OnceLock<Placement>>);

/// Leave to write into one account, for as long as it is held.
#[must_use = "it is for the time of the write"]
pub(crate) struct Leave(Option<WriteGuard>);

impl Fence {
    /// From now on `placement` says who may write.
    pub(crate) fn raise(&self, placement: Placement) {
        // It is raised once, while the node starts.
        drop(self.0.set(placement));
    }

    /// Who is primary of what, once that is known.
    pub(crate) fn placement(&self) -> Option<&Placement> {
        self.0.get()
    }

    /// Leave to write into an account. Waits while the account is handed over.
    pub(crate) async fn enter(&self, account: AccountId) -> Result<Leave, NotWritable> {
        match self.0.get() {
            Some(placement) => Ok(Leave(Some(placement.may_write(account).await?))),
            None => Ok(Leave(None)),
        }
    }

    /// The same for those who may block, off the async workers.
    pub(crate) fn enter_blocking(&self, account: AccountId) -> Result<Leave, NotWritable> {
        match self.0.get().filter(|placement| placement.is_placed(account)) {
            Some(placement) => Ok(Leave(Some(Handle::current().block_on(placement.may_write(account))?))),
            None => Ok(Leave(None)),
        }
    }
}

impl std::fmt::Debug for Fence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fence")
    }
}

impl Leave {
    /// Whether the account asks that a standby has what is written.
    pub(crate) fn is_waiting(&self) -> bool {
        self.0.as_ref().is_some_and(WriteGuard::is_waiting)
    }

    /// Waits until what was committed is safe on a standby, if the account asks for that.
    pub(crate) async fn replicated(self, committed: Committed) -> Result<(), NotWritable> {
        match self.0 {
            Some(guard) => guard.replicated(committed.last_sequence).await,
            None => Ok(()),
        }
    }

    /// The same for those who may block, off the async workers.
    pub(crate) fn replicated_blocking(self, committed: Committed) -> Result<(), NotWritable> {
        match self.0.filter(WriteGuard::is_waiting) {
            Some(guard) => Handle::current().block_on(guard.replicated(committed.last_sequence)),
            None => Ok(()),
        }
    }
}
