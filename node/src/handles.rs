//! Which handle an account may have, and how it gets another one. Hosted handles are given out by this host; any other
//! one has to lead to the account's DID at the moment it is taken.

use angel_protocol::hosted_handle::{self, HandleKind, HandleRefused};
use angel_protocol::ids::{Did, Handle};
use angel_protocol::plc::PlcOperation;
use angel_storage::{AccountId, Batch, CommitError, TableId, firehose, plc};

use crate::accounts::{Account, AccountError, Accounts};
use crate::blocking;
use crate::clock;
use crate::directory::{DECISION_WAIT, DirectoryError};
use crate::identities::Identities;
use crate::resolver::{ResolveError, Resolver};

/// The handles of this host. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handles {
    accounts: Accounts,
    identities: Identities,
    resolver: Resolver,
    domains: Vec<String>,
}

/// Why an account does not get a handle.
#[derive(Debug, thiserror::Error)]
pub enum HandleError {
    /// This host gives it to nobody.
    #[error(transparent)]
    Refused(#[from] HandleRefused),
    /// Somebody else has it.
    #[error("Handle already taken: {0}")]
    Taken(Handle),
    /// It does not lead to the account.
    #[error("External handle did not resolve to DID: {0}")]
    NotTheirs(Handle),
    /// The document of a did:web does not name it.
    #[error("DID is not properly configured for handle: {0}")]
    NotClaimed(Handle),
    /// The DID.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The did:plc directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The accounts.
    #[error(transparent)]
    Account(#[from] AccountError),
}

impl Handles {
    /// With the domains under which this host gives out handles, each with its leading dot.
    #[must_use]
    pub fn new(accounts: Accounts, identities: Identities, resolver: Resolver, domains: Vec<String>) -> Self {
        Self { accounts, identities, resolver, domains }
    }

    /// Whether `handle` is free for the account with `did`, or for one to be made when there is no DID yet: a custom
    /// handle needs one that it leads to. `reserved_too` is for the operator.
    ///
    /// # Errors
    /// [`HandleError`].
    pub async fn check(&self, handle: &Handle, did: Option<&Did>, reserved_too: bool) -> Result<(), HandleError> {
        let kind = hosted_handle::check(handle, &self.domains, reserved_too)?;
        if let Some(account) = self.accounts.by_handle(handle).await?
            && did != Some(account.did())
        {
            return Err(HandleError::Taken(handle.clone()));
        }
        if kind == HandleKind::Custom {
            let found = self.resolver.fresh_foreign_handle(handle).await;
            if did.is_none() || found.ok().as_ref() != did {
                return Err(HandleError::NotTheirs(handle.clone()));
            }
        }
        Ok(())
    }

    /// Gives `account` another handle: in its identity, in its row, and to those who follow the event stream.
    ///
    /// # Errors
    /// [`HandleError`]. Where the network decides identities and has not in time, the row follows once it does; where
    /// an outside directory has changed the identity and the row has not followed, the same call mends it.
    pub async fn change(&self, account: &Account, handle: &Handle, reserved_too: bool) -> Result<(), HandleError> {
        let did = account.did();
        self.check(handle, Some(did), reserved_too).await?;
        if did.method() != "plc" {
            let resolved = self.resolver.fresh_did(did).await?;
            if resolved.document.claimed_handle().as_ref() != Some(handle) {
                return Err(HandleError::NotClaimed(handle.clone()));
            }
            return self.write(account.id(), handle.clone(), None).await;
        }
        let directory = self.identities.directory();
        match self.identities.handle_change(did, handle).await? {
            Some(operation) if directory.is_own() => self.decide(account, operation).await?,
            Some(operation) => {
                directory.submit(did, operation).await?;
                self.write(account.id(), handle.clone(), None).await?;
            }
            None => self.write(account.id(), handle.clone(), None).await?,
        }
        if let Err(error) = self.resolver.fresh_did(did).await {
            tracing::warn!(%did, %error, "the identity was changed and cannot be read back");
        }
        Ok(())
    }

    /// Keeps an operation that changes the handle, and waits for the network as long as a client may wait. It goes on
    /// when the client has gone away, and when the time has passed.
    async fn decide(&self, account: &Account, operation: PlcOperation) -> Result<(), HandleError> {
        let (directory, did) = (self.identities.directory().clone(), account.did().clone());
        directory.would_take(&did, &operation).await?;
        let (keeping, identity, kept) = (directory, did.clone(), operation.clone());
        blocking::run(move || {
            let mut batch = Batch::new();
            keeping.stage_pending(&mut batch, &identity, &kept).map_err(AccountError::from)?;
            Ok::<_, HandleError>(keeping.commit_blocking(batch)?)
        })
        .await?;
        let (this, id) = (self.clone(), account.id());
        let following = tokio::spawn(async move { this.follow(id, did, operation).await });
        match tokio::time::timeout(DECISION_WAIT, following).await {
            Ok(Ok(followed)) => followed,
            Ok(Err(broken)) => std::panic::resume_unwind(broken.into_panic()),
            Err(_) => Err(DirectoryError::Undecided.into()),
        }
    }

    /// Waits until a kept operation is decided; the account's row follows, unless the network refuses.
    pub(crate) async fn follow(&self, id: AccountId, did: Did, operation: PlcOperation) -> Result<(), HandleError> {
        let settled = self.identities.directory().settle(&did, &operation).await;
        if let Err(error) = &settled
            && !error.is_refusal()
        {
            return Ok(settled?);
        }
        let claimed = operation.statement().data().and_then(|data| data.document(did.clone()).claimed_handle());
        let written = match claimed.filter(|_| settled.is_ok()) {
            Some(handle) => self.write(id, handle, Some(did.clone())).await,
            None => self.forget(did.clone()).await,
        };
        match written {
            // Somebody was quicker here, and the account is without a handle of this host, or it is gone.
            Err(HandleError::Account(AccountError::HandleTaken | AccountError::NotFound)) => self.forget(did).await?,
            written => written?,
        }
        Ok(settled?)
    }

    /// Writes an account's handle and tells those who follow the event stream. What was kept of `settled` is done with
    /// then.
    async fn write(&self, id: AccountId, handle: Handle, settled: Option<Did>) -> Result<(), HandleError> {
        let accounts = self.accounts.clone();
        let write = move || {
            accounts.change_blocking(id, |row, batch| {
                if let Some(did) = &settled {
                    plc::stage_settled(batch, did)?;
                }
                row.handle = Some(handle.clone());
                batch.append_event(firehose::identity(id, &row.did, Some(&handle), clock::now())?)?;
                Ok::<_, AccountError>(())
            })
        };
        match blocking::run(write).await {
            // Somebody else has said so.
            Err(AccountError::Commit(CommitError::Conflict { table: TableId::PlcPending, .. })) => Ok(()),
            written => Ok(written.map(drop)?),
        }
    }

    async fn forget(&self, did: Did) -> Result<(), HandleError> {
        let directory = self.identities.directory().clone();
        blocking::run(move || {
            let mut batch = Batch::new();
            plc::stage_settled(&mut batch, &did).map_err(AccountError::from)?;
            match directory.commit_blocking(batch) {
                Err(DirectoryError::Busy) => Ok(()),
                committed => Ok(committed?),
            }
        })
        .await
    }
}
