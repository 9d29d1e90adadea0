//! Making an account: row, key, identity, empty repository, session and the events that tell of them.
//!
//! Where the network decides identities, an account is made in two batches. The first takes its names and keeps the
//! operation that makes its identity; the account is switched off. When the operation is decided, the second switches the
//! account on and tells followers. A node that is killed in between goes on at its next start (`pending`), so there is
//! never an identity made here without its account, nor the reverse.

use std::sync::Arc;

use angel_protocol::crypto::SigningKey;
use angel_protocol::firehose::HostingStatus;
use angel_protocol::ids::{Did, Handle};
use angel_protocol::plc::PlcOperation;
use angel_protocol::repo::NewCommit;
use angel_protocol::time::Timestamp;
use angel_storage::batch::RowRefused;
use angel_storage::{AccountId, Batch, firehose};

use super::{Lifecycle, LifecycleError, stage_account_event, used_once};
use crate::accounts::{Account, AccountRow, Deactivation, NewAccount};
use crate::blocking;
use crate::sessions::{Login, Tokens};

/// Who wants an account. Everything in it has been checked for its form.
#[derive(Debug)]
pub struct SignUp {
    /// Its handle.
    pub handle: Handle,
    /// Where mail reaches the owner.
    pub email: Option<String>,
    /// The hash of the password.
    pub password: Option<String>,
    /// The invite code.
    pub invite_code: Option<String>,
    /// The owner's recovery key.
    pub recovery_key: Option<Did>,
    /// An identity that is brought along.
    pub moved: Option<Moved>,
}

/// An identity that is brought along.
#[derive(Debug)]
pub enum Moved {
    /// One that exists, and whose owner has proved to be who asks. The account stays switched off until the identity
    /// leads here.
    Existing(Did),
    /// One that this operation makes.
    Operation(Box<PlcOperation>),
}

/// An account that was made.
#[derive(Debug)]
pub struct SignedUp {
    /// The account.
    pub account: Account,
    /// Its first session.
    pub tokens: Tokens,
}

impl Lifecycle {
    /// Makes an account.
    ///
    /// # Errors
    /// [`LifecycleError`]. With an outside directory, an identity may have been made that has no account. When the network
    /// has not decided in time ([`crate::directory::DirectoryError::Undecided`]), the account is made once it does.
    pub async fn sign_up(&self, wish: SignUp, now: Timestamp) -> Result<SignedUp, LifecycleError> {
        self.sign_up_with(wish, now, |_, _, _| Ok(())).await
    }

    /// The same; `also` adds to the batch what has to be made together with the account.
    ///
    /// # Errors
    /// As [`Self::sign_up`], or `also` refuses.
    pub async fn sign_up_with(
        &self,
        wish: SignUp,
        now: Timestamp,
        also: impl FnOnce(AccountId, &Did, &mut Batch) -> Result<(), RowRefused> + Send + 'static,
    ) -> Result<SignedUp, LifecycleError> {
        let (accounts, wanted) = (self.accounts.clone(), reserved_for(&wish));
        let key = blocking::run(move || match wanted {
            Some(wanted) => accounts.reserved_key_blocking(&wanted),
            None => Ok(None),
        });
        let key = match key.await? {
            Some(key) => key,
            None => Arc::new(crate::accounts::new_signing_key()?),
        };
        let (did, genesis) = self.identity(&wish, &key)?;
        let directory = self.identities.directory();
        let (this, identity) = (self.clone(), did.clone());
        match genesis {
            Some(operation) if directory.is_own() => {
                directory.would_take(&did, &operation).await?;
                let create = move || {
                    used_once(this.create(wish, did, &Beginning::Pending(&operation), key, now, also))
                        .map(|made| (made, operation))
                };
                let (Made { signed_up: SignedUp { account, tokens }, first }, operation) =
                    blocking::run(create).await?;
                let account = self.open_within_limit(account, identity, operation, first).await?;
                Ok(SignedUp { account, tokens })
            }
            Some(operation) => {
                self.check_names(&wish).await?;
                directory.submit(&did, operation).await?;
                let create = move || used_once(this.create(wish, did, &Beginning::Known, key, now, also));
                Ok(blocking::run(create).await?.signed_up)
            }
            None => {
                let create = move || used_once(this.create(wish, did, &Beginning::MovedIn, key, now, also));
                Ok(blocking::run(create).await?.signed_up)
            }
        }
    }

    /// The DID of the account to be, and the operation that makes it, unless it exists.
    fn identity(&self, wish: &SignUp, key: &SigningKey) -> Result<(Did, Option<PlcOperation>), LifecycleError> {
        let operation = match &wish.moved {
            Some(Moved::Existing(did)) => return Ok((did.clone(), None)),
            Some(Moved::Operation(operation)) => {
                self.check_operation(operation, wish, key)?;
                operation.as_ref().clone()
            }
            None => self.identities.genesis(key.did(), &wish.handle, wish.recovery_key.clone()),
        };
        let did = operation.creates().ok_or_else(|| no_fit("it is not the first of an identity"))?;
        Ok((did, Some(operation)))
    }

    /// Whether an operation that was brought along makes the identity of this very account.
    fn check_operation(&self, operation: &PlcOperation, wish: &SignUp, key: &SigningKey) -> Result<(), LifecycleError> {
        let data = operation.statement().data().ok_or_else(|| no_fit("it makes no identity"))?;
        if !data.rotation_keys.contains(&self.identities.rotation_key()) {
            return Err(no_fit("this node's rotation key is not among its rotation keys"));
        }
        let document = data.document(operation.creates().ok_or_else(|| no_fit("it is not the first of an identity"))?);
        if document.signing_key().map(|signing| signing.did()) != Some(key.did()) {
            return Err(no_fit("its signing key is none that was reserved here"));
        }
        if document.pds().map(|endpoint| endpoint.trim_end_matches('/')) != Some(self.identities.endpoint()) {
            return Err(no_fit("it names another host"));
        }
        if document.claimed_handle().as_ref() != Some(&wish.handle) {
            return Err(no_fit("it names another handle"));
        }
        Ok(())
    }

    /// Whether names and code are free, before an identity is made that could not be taken back.
    async fn check_names(&self, wish: &SignUp) -> Result<(), LifecycleError> {
        use crate::accounts::AccountError;
        let (this, handle, email) = (self.clone(), wish.handle.clone(), wish.email.clone());
        let code = wish.invite_code.clone();
        blocking::run(move || {
            if this.accounts.by_handle_blocking(&handle)?.is_some() {
                return Err(AccountError::HandleTaken.into());
            }
            if let Some(email) = &email
                && this.accounts.by_email_blocking(email)?.is_some()
            {
                return Err(AccountError::EmailTaken.into());
            }
            Ok(code.map_or(Ok(()), |code| this.invites.check_blocking(&code))?)
        })
        .await
    }

    /// Writes the batch. Blocks.
    pub(super) fn create(
        &self,
        wish: SignUp,
        did: Did,
        beginning: &Beginning<'_>,
        key: Arc<SigningKey>,
        now: Timestamp,
        also: impl FnOnce(AccountId, &Did, &mut Batch) -> Result<(), RowRefused>,
    ) -> Result<Made, LifecycleError> {
        let known = matches!(beginning, Beginning::Known);
        let row = AccountRow {
            did: did.clone(),
            handle: Some(wish.handle.clone()),
            email: wish.email.map(|email| email.to_ascii_lowercase()),
            email_confirmed_at: None,
            second_factor: false,
            password: wish.password,
            signing_key: key.did(),
            recovery_key: wish.recovery_key,
            created_at: now,
            tokens_valid_from: Timestamp::EPOCH,
            deactivated: match beginning {
                Beginning::Known => None,
                Beginning::Pending(_) => Some(Deactivation::new(now, None)),
                Beginning::MovedIn => Some(Deactivation { elsewhere: true, ..Deactivation::new(now, None) }),
            },
            takedown: None,
            suspended: false,
            invites_disabled: false,
            invite_note: None,
            invite_code: wish.invite_code.clone(),
        };
        let mut made = None;
        let new = NewAccount { row, signing_key: key };
        let account = self.accounts.create_blocking(new, |id, key, batch: &mut Batch| {
            if let Some(code) = &wish.invite_code {
                self.invites.stage_use(batch, code, &did, now)?;
            }
            if let Beginning::Pending(operation) = beginning {
                self.identities.directory().stage_pending(batch, &did, operation)?;
            }
            let commit = self.repos.stage_new(batch, id, &did, key)?;
            self.accounts.stage_reservation_used(batch, &key.did())?;
            self.accounts.stage_reservation_used(batch, &did)?;
            let tokens = self.sessions.stage_new(batch, id, &did, Login::Owner, now)?;
            // The others are announced when their identity leads here.
            if known {
                batch.append_event(firehose::identity(id, &did, Some(&wish.handle), now)?)?;
                stage_account_event(batch, id, &did, HostingStatus::Active, now)?;
                batch.append_event(firehose::commit(id, &commit, now)?)?;
                // Whoever follows others alone starts from here.
                batch.append_event(firehose::sync(id, commit.repository.head(), now)?)?;
            }
            made = Some((tokens, commit));
            Ok::<_, LifecycleError>(also(id, &did, batch)?)
        })?;
        tracing::info!(account = %account.did(), handle = %wish.handle, "an account was made");
        let (tokens, first) = made.expect("the batch that was written opened a session");
        Ok(Made { signed_up: SignedUp { account, tokens }, first })
    }
}

/// How things stand with the identity of an account that is being made.
pub(super) enum Beginning<'o> {
    /// The directory knows it, and it leads here.
    Known,
    /// This operation makes it, and is still to be decided. Until then the account is switched off.
    Pending(&'o PlcOperation),
    /// It leads elsewhere. The account stays switched off until it leads here.
    MovedIn,
}

/// An account that was written, with the first commit of its repository.
pub(super) struct Made {
    pub(super) signed_up: SignedUp,
    first: NewCommit,
}

/// Under which name a key may have been reserved for this account.
fn reserved_for(wish: &SignUp) -> Option<Did> {
    match &wish.moved {
        Some(Moved::Existing(did)) => Some(did.clone()),
        Some(Moved::Operation(operation)) => {
            let data = operation.statement().data()?;
            data.verification_methods.get(angel_protocol::did_document::ATPROTO_KEY).cloned()
        }
        None => None,
    }
}

fn no_fit(why: &str) -> LifecycleError {
    LifecycleError::Operation(why.to_owned())
}
