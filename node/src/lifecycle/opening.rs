//! Opening an account once the network has decided its identity.

use angel_protocol::ids::Did;
use angel_protocol::plc::PlcOperation;
use angel_protocol::repo::NewCommit;
use angel_storage::{AccountId, Batch, CommitError, TableId, firehose, plc};

use super::{Lifecycle, LifecycleError, hosting_status, stage_account_event};
use crate::accounts::{Account, AccountError};
use crate::blocking;
use crate::clock;
use crate::directory::{DECISION_WAIT, DirectoryError};

impl Lifecycle {
    /// Opens an account that was just made, waiting for the network as long as a client may wait. It goes on when the
    /// client has gone away, and when the time has passed.
    pub(super) async fn open_within_limit(
        &self,
        account: Account,
        did: Did,
        operation: PlcOperation,
        first: NewCommit,
    ) -> Result<Account, LifecycleError> {
        let (this, id) = (self.clone(), account.id());
        let opening = tokio::spawn(async move { this.open(id, did, operation, Some(first)).await });
        match tokio::time::timeout(DECISION_WAIT, opening).await {
            Ok(Ok(opened)) => opened,
            Ok(Err(broken)) => std::panic::resume_unwind(broken.into_panic()),
            Err(_) => Err(DirectoryError::Undecided.into()),
        }
    }

    /// Waits until the identity of an account is decided; then switches the account on and tells followers, or removes
    /// it when the network refuses the identity. `first` is the commit to tell of; after a restart another one is made.
    pub(crate) async fn open(
        &self,
        id: AccountId,
        did: Did,
        operation: PlcOperation,
        first: Option<NewCommit>,
    ) -> Result<Account, LifecycleError> {
        match self.identities.directory().settle(&did, &operation).await {
            Ok(()) => {}
            Err(refusal) if refusal.is_refusal() => {
                tracing::error!(%did, %refusal, "the network refuses the identity of a new account; the account is removed");
                self.withdraw(id, did).await?;
                return Err(refusal.into());
            }
            Err(error) => return Err(error.into()),
        }
        let anew = first.is_none();
        let (this, identity) = (self.clone(), did.clone());
        let opened = blocking::run(move || this.stage_opened(id, &identity, first.as_ref())).await;
        let account = match opened {
            Err(LifecycleError::Account(AccountError::NotFound)) => {
                self.forget_pending(did).await?;
                return Err(AccountError::NotFound.into());
            }
            Err(LifecycleError::Account(AccountError::Commit(CommitError::Conflict {
                table: TableId::PlcPending,
                ..
            }))) => self.accounts.by_id(id).await?.ok_or(AccountError::NotFound)?,
            opened => opened?,
        };
        if anew {
            // What was kept goes with the last thing that is told, so that a crash before it loses nothing.
            let owner = self.owner(&account).await?;
            self.repos.resync(&owner, move |batch| plc::stage_settled(batch, &did)).await?;
        }
        Ok(account)
    }

    /// Switches the account on and tells followers; with its first commit, that is all there is to do. Blocks.
    fn stage_opened(&self, id: AccountId, did: &Did, first: Option<&NewCommit>) -> Result<Account, LifecycleError> {
        let opened = self.accounts.change_blocking(id, |row, batch| {
            row.deactivated = None;
            let now = clock::now();
            batch.append_event(firehose::identity(id, did, row.handle.as_ref(), now)?)?;
            stage_account_event(batch, id, did, hosting_status(&row.status()), now)?;
            if let Some(first) = first {
                batch.append_event(firehose::commit(id, first, now)?)?;
                batch.append_event(firehose::sync(id, first.repository.head(), now)?)?;
                plc::stage_settled(batch, did)?;
            }
            Ok::<_, LifecycleError>(())
        });
        opened.map(|(account, ())| account)
    }

    /// Removes an account of which nobody was told.
    async fn withdraw(&self, id: AccountId, did: Did) -> Result<(), LifecycleError> {
        let accounts = self.accounts.clone();
        blocking::run(move || {
            accounts.remove_blocking(id, |_, batch| Ok::<_, LifecycleError>(plc::stage_settled(batch, &did)?))
        })
        .await?;
        self.clear_away(id).await
    }

    /// The account is gone, and what was pending with it.
    pub(crate) async fn forget_pending(&self, did: Did) -> Result<(), LifecycleError> {
        let directory = self.identities.directory().clone();
        blocking::run(move || {
            let mut batch = Batch::new();
            plc::stage_settled(&mut batch, &did)?;
            match directory.commit_blocking(batch) {
                // Somebody else has said so.
                Err(DirectoryError::Busy) => Ok(()),
                committed => Ok(committed?),
            }
        })
        .await
    }
}
