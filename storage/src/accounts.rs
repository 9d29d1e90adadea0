//! The accounts that this node hosts: who they are, how they log in, and what is kept for them besides the repository.
//!
//! An account is found by its number, its DID, its handle or its e-mail address; the four rows change in one batch, and
//! the batch is refused when another account holds the name already. This module decides nothing about passwords,
//! tokens or rights: it keeps rows.

mod invites;
mod keys;
mod mail;
mod moderation;
mod numbers;
mod preferences;
mod sessions;

#[cfg(test)]
mod tests;

use std::fmt;

use angel_protocol::ids::{Did, Handle};
use angel_protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::batch::{Batch, RowRefused};
use crate::codec::{Cbor, Row, StoredValue};
use crate::events::TrimError;
use crate::key::{AccountId, Key};
use crate::limits::BULK_ROWS;
use crate::reader::{ReadError, Reader, Rows};
use crate::tables::{Table, TableId};
use crate::verify::Check;

pub use invites::{
    INVITE_CODES, INVITE_CODES_BY_ACCOUNT, INVITE_USES_MAX, InviteCodeRow, InviteUse, MadeBy, invite_codes_of,
};
pub use keys::{ACCOUNT_KEYS, KeyPurpose, RESERVED_KEYS, ReservedKeyRow, SealedKeyRow};
pub use mail::{MAIL_CODES, MAIL_OUTBOX, MailCodeRow, MailPurpose, MailRow, RESET_CODES};
pub use moderation::{REPORTS, ReportRow, TAKEDOWNS, TakedownRow, takedown_of_blob, takedown_of_record};
pub use numbers::{Numbers, NumbersError};
pub use preferences::PREFERENCES;
pub use sessions::{APP_PASSWORDS, AppPasswordRow, SESSIONS, SessionRow, TokenId};

/// Every hosted account.
pub const ACCOUNTS: Table<AccountId, AccountRow> = Table::new(TableId::Accounts);

/// Accounts by DID.
pub const ACCOUNTS_BY_DID: Table<Did, Cbor<AccountId>> = Table::new(TableId::AccountsByDid);

/// Accounts by handle, in lower case as [`Handle`] keeps it.
pub const ACCOUNTS_BY_HANDLE: Table<String, Cbor<AccountId>> = Table::new(TableId::AccountsByHandle);

/// Accounts by e-mail address, in lower case.
pub const ACCOUNTS_BY_EMAIL: Table<String, Cbor<AccountId>> = Table::new(TableId::AccountsByEmail);

/// An account that this node hosts. Its debug form shows neither the password's hash nor the e-mail address.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountRow {
    /// Who it is.
    pub did: Did,
    /// Its handle; `None` when it lost its handle to another account.
    pub handle: Option<Handle>,
    /// Where mail reaches the owner, in lower case.
    pub email: Option<String>,
    /// When the owner proved to receive that mail.
    pub email_confirmed_at: Option<Timestamp>,
    /// Whether a login with the password also takes a code that is sent to that address.
    #[serde(default)]
    pub second_factor: bool,
    /// Argon2id hash in PHC form; `None` when the account has no password and cannot log in with one.
    pub password: Option<String>,
    /// The public half of the key that signs its commits, as `did:key`.
    pub signing_key: Did,
    /// The owner's recovery key, as `did:key`: the most powerful rotation key, whose secret half is not here.
    pub recovery_key: Option<Did>,
    /// When it was made here.
    pub created_at: Timestamp,
    /// Access tokens made before are void: the owner or the operator changed the password.
    pub tokens_valid_from: Timestamp,
    /// Set while the owner has switched the account off.
    pub deactivated: Option<Deactivation>,
    /// Set while the operator has taken the account down.
    pub takedown: Option<TakedownRow>,
    /// Set while the operator has suspended the account.
    #[serde(default)]
    pub suspended: bool,
    /// Whether the account gets no invite codes.
    pub invites_disabled: bool,
    /// The operator's remark about that.
    pub invite_note: Option<String>,
    /// The code with which it was made.
    pub invite_code: Option<String>,
}

impl Row for AccountRow {
    const VERSION: u8 = 1;
}

/// When and how long an owner switched the account off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deactivation {
    /// Since when.
    pub at: Timestamp,
    /// When the owner wishes it to be deleted.
    pub delete_after: Option<Timestamp>,
    /// Whether its identity named another host when it was switched off: what lies here is what it was.
    #[serde(default)]
    pub elsewhere: bool,
}

impl Deactivation {
    /// Of an account whose identity leads here, for the time being.
    #[must_use]
    pub const fn new(at: Timestamp, delete_after: Option<Timestamp>) -> Self {
        Self { at, delete_after, elsewhere: false }
    }
}

/// What an account's state means for others (`com.atproto.sync.getRepoStatus`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountStatus {
    /// Served to everybody.
    Active,
    /// Switched off by its owner; also an account that is being moved here.
    Deactivated {
        /// When the owner wishes it to be deleted.
        delete_after: Option<Timestamp>,
    },
    /// Taken down by the operator.
    TakenDown {
        /// The operator's reference.
        reference: Option<String>,
    },
    /// Suspended by the operator.
    Suspended,
}

impl AccountStatus {
    /// Whether the account is served to everybody.
    #[must_use]
    pub const fn is_active(&self) -> bool {
        matches!(self, Self::Active)
    }

    /// The name of an inactive status in XRPC answers and firehose events, `None` for [`AccountStatus::Active`].
    #[must_use]
    pub const fn name(&self) -> Option<&'static str> {
        match self {
            Self::Active => None,
            Self::Deactivated { .. } => Some("deactivated"),
            Self::TakenDown { .. } => Some("takendown"),
            Self::Suspended => Some("suspended"),
        }
    }
}

impl AccountRow {
    /// The row of an account that nobody can name or log in to, switched off: a copy of one that is served elsewhere, or one
    /// that is being restored. What it is to be called comes with the rest of it.
    #[must_use]
    pub const fn without_names(did: Did, signing_key: Did, now: Timestamp) -> Self {
        Self {
            did,
            handle: None,
            email: None,
            email_confirmed_at: None,
            second_factor: false,
            password: None,
            signing_key,
            recovery_key: None,
            created_at: now,
            tokens_valid_from: now,
            deactivated: Some(Deactivation::new(now, None)),
            takedown: None,
            suspended: false,
            invites_disabled: true,
            invite_note: None,
            invite_code: None,
        }
    }

    /// What the row's marks mean together. The operator's word counts before the owner's.
    #[must_use]
    pub fn status(&self) -> AccountStatus {
        match (&self.takedown, self.suspended, self.deactivated) {
            (Some(takedown), ..) => AccountStatus::TakenDown { reference: takedown.reference.clone() },
            (None, true, _) => AccountStatus::Suspended,
            (None, false, Some(Deactivation { delete_after, .. })) => AccountStatus::Deactivated { delete_after },
            (None, false, None) => AccountStatus::Active,
        }
    }
}

impl fmt::Debug for AccountRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccountRow")
            .field("did", &self.did)
            .field("handle", &self.handle)
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

/// The names under which an account is found.
fn index_names(row: &AccountRow) -> (Option<String>, Option<String>) {
    (row.handle.as_ref().map(|handle| handle.as_str().to_owned()), row.email.clone())
}

/// Adds a new account with its index rows. The batch is refused when the number, the DID, the handle or the e-mail
/// address is in use.
///
/// # Errors
///
/// The batch is full.
pub fn stage_new(batch: &mut Batch, id: AccountId, row: &AccountRow) -> Result<(), RowRefused> {
    batch.expect_absent(&ACCOUNTS, &id)?;
    batch.put(&ACCOUNTS, &id, row)?;
    batch.expect_absent(&ACCOUNTS_BY_DID, &row.did)?;
    batch.put(&ACCOUNTS_BY_DID, &row.did, &Cbor(id))?;
    let (handle, email) = index_names(row);
    move_index(batch, &ACCOUNTS_BY_HANDLE, id, None, handle)?;
    move_index(batch, &ACCOUNTS_BY_EMAIL, id, None, email)
}

/// Replaces an account's row and its index rows; the DID never changes. The batch is refused when the row is no longer
/// `old`, or when another account holds the new handle or e-mail address.
///
/// # Errors
///
/// The batch is full.
pub fn stage_change(batch: &mut Batch, id: AccountId, old: &AccountRow, new: &AccountRow) -> Result<(), RowRefused> {
    debug_assert_eq!(old.did, new.did, "an account keeps its DID");
    batch.expect_value(&ACCOUNTS, &id, old)?;
    batch.put(&ACCOUNTS, &id, new)?;
    let ((old_handle, old_email), (handle, email)) = (index_names(old), index_names(new));
    move_index(batch, &ACCOUNTS_BY_HANDLE, id, old_handle, handle)?;
    move_index(batch, &ACCOUNTS_BY_EMAIL, id, old_email, email)
}

/// Removes an account's row, its index rows and its key. What else is its own is removed by [`stage_remove_rest`].
///
/// # Errors
///
/// The batch is full.
pub fn stage_remove(batch: &mut Batch, id: AccountId, old: &AccountRow) -> Result<(), RowRefused> {
    batch.expect_value(&ACCOUNTS, &id, old)?;
    batch.delete(&ACCOUNTS, &id)?;
    batch.delete(&ACCOUNTS_BY_DID, &old.did)?;
    let (handle, email) = index_names(old);
    move_index(batch, &ACCOUNTS_BY_HANDLE, id, handle, None)?;
    move_index(batch, &ACCOUNTS_BY_EMAIL, id, email, None)?;
    for purpose in KeyPurpose::ALL {
        batch.delete(&ACCOUNT_KEYS, &(id, purpose.number()))?;
    }
    Ok(())
}

/// Removes sessions, app passwords, mail codes, preferences and takedowns of an account. The invite codes stay: they
/// say how other accounts came to be.
///
/// # Errors
///
/// The engine fails, or the batch is full.
pub fn stage_remove_rest(reader: &Reader, batch: &mut Batch, id: AccountId) -> Result<(), TrimError> {
    for (key, _) in all_of(reader, &SESSIONS, id)? {
        batch.delete(&SESSIONS, &(id, key))?;
    }
    for (key, _) in all_of(reader, &APP_PASSWORDS, id)? {
        batch.delete(&APP_PASSWORDS, &(id, key))?;
    }
    for (key, row) in all_of(reader, &MAIL_CODES, id)? {
        batch.delete(&MAIL_CODES, &(id, key))?;
        if key == MailPurpose::ResetPassword.number() {
            batch.delete(&RESET_CODES, &row.code)?;
        }
    }
    for (key, _) in all_of(reader, &TAKEDOWNS, id)? {
        batch.delete(&TAKEDOWNS, &(id, key))?;
    }
    PREFERENCES.delete(reader, batch, &id)
}

fn move_index(
    batch: &mut Batch,
    index: &Table<String, Cbor<AccountId>>,
    id: AccountId,
    old: Option<String>,
    new: Option<String>,
) -> Result<(), RowRefused> {
    if old == new {
        return Ok(());
    }
    if let Some(old) = old {
        batch.delete(index, &old)?;
    }
    if let Some(new) = new {
        batch.expect_absent(index, &new)?;
        batch.put(index, &new, &Cbor(id))?;
    }
    Ok(())
}

/// The account that an index names.
///
/// # Errors
///
/// The engine fails, or a row cannot be read.
pub fn find_in<K: Key>(
    reader: &Reader,
    index: &Table<K, Cbor<AccountId>>,
    name: &K,
) -> Result<Option<(AccountId, AccountRow)>, ReadError> {
    let Some(Cbor(id)) = reader.get(index, name)? else { return Ok(None) };
    // Between the two reads the account may have been removed.
    Ok(reader.get(&ACCOUNTS, &id)?.map(|row| (id, row)))
}

/// Accounts in the order of their numbers, behind `after`.
///
/// # Errors
///
/// The engine fails, or a row cannot be read.
pub fn page(reader: &Reader, after: Option<AccountId>, limit: usize) -> Result<Rows<AccountId, AccountRow>, ReadError> {
    let scan = reader.scan(&ACCOUNTS);
    match after {
        Some(after) => scan.after(&after).page(limit),
        None => scan.page(limit),
    }
}

/// Every row of `table` that belongs to the account. Only for tables whose rows per account are few.
///
/// # Errors
///
/// The engine fails, or a row cannot be read.
pub fn all_of<B: Key, V: StoredValue>(
    reader: &Reader,
    table: &Table<(AccountId, B), V>,
    id: AccountId,
) -> Result<Vec<(B, V)>, ReadError> {
    let mut all = Vec::new();
    let mut page = reader.scan(table).prefix(&id).page(BULK_ROWS)?;
    while let Some((last, _)) = page.rows.last().filter(|_| page.more) {
        let next = reader.scan(table).prefix(&id).after(last).page(BULK_ROWS)?;
        all.extend(std::mem::replace(&mut page, next).rows);
    }
    all.extend(page.rows);
    Ok(all.into_iter().map(|((_, key), row)| (key, row)).collect())
}

/// How the tables of this module are checked by [`crate::verify`].
pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::of(&ACCOUNTS),
        Check::of(&ACCOUNTS_BY_DID),
        Check::of(&ACCOUNTS_BY_HANDLE),
        Check::of(&ACCOUNTS_BY_EMAIL),
        Check::of(&ACCOUNT_KEYS),
        Check::of(&RESERVED_KEYS),
        Check::of(&SESSIONS),
        Check::of(&APP_PASSWORDS),
        Check::of(&INVITE_CODES),
        Check::of(&INVITE_CODES_BY_ACCOUNT),
        Check::of(&MAIL_CODES),
        Check::of(&MAIL_OUTBOX),
        Check::of(&PREFERENCES.rows()),
        Check::of(&REPORTS),
        Check::of(&TAKEDOWNS),
        Check::of(&RESET_CODES),
    ]
}
