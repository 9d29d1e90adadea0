//! An account's life on this host: made or moved in, switched off and on, taken down, given another password, deleted.
//!
//! Each step changes everything it concerns (row, key, identity, repository, sessions) and tells followers in one batch,
//! as far as one store can; what is left to do after the batch (files, large tables) is done again after a crash.

mod opening;
mod recovery;
mod sign_up;
mod sweep;

#[cfg(test)]
mod tests;

use angel_protocol::firehose::HostingStatus;
use angel_protocol::ids::Did;
use angel_protocol::plc::NotAdded;
use angel_protocol::time::Timestamp;
use angel_storage::accounts::{AccountStatus, TakedownRow};
use angel_storage::batch::RowRefused;
use angel_storage::{AccountId, Batch, CommitError, TableId, firehose};

use crate::accounts::{Account, AccountError, AccountRow, Accounts, Deactivation};
use crate::blobs::{BlobError, Blobs};
use crate::blocking;
use crate::clock;
use crate::directory::DirectoryError;
use crate::identities::Identities;
use crate::invites::{InviteError, Invites};
use crate::mail::{CodeRefused, Mail};
use crate::permissioned::{Permissioned, PermissionedError};
use crate::repos::{Owner, RepoError, Repos};
use crate::resolver::{ResolveError, Resolved, Resolver};
use crate::secrets::SecretError;
use crate::sessions::{SessionError, Sessions};

pub use self::recovery::{NewRecoveryKey, RecoveryTest};
pub(crate) use self::recovery::{public_half, written_keys};
pub use self::sign_up::{Moved, SignUp, SignedUp};

/// What an account's life passes through. Cheap to clone.
#[derive(Clone)]
pub struct Lifecycle {
    /// The rows.
    pub accounts: Accounts,
    /// The logins.
    pub sessions: Sessions,
    /// The records.
    pub repos: Repos,
    /// The records for certain people.
    pub permissioned: Permissioned,
    /// The files.
    pub blobs: Blobs,
    /// The names.
    pub identities: Identities,
    /// Where identities lead.
    pub resolver: Resolver,
    /// Who may sign up.
    pub invites: Invites,
    /// Codes.
    pub mail: Mail,
}

impl std::fmt::Debug for Lifecycle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lifecycle")
    }
}

/// Why a step was not taken. Nothing has changed then, unless a variant says so.
#[derive(Debug, thiserror::Error)]
pub enum LifecycleError {
    /// The identity does not name this host, this key or this node's rotation key.
    #[error("the identity does not lead here: {0}")]
    Identity(String),
    /// The operation brought along does not fit the account.
    #[error("the PLC operation does not fit: {0}")]
    Operation(String),
    /// An owner's key is not added to the identity.
    #[error(transparent)]
    OwnersKey(#[from] NotAdded),
    /// The account was taken down: its owner cannot switch it on.
    #[error("Account has been taken down")]
    TakenDown,
    /// Codes at logins were asked for, and nobody knows who reads the account's mail.
    #[error("the e-mail address is not confirmed: confirm it first, for the codes of logins are sent there")]
    Unconfirmed,
    /// A code from a mail.
    #[error(transparent)]
    Code(#[from] CodeRefused),
    /// An invite code.
    #[error(transparent)]
    Invite(#[from] InviteError),
    /// The row.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The session.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The repository.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// The directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The DID document cannot be had.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The records for certain people.
    #[error(transparent)]
    Permissioned(#[from] PermissionedError),
    /// The files.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// No randomness.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

impl From<RowRefused> for LifecycleError {
    fn from(error: RowRefused) -> Self {
        Self::Account(error.into())
    }
}

/// How the public stream calls an account's status.
#[must_use]
pub fn hosting_status(status: &AccountStatus) -> HostingStatus {
    match status {
        AccountStatus::Active => HostingStatus::Active,
        AccountStatus::Deactivated { .. } => HostingStatus::Deactivated,
        AccountStatus::TakenDown { .. } => HostingStatus::TakenDown,
        AccountStatus::Suspended => HostingStatus::Suspended,
    }
}

fn stage_account_event(
    batch: &mut Batch,
    id: AccountId,
    did: &Did,
    status: HostingStatus,
    now: Timestamp,
) -> Result<(), RowRefused> {
    batch.append_event(firehose::account(id, did, status, now)?)
}

impl Lifecycle {
    /// Whether an account's identity leads to this host, its signing key and, for did:plc, this node's rotation key.
    ///
    /// # Errors
    /// [`LifecycleError::Identity`] when it does not, others when the identity cannot be had.
    pub async fn check_identity(&self, account: &Account) -> Result<(), LifecycleError> {
        let document = if account.did().method() == "plc" {
            let log = self.identities.directory().log(account.did()).await?;
            let data = log.data().ok_or_else(|| DirectoryError::Tombstoned(account.did().clone()))?;
            if !data.rotation_keys.contains(&self.identities.rotation_key()) {
                let text = "this node's rotation key is not among those of the identity";
                return Err(LifecycleError::Identity(text.to_owned()));
            }
            data.document(account.did().clone())
        } else {
            self.resolver.fresh_did(account.did()).await?.document.clone()
        };
        let wrong = |text: String| Err(LifecycleError::Identity(text));
        let endpoint = document.pds().map(|endpoint| endpoint.trim_end_matches('/').to_owned());
        if endpoint.as_deref() != Some(self.identities.endpoint()) {
            return wrong(format!("its host is {}", endpoint.as_deref().unwrap_or("nowhere")));
        }
        match document.signing_key() {
            Some(key) if key.did() == account.row().signing_key => Ok(()),
            Some(key) => wrong(format!("its signing key is {}, not {}", key.did(), account.row().signing_key)),
            None => wrong("it names no signing key".to_owned()),
        }
    }

    /// Switches an account on, once its identity leads here, and tells followers who it is and where its repository
    /// stands. Switching on an account that is on tells them again.
    ///
    /// # Errors
    /// [`LifecycleError`].
    pub async fn activate(&self, account: &Account) -> Result<(), LifecycleError> {
        self.check_identity(account).await?;
        let (accounts, id) = (self.accounts.clone(), account.id());
        let change = move || {
            accounts.change_blocking(id, |row, batch| {
                row.deactivated = None;
                if !row.status().is_active() {
                    return Err(LifecycleError::TakenDown);
                }
                let now = clock::now();
                stage_account_event(batch, id, &row.did, HostingStatus::Active, now)?;
                Ok(batch.append_event(firehose::identity(id, &row.did, row.handle.as_ref(), now)?)?)
            })
        };
        let (account, ()) = blocking::run(change).await?;
        let owner = self.owner(&account).await?;
        self.repos.resync(&owner, |_| Ok(())).await?;
        Ok(())
    }

    /// Tells those who follow the event stream to look at an account's identity again.
    ///
    /// # Errors
    /// The store fails.
    pub async fn tell_identity(&self, account: &Account) -> Result<(), LifecycleError> {
        let (accounts, id) = (self.accounts.clone(), account.id());
        let told = blocking::run(move || {
            accounts.change_blocking(id, |row, batch| {
                batch.append_event(firehose::identity(id, &row.did, row.handle.as_ref(), clock::now())?)?;
                Ok::<_, AccountError>(())
            })
        });
        told.await?;
        if let Err(error) = self.resolver.fresh_did(account.did()).await {
            tracing::warn!(did = %account.did(), %error, "the identity was changed and cannot be read back");
        }
        Ok(())
    }

    /// The owner of a repository, with its key.
    ///
    /// # Errors
    /// The key cannot be had.
    pub async fn owner(&self, account: &Account) -> Result<Owner, LifecycleError> {
        let key = self.accounts.signing_key(account.id()).await?;
        Ok(Owner { id: account.id(), did: account.did().clone(), key })
    }

    /// Tells followers of an account's status again, and changes nothing. Blocks.
    ///
    /// # Errors
    /// [`LifecycleError`].
    pub fn announce_blocking(&self, id: AccountId) -> Result<(), LifecycleError> {
        self.change_status(id, |_, _| {}, false)
    }

    /// Switches an account off. Where its identity leads by now is looked at: of one that has moved, this node says nothing
    /// more, and asks the other host.
    ///
    /// # Errors
    /// [`LifecycleError`].
    pub async fn deactivate(&self, account: &Account, delete_after: Option<Timestamp>) -> Result<(), LifecycleError> {
        let leads_elsewhere = |resolved: std::sync::Arc<Resolved>| {
            let host = resolved.document.pds().map(|host| host.trim_end_matches('/').to_owned());
            host.is_some_and(|host| host != self.identities.endpoint())
        };
        // Nobody answers: it may be switched off all the same.
        let elsewhere = self.resolver.fresh_did(account.did()).await.is_ok_and(leads_elsewhere);
        let (this, id) = (self.clone(), account.id());
        blocking::run(move || {
            let off = |row: &mut AccountRow, at| row.deactivated = Some(Deactivation { at, delete_after, elsewhere });
            this.change_status(id, off, false)
        })
        .await
    }

    /// Takes an account down, or brings it back. Taking down ends its sessions. Blocks.
    ///
    /// # Errors
    /// [`LifecycleError`].
    pub fn set_takedown_blocking(&self, id: AccountId, takedown: Option<TakedownRow>) -> Result<(), LifecycleError> {
        let ends_sessions = takedown.is_some();
        self.change_status(id, |row, _| row.takedown.clone_from(&takedown), ends_sessions)
    }

    fn change_status(
        &self,
        id: AccountId,
        change: impl Fn(&mut AccountRow, Timestamp),
        ends_sessions: bool,
    ) -> Result<(), LifecycleError> {
        let changed = self.accounts.change_blocking(id, |row, batch| {
            let now = clock::now();
            change(row, now);
            if ends_sessions {
                self.sessions.stage_end(batch, id, None)?;
            }
            stage_account_event(batch, id, &row.did, hosting_status(&row.status()), now)?;
            Ok::<_, LifecycleError>(())
        });
        changed.map(drop)
    }

    /// Gives an account another password, and ends its sessions and access tokens. `also` may add to the batch, for
    /// example that a code is used up. Blocks.
    ///
    /// # Errors
    /// `also` refuses, or the store fails.
    pub fn set_password_blocking(
        &self,
        id: AccountId,
        hashed: &str,
        now: Timestamp,
        mut also: impl FnMut(&mut Batch) -> Result<(), LifecycleError>,
    ) -> Result<(), LifecycleError> {
        let changed = self.accounts.change_blocking(id, |row, batch| {
            row.password = Some(hashed.to_owned());
            row.tokens_valid_from = now;
            self.sessions.stage_end(batch, id, None)?;
            also(batch)
        });
        used_once(changed.map(drop))
    }

    /// Gives an account another e-mail address, not confirmed; logins take no codes from then on, for nobody knows yet who
    /// reads them. `also` may add to the batch. Blocks.
    ///
    /// # Errors
    /// The address is taken, `also` refuses, or the store fails.
    pub fn set_email_blocking(
        &self,
        id: AccountId,
        email: &str,
        mut also: impl FnMut(&mut Batch) -> Result<(), LifecycleError>,
    ) -> Result<(), LifecycleError> {
        let changed = self.accounts.change_blocking(id, |row, batch| {
            row.email = Some(email.to_ascii_lowercase());
            row.email_confirmed_at = None;
            row.second_factor = false;
            also(batch)
        });
        used_once(changed.map(drop))
    }

    /// Says whether logins with an account's password also take a code from its mail. `also` may add to the batch. Blocks.
    ///
    /// # Errors
    /// They shall and the account's address is not confirmed, `also` refuses, or the store fails.
    pub fn set_second_factor_blocking(
        &self,
        id: AccountId,
        wanted: bool,
        mut also: impl FnMut(&mut Batch) -> Result<(), LifecycleError>,
    ) -> Result<(), LifecycleError> {
        let changed = self.accounts.change_blocking(id, |row, batch| {
            if wanted && row.email_confirmed_at.is_none() {
                return Err(LifecycleError::Unconfirmed);
            }
            row.second_factor = wanted;
            also(batch)
        });
        used_once(changed.map(drop))
    }

    /// Marks an account's address as confirmed, if it still is `email`. `also` may add to the batch. Blocks.
    ///
    /// # Errors
    /// The address is another by now, `also` refuses, or the store fails.
    pub fn confirm_email_blocking(
        &self,
        id: AccountId,
        email: &str,
        now: Timestamp,
        mut also: impl FnMut(&mut Batch) -> Result<(), LifecycleError>,
    ) -> Result<(), LifecycleError> {
        let changed = self.accounts.change_blocking(id, |row, batch| {
            if row.email.as_deref() != Some(email) {
                return Err(CodeRefused::Invalid.into());
            }
            row.email_confirmed_at = Some(now);
            also(batch)
        });
        used_once(changed.map(drop))
    }

    /// Deletes an account with everything that is its own, and tells followers, who hear nothing else of it from now on. It is gone when this returns; its files
    /// and records are cleared away then and, should the node be stopped before they are, at its next start.
    ///
    /// # Errors
    /// [`LifecycleError`]. When clearing away fails, the account is gone all the same.
    pub async fn delete(&self, id: AccountId) -> Result<(), LifecycleError> {
        let accounts = self.accounts.clone();
        let remove = move || {
            accounts.remove_blocking(id, |row, batch| {
                let now = clock::now();
                stage_account_event(batch, id, &row.did, HostingStatus::Deleted, now)?;
                Ok::<_, LifecycleError>(firehose::note_deleted(batch, id, now)?)
            })
        };
        blocking::run(remove).await?;
        self.clear_away(id).await
    }

    /// Drops what this node has of an account that others host, and tells nobody: the account itself lives on.
    ///
    /// # Errors
    /// As [`Self::delete`].
    pub async fn drop_copy(&self, id: AccountId) -> Result<(), LifecycleError> {
        let accounts = self.accounts.clone();
        let remove = move || accounts.remove_blocking(id, |_, _| Ok::<_, LifecycleError>(()));
        blocking::run(remove).await?;
        self.clear_away(id).await
    }
}

/// A code that somebody else used at the same time is a code that is not valid any more.
fn used_once<T>(result: Result<T, LifecycleError>) -> Result<T, LifecycleError> {
    match result {
        Err(LifecycleError::Account(AccountError::Commit(CommitError::Conflict {
            table: TableId::MailCodes, ..
        }))) => Err(CodeRefused::Invalid.into()),
        Err(LifecycleError::Account(AccountError::Commit(CommitError::Conflict {
            table: TableId::InviteCodes,
            ..
        }))) => Err(InviteError::NotAvailable.into()),
        other => other,
    }
}
