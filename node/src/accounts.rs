//! The accounts that this node hosts: found by number, DID or handle, changed one at a time, their signing keys kept
//! sealed.
//!
//! Lookups are answered from a bounded cache in front of the store, so that a request costs no read for knowing whom it
//! is about. Every change goes through [`Accounts::change_blocking`] or [`Accounts::create_blocking`], which keep the
//! cache true. Nothing here knows passwords, tokens or repositories.

mod cache;
mod kept;
mod reserved;
mod seal;

#[cfg(test)]
pub(crate) mod tests;

use std::fmt;
use std::sync::Arc;

use angel_protocol::crypto::SigningKey;
use angel_protocol::ids::{AtIdentifier, Did, Handle};
use angel_storage::accounts::{
    self, ACCOUNT_KEYS, ACCOUNTS, ACCOUNTS_BY_DID, ACCOUNTS_BY_EMAIL, ACCOUNTS_BY_HANDLE, KeyPurpose, Numbers,
    NumbersError, SealedKeyRow,
};
use angel_storage::batch::RowRefused;
use angel_storage::events::TrimError;
use angel_storage::reader::ReadError;
use angel_storage::{AccountId, Batch, CommitError, Committed, Reader, TableId, Writer};

pub use angel_storage::accounts::{AccountRow, AccountStatus, Deactivation};

use crate::blocking;
use crate::data_dir::Layout;
use crate::placement::{Fence, NotWritable, Placement};
use crate::secrets::SecretError;

use self::cache::Cache;
pub(crate) use self::seal::ApartSeal;
pub(crate) use self::seal::FILE as SEAL_FILE;
use self::seal::Seal;
pub use self::seal::{SealError, new_signing_key};

/// How often a change is tried again when another one came in between.
const CHANGE_ATTEMPTS: usize = 8;

/// A hosted account as it was when it was looked up. Cheap to clone.
#[derive(Clone)]
pub struct Account(Arc<Inner>);

struct Inner {
    id: AccountId,
    row: AccountRow,
}

impl Account {
    fn new(id: AccountId, row: AccountRow) -> Self {
        Self(Arc::new(Inner { id, row }))
    }

    /// The number by which the store knows it.
    #[must_use]
    pub fn id(&self) -> AccountId {
        self.0.id
    }

    /// Everything that is kept about it.
    #[must_use]
    pub fn row(&self) -> &AccountRow {
        &self.0.row
    }

    /// Its DID.
    #[must_use]
    pub fn did(&self) -> &Did {
        &self.0.row.did
    }

    /// Its handle, if it has one.
    #[must_use]
    pub fn handle(&self) -> Option<&Handle> {
        self.0.row.handle.as_ref()
    }

    /// Its handle, or `handle.invalid`.
    #[must_use]
    pub fn handle_or_invalid(&self) -> Handle {
        self.0.row.handle.clone().unwrap_or_else(Handle::invalid)
    }

    /// Whether others may see it, and if not, why.
    #[must_use]
    pub fn status(&self) -> AccountStatus {
        self.0.row.status()
    }

    /// Whether others may see it.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.status().is_active()
    }

    /// Whether another host answers for it: it has moved there, or is still to come from there.
    #[must_use]
    pub fn has_moved_away(&self) -> bool {
        self.row().deactivated.is_some_and(|off| off.elsewhere)
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Account").field(&self.0.id).field(&self.0.row).finish()
    }
}

/// The accounts of this node. Cheap to clone.
#[derive(Clone)]
pub struct Accounts(Arc<Shared>);

struct Shared {
    reader: Reader,
    writer: Writer,
    cache: Cache,
    numbers: Numbers,
    seal: Seal,
    fence: Fence,
}

impl Accounts {
    /// From now on `placement` says which accounts may be changed here.
    pub(crate) fn guard(&self, placement: Placement) {
        self.0.fence.raise(placement);
    }
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Accounts")
    }
}

/// An account to be made.
#[derive(Debug)]
pub struct NewAccount {
    /// What is to be kept about it. [`AccountRow::signing_key`] is set from `signing_key`.
    pub row: AccountRow,
    /// The key that is to sign its commits.
    pub signing_key: Arc<SigningKey>,
}

impl Accounts {
    /// The accounts of an open store. Makes the sealing key at the first start. Blocks.
    ///
    /// # Errors
    /// The sealing key cannot be read or made, or the store cannot be read.
    pub fn open(reader: Reader, writer: Writer, layout: &Layout) -> Result<Self, AccountsOpenError> {
        let numbers = Numbers::open(&reader, "account")?;
        let seal = Seal::load_or_create(layout, numbers.is_fresh())?;
        Ok(Self(Arc::new(Shared { reader, writer, cache: Cache::new(), numbers, seal, fence: Fence::default() })))
    }

    /// Whether no account was ever made here.
    pub(crate) fn none_was_made(&self) -> bool {
        self.0.numbers.is_fresh()
    }

    /// The account meant, if this node hosts it.
    ///
    /// # Errors
    /// The store fails.
    pub async fn find(&self, who: &AtIdentifier) -> Result<Option<Account>, AccountError> {
        match who {
            AtIdentifier::Did(did) => self.by_did(did).await,
            AtIdentifier::Handle(handle) => self.by_handle(handle).await,
        }
    }

    /// As [`Self::find`]. Blocks.
    ///
    /// # Errors
    /// The store fails.
    pub fn find_blocking(&self, who: &AtIdentifier) -> Result<Option<Account>, AccountError> {
        match who {
            AtIdentifier::Did(did) => self.by_did_blocking(did),
            AtIdentifier::Handle(handle) => self.by_handle_blocking(handle),
        }
    }

    /// The account with this DID.
    ///
    /// # Errors
    /// The store fails.
    pub async fn by_did(&self, did: &Did) -> Result<Option<Account>, AccountError> {
        if let Some(account) = self.0.cache.by_did(did) {
            return Ok(Some(account));
        }
        let (this, did) = (self.clone(), did.clone());
        blocking::run(move || this.by_did_blocking(&did)).await
    }

    /// As [`Self::by_did`]. Blocks.
    ///
    /// # Errors
    /// The store fails.
    pub fn by_did_blocking(&self, did: &Did) -> Result<Option<Account>, AccountError> {
        if let Some(account) = self.0.cache.by_did(did) {
            return Ok(Some(account));
        }
        self.load(|reader| accounts::find_in(reader, &ACCOUNTS_BY_DID, did))
    }

    /// The account with this DID, if it lives here: not one of which this node only keeps a copy for another, nor one that
    /// has moved away or is still to come.
    ///
    /// # Errors
    /// The store fails.
    pub(crate) async fn resident(&self, did: &Did) -> Result<Option<Account>, AccountError> {
        Ok(self.by_did(did).await?.filter(|account| self.lives_here(account)))
    }

    /// As [`Self::resident`]. Blocks.
    ///
    /// # Errors
    /// The store fails.
    pub(crate) fn resident_blocking(&self, did: &Did) -> Result<Option<Account>, AccountError> {
        Ok(self.by_did_blocking(did)?.filter(|account| self.lives_here(account)))
    }

    fn lives_here(&self, account: &Account) -> bool {
        if account.has_moved_away() {
            return false;
        }
        let placed = self.0.fence.placement().and_then(|placement| placement.tenant(account.did()));
        placed.is_none_or(|tenant| tenant.is_primary())
    }

    /// The account with this handle.
    ///
    /// # Errors
    /// The store fails.
    pub async fn by_handle(&self, handle: &Handle) -> Result<Option<Account>, AccountError> {
        if let Some(account) = self.0.cache.by_handle(handle) {
            return Ok(Some(account));
        }
        let (this, handle) = (self.clone(), handle.clone());
        blocking::run(move || this.by_handle_blocking(&handle)).await
    }

    /// As [`Self::by_handle`]. Blocks.
    ///
    /// # Errors
    /// The store fails.
    pub fn by_handle_blocking(&self, handle: &Handle) -> Result<Option<Account>, AccountError> {
        if let Some(account) = self.0.cache.by_handle(handle) {
            return Ok(Some(account));
        }
        self.load(|reader| accounts::find_in(reader, &ACCOUNTS_BY_HANDLE, &handle.as_str().to_owned()))
    }

    /// The account with this number.
    ///
    /// # Errors
    /// The store fails.
    pub async fn by_id(&self, id: AccountId) -> Result<Option<Account>, AccountError> {
        if let Some(account) = self.0.cache.by_id(id) {
            return Ok(Some(account));
        }
        let this = self.clone();
        blocking::run(move || this.by_id_blocking(id)).await
    }

    /// As [`Self::by_id`]. Blocks.
    ///
    /// # Errors
    /// The store fails.
    pub fn by_id_blocking(&self, id: AccountId) -> Result<Option<Account>, AccountError> {
        if let Some(account) = self.0.cache.by_id(id) {
            return Ok(Some(account));
        }
        self.load(|reader| Ok(reader.get(&ACCOUNTS, &id)?.map(|row| (id, row))))
    }

    /// The account whose owner reads this e-mail address, in whatever case. Blocks.
    ///
    /// # Errors
    /// The store fails.
    pub fn by_email_blocking(&self, email: &str) -> Result<Option<Account>, AccountError> {
        self.load(|reader| accounts::find_in(reader, &ACCOUNTS_BY_EMAIL, &email.to_ascii_lowercase()))
    }

    /// Up to `limit` accounts in the order of their numbers, behind `after`, and whether more follow. Blocks.
    ///
    /// # Errors
    /// The store fails.
    pub fn page_blocking(&self, after: Option<AccountId>, limit: usize) -> Result<(Vec<Account>, bool), AccountError> {
        let page = accounts::page(&self.0.reader, after, limit)?;
        Ok((page.rows.into_iter().map(|(id, row)| Account::new(id, row)).collect(), page.more))
    }

    /// Reads from the store into the cache.
    fn load(
        &self,
        read: impl FnOnce(&Reader) -> Result<Option<(AccountId, AccountRow)>, ReadError>,
    ) -> Result<Option<Account>, AccountError> {
        let epoch = self.0.cache.epoch();
        let account = read(&self.0.reader)?.map(|(id, row)| Account::new(id, row));
        if let Some(account) = &account {
            self.0.cache.loaded(account, epoch);
        }
        Ok(account)
    }

    /// The key that signs the account's commits.
    ///
    /// # Errors
    /// The store fails, there is no such account, or its key cannot be opened.
    pub async fn signing_key(&self, id: AccountId) -> Result<Arc<SigningKey>, AccountError> {
        if let Some(key) = self.0.cache.key(id) {
            return Ok(key);
        }
        let this = self.clone();
        blocking::run(move || this.signing_key_blocking(id)).await
    }

    /// As [`Self::signing_key`]. Blocks.
    ///
    /// # Errors
    /// As [`Self::signing_key`].
    pub fn signing_key_blocking(&self, id: AccountId) -> Result<Arc<SigningKey>, AccountError> {
        if let Some(key) = self.0.cache.key(id) {
            return Ok(key);
        }
        let epoch = self.0.cache.epoch();
        let purpose = KeyPurpose::Signing;
        let row = self.0.reader.get(&ACCOUNT_KEYS, &(id, purpose.number()))?.ok_or(AccountError::NotFound)?;
        let key = Arc::new(self.0.seal.open(&seal::context(id, purpose), &row)?);
        self.0.cache.key_loaded(id, &key, epoch);
        Ok(key)
    }

    /// Adds an account and its sealed key to `batch` and gives it its number. Blocks. The batch is refused when the
    /// DID, the handle or the e-mail address is in use: pass the refusal through [`AccountError::from`].
    ///
    /// # Errors
    /// No number can be had, or the batch is full.
    pub fn stage_new(&self, batch: &mut Batch, new: NewAccount) -> Result<AccountId, AccountError> {
        let id = AccountId(self.0.numbers.next(&self.0.writer)?);
        let row = AccountRow { signing_key: new.signing_key.did(), ..new.row };
        accounts::stage_new(batch, id, &row)?;
        self.stage_key(batch, id, &new.signing_key)?;
        Ok(id)
    }

    /// A row of [`ACCOUNT_KEYS`] as it lies in an archive of the account. `None` for a purpose that this software does not
    /// know.
    ///
    /// # Errors
    /// The key does not open, or there is no randomness.
    pub(crate) fn key_apart(
        &self,
        (id, purpose): (AccountId, u8),
        row: &SealedKeyRow,
        with: &ApartSeal,
    ) -> Result<Option<SealedKeyRow>, SealError> {
        let Some(purpose) = KeyPurpose::ALL.into_iter().find(|it| it.number() == purpose) else { return Ok(None) };
        self.0.seal.reseal(&seal::context(id, purpose), row, with).map(Some)
    }

    fn stage_key(&self, batch: &mut Batch, id: AccountId, key: &SigningKey) -> Result<(), AccountError> {
        let purpose = KeyPurpose::Signing;
        let row = self.0.seal.seal(&seal::context(id, purpose), key)?;
        Ok(batch.put(&ACCOUNT_KEYS, &(id, purpose.number()), &row)?)
    }

    /// Makes an account and all that is made with it in one batch: `stage` adds the rest. Blocks until it is durable.
    ///
    /// # Errors
    /// `stage` refuses, a name is in use, or the store fails.
    pub fn create_blocking<E: From<AccountError>>(
        &self,
        new: NewAccount,
        stage: impl FnOnce(AccountId, &SigningKey, &mut Batch) -> Result<(), E>,
    ) -> Result<Account, E> {
        let mut batch = Batch::new();
        let key = Arc::clone(&new.signing_key);
        let row = AccountRow { signing_key: key.did(), ..new.row.clone() };
        let id = self.stage_new(&mut batch, new)?;
        stage(id, &key, &mut batch)?;
        self.0.writer.commit(batch).map_err(AccountError::from)?;
        let account = Account::new(id, row);
        self.0.cache.changed(id);
        Ok(account)
    }

    /// Changes an account's row. `change` gets the row as it is now and may add to the batch what must hold together
    /// with it; it is called again when another change came in between. A row left as it was is not written, the rest
    /// of the batch is. Blocks until the change is durable.
    ///
    /// # Errors
    /// There is no such account, `change` refuses, a name is in use, or the store fails.
    pub fn change_blocking<T, E: From<AccountError>>(
        &self,
        id: AccountId,
        change: impl FnMut(&mut AccountRow, &mut Batch) -> Result<T, E>,
    ) -> Result<(Account, T), E> {
        let leave = self.0.fence.enter_blocking(id).map_err(AccountError::from)?;
        let (account, told, committed) = self.change_unfenced(id, change)?;
        if let Some(committed) = committed {
            leave.replicated_blocking(committed).map_err(AccountError::from)?;
        }
        Ok((account, told))
    }

    /// The same while the account is taken over, or given away: nobody else changes it then. Blocks until that is
    /// durable.
    ///
    /// # Errors
    /// As [`Self::change_blocking`].
    pub(crate) fn change_role_blocking<T, E: From<AccountError>>(
        &self,
        id: AccountId,
        change: impl FnMut(&mut AccountRow, &mut Batch) -> Result<T, E>,
    ) -> Result<(Account, T), E> {
        self.change_unfenced(id, change).map(|(account, told, _)| (account, told))
    }

    fn change_unfenced<T, E: From<AccountError>>(
        &self,
        id: AccountId,
        mut change: impl FnMut(&mut AccountRow, &mut Batch) -> Result<T, E>,
    ) -> Result<(Account, T, Option<Committed>), E> {
        for _ in 0..CHANGE_ATTEMPTS {
            let old = self.0.reader.get(&ACCOUNTS, &id).map_err(AccountError::from)?.ok_or(AccountError::NotFound)?;
            let mut batch = Batch::new();
            let mut new = old.clone();
            let told = change(&mut new, &mut batch)?;
            if new != old {
                accounts::stage_change(&mut batch, id, &old, &new).map_err(AccountError::from)?;
            }
            let mut done = None;
            if !batch.is_empty() {
                match self.0.writer.commit(batch) {
                    Err(CommitError::Conflict { table: TableId::Accounts, .. }) => continue,
                    committed => done = Some(committed.map_err(AccountError::from)?),
                }
            }
            let account = Account::new(id, new);
            self.0.cache.changed(id);
            return Ok((account, told, done));
        }
        Err(AccountError::Busy.into())
    }

    /// Gives an account another signing key, within a change of its row.
    ///
    /// # Errors
    /// The batch is full, or there is no randomness.
    pub fn stage_signing_key(
        &self,
        batch: &mut Batch,
        id: AccountId,
        row: &mut AccountRow,
        key: &SigningKey,
    ) -> Result<(), AccountError> {
        row.signing_key = key.did();
        self.stage_key(batch, id, key)
    }

    /// Removes an account with what this module keeps of it; `stage` adds the rest. Blocks until it is durable.
    ///
    /// # Errors
    /// There is no such account, `stage` refuses, or the store fails.
    pub fn remove_blocking<E: From<AccountError>>(
        &self,
        id: AccountId,
        mut stage: impl FnMut(&AccountRow, &mut Batch) -> Result<(), E>,
    ) -> Result<(), E> {
        for _ in 0..CHANGE_ATTEMPTS {
            let old = self.0.reader.get(&ACCOUNTS, &id).map_err(AccountError::from)?.ok_or(AccountError::NotFound)?;
            let mut batch = Batch::new();
            accounts::stage_remove(&mut batch, id, &old).map_err(AccountError::from)?;
            accounts::stage_remove_rest(&self.0.reader, &mut batch, id).map_err(AccountError::from)?;
            stage(&old, &mut batch)?;
            match self.0.writer.commit(batch) {
                Err(CommitError::Conflict { table: TableId::Accounts, .. }) => continue,
                committed => drop(committed.map_err(AccountError::from)?),
            }
            self.0.cache.changed(id);
            return Ok(());
        }
        Err(AccountError::Busy.into())
    }
}

/// Why the accounts could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum AccountsOpenError {
    /// The sealing key.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The store.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Why an account cannot be found, made or changed.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// This node does not host it.
    #[error("Account not found: this node does not host it")]
    NotFound,
    /// Another account here has the DID.
    #[error("Repo already exists: this node hosts an account with that DID")]
    DidTaken,
    /// Another account here has the handle.
    #[error("Handle already taken: choose another one")]
    HandleTaken,
    /// Another account here has the e-mail address.
    #[error("This email address is already in use, please use a different email.")]
    EmailTaken,
    /// Others kept changing the account.
    #[error("the account is being changed by others; try again")]
    Busy,
    /// A key cannot be sealed or opened.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The store cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Something does not fit a batch.
    #[error(transparent)]
    Row(#[from] RowRefused),
    /// The batch was not written.
    #[error(transparent)]
    Commit(CommitError),
    /// Another node has it, or it is not safe there.
    #[error(transparent)]
    NotWritable(#[from] NotWritable),
}

impl From<CommitError> for AccountError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Conflict { table: TableId::AccountsByDid, .. } => Self::DidTaken,
            CommitError::Conflict { table: TableId::AccountsByHandle, .. } => Self::HandleTaken,
            CommitError::Conflict { table: TableId::AccountsByEmail, .. } => Self::EmailTaken,
            other => Self::Commit(other),
        }
    }
}

impl From<NumbersError> for AccountError {
    fn from(error: NumbersError) -> Self {
        match error {
            NumbersError::Read(error) => Self::Read(error),
            NumbersError::Row(error) => Self::Row(error),
            NumbersError::Commit(error) => Self::Commit(error),
        }
    }
}

impl From<TrimError> for AccountError {
    fn from(error: TrimError) -> Self {
        match error {
            TrimError::Read(error) => Self::Read(error),
            TrimError::Refused(error) => Self::Row(error),
        }
    }
}
