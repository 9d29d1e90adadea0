//! Which handle an account may have, and how it gets another one. Hosted handles are given out by this host; any other
//! one has to lead to the account's DID at the moment it is taken.

use angel_protocol::hosted_handle::{self, HandleKind, HandleRefused};
use angel_protocol::ids::{Did, Handle};
use angel_storage::firehose;

use crate::accounts::{Account, AccountError, Accounts};
use crate::blocking;
use crate::clock;
use crate::directory::DirectoryError;
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
    /// [`HandleError`]. When the identity has changed and the row has not, the same call mends it.
    pub async fn change(&self, account: &Account, handle: &Handle, reserved_too: bool) -> Result<(), HandleError> {
        let did = account.did();
        self.check(handle, Some(did), reserved_too).await?;
        if did.method() == "plc" {
            self.identities.change_handle(did, handle).await?;
        } else {
            let resolved = self.resolver.fresh_did(did).await?;
            if resolved.document.claimed_handle().as_ref() != Some(handle) {
                return Err(HandleError::NotClaimed(handle.clone()));
            }
        }
        let (accounts, id, new) = (self.accounts.clone(), account.id(), handle.clone());
        blocking::run(move || {
            accounts.change_blocking(id, |row, batch| {
                row.handle = Some(new.clone());
                batch.append_event(firehose::identity(id, &row.did, Some(&new), clock::now())?)?;
                Ok::<_, AccountError>(())
            })
        })
        .await?;
        if did.method() == "plc"
            && let Err(error) = self.resolver.fresh_did(did).await
        {
            tracing::warn!(%did, %error, "the identity was changed and cannot be read back");
        }
        Ok(())
    }
}
