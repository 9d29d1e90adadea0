//! Codes that prove that their bearer reads an account's mail: single-use, short-lived, one for each purpose, and gone
//! after a few wrong guesses.

use std::time::Duration;

use angel_protocol::time::Timestamp;
use angel_storage::accounts::{MAIL_CODES, MailCodeRow, MailPurpose, RESET_CODES};
use angel_storage::codec::Cbor;
use angel_storage::{AccountId, Batch, CommitError, Reader, Writer};
use data_encoding::BASE32_NOPAD;
use subtle::ConstantTimeEq;

use super::MailError;
use crate::accounts::AccountError;
use crate::secrets::random_bytes;

/// How long a code is good, as on other hosts.
pub const CODE_LIFE: Duration = Duration::from_mins(15);

/// Wrong guesses after which a code is void: of 50 random bits nobody has guessed a relevant part by then.
const FAILURES_MAX: u16 = 10;

/// The codes of a store.
#[derive(Clone, Debug)]
pub struct Codes {
    reader: Reader,
    writer: Writer,
}

/// Why a code is not taken.
#[derive(Debug, thiserror::Error)]
pub enum CodeRefused {
    /// None was given out, it was used, or it is another one.
    #[error("Token is invalid: ask for a new code")]
    Invalid,
    /// It is older than [`CODE_LIFE`].
    #[error("Token is expired: ask for a new code")]
    Expired,
    /// The store fails.
    #[error(transparent)]
    Account(#[from] AccountError),
}

impl Codes {
    pub(super) fn new(reader: Reader, writer: Writer) -> Self {
        Self { reader, writer }
    }

    /// Adds a new code to `batch`, in the place of an earlier one.
    pub(super) fn stage_new(
        &self,
        batch: &mut Batch,
        id: AccountId,
        purpose: MailPurpose,
        now: Timestamp,
    ) -> Result<String, MailError> {
        let text = BASE32_NOPAD.encode(&random_bytes::<7>()?[..]);
        let code = format!("{}-{}", &text[..5], &text[5..10]);
        let row = MailCodeRow { code: code.clone(), created_at: now, failures: 0 };
        if purpose == MailPurpose::ResetPassword {
            if let Some(old) = self.reader.get(&MAIL_CODES, &(id, purpose.number()))? {
                batch.delete(&RESET_CODES, &old.code).map_err(AccountError::from)?;
            }
            batch.put(&RESET_CODES, &code, &Cbor(id)).map_err(AccountError::from)?;
        }
        batch.put(&MAIL_CODES, &(id, purpose.number()), &row).map_err(AccountError::from)?;
        Ok(code)
    }

    /// The code that an account can use now, for the operator to hand on. Blocks.
    ///
    /// # Errors
    /// The store fails.
    pub fn current_blocking(
        &self,
        id: AccountId,
        purpose: MailPurpose,
        now: Timestamp,
    ) -> Result<Option<String>, AccountError> {
        let row = self.reader.get(&MAIL_CODES, &(id, purpose.number()))?;
        Ok(row.filter(|row| row.created_at + CODE_LIFE > now).map(|row| row.code))
    }

    /// Whether `offered` is the code, without using it up. A wrong guess is remembered. Blocks.
    ///
    /// # Errors
    /// [`CodeRefused`].
    pub fn check_blocking(
        &self,
        id: AccountId,
        purpose: MailPurpose,
        offered: &str,
        now: Timestamp,
    ) -> Result<(), CodeRefused> {
        self.checked(id, purpose, offered, now).map(drop)
    }

    /// Checks a code and adds to `batch` that it is used up: whatever the batch does happens once. The batch is refused
    /// with [`CommitError::Conflict`] on the table of mail codes when the code is used elsewhere at the same time.
    /// Blocks.
    ///
    /// # Errors
    /// [`CodeRefused`].
    pub fn stage_use(
        &self,
        batch: &mut Batch,
        id: AccountId,
        purpose: MailPurpose,
        offered: &str,
        now: Timestamp,
    ) -> Result<(), CodeRefused> {
        let row = self.checked(id, purpose, offered, now)?;
        let key = (id, purpose.number());
        batch.expect_value(&MAIL_CODES, &key, &row).map_err(AccountError::from)?;
        batch.delete(&MAIL_CODES, &key).map_err(AccountError::from)?;
        if purpose == MailPurpose::ResetPassword {
            batch.delete(&RESET_CODES, &row.code).map_err(AccountError::from)?;
        }
        Ok(())
    }

    /// Uses up a code. Blocks until that is durable.
    ///
    /// # Errors
    /// [`CodeRefused`].
    pub fn use_blocking(
        &self,
        id: AccountId,
        purpose: MailPurpose,
        offered: &str,
        now: Timestamp,
    ) -> Result<(), CodeRefused> {
        let mut batch = Batch::new();
        self.stage_use(&mut batch, id, purpose, offered, now)?;
        match self.writer.commit(batch) {
            Err(CommitError::Conflict { .. }) => Err(CodeRefused::Invalid),
            committed => Ok(committed.map(drop).map_err(AccountError::from)?),
        }
    }

    /// Whose password a code sets anew. Whether it still may is for [`Self::stage_use`] to say. Blocks.
    ///
    /// # Errors
    /// The store fails.
    pub fn account_of_reset_blocking(&self, offered: &str) -> Result<Option<AccountId>, AccountError> {
        let offered = offered.trim().to_ascii_uppercase();
        if offered.len() != 11 {
            return Ok(None);
        }
        Ok(self.reader.get(&RESET_CODES, &offered)?.map(|Cbor(id)| id))
    }

    fn checked(
        &self,
        id: AccountId,
        purpose: MailPurpose,
        offered: &str,
        now: Timestamp,
    ) -> Result<MailCodeRow, CodeRefused> {
        let key = (id, purpose.number());
        let row = self.reader.get(&MAIL_CODES, &key).map_err(AccountError::from)?.ok_or(CodeRefused::Invalid)?;
        let offered = offered.trim().to_ascii_uppercase();
        if !bool::from(row.code.as_bytes().ct_eq(offered.as_bytes())) {
            self.failed(key, row)?;
            return Err(CodeRefused::Invalid);
        }
        if row.created_at + CODE_LIFE <= now {
            return Err(CodeRefused::Expired);
        }
        Ok(row)
    }

    fn failed(&self, key: (AccountId, u8), row: MailCodeRow) -> Result<(), AccountError> {
        let mut batch = Batch::new();
        batch.expect_value(&MAIL_CODES, &key, &row)?;
        if row.failures + 1 >= FAILURES_MAX {
            batch.delete(&RESET_CODES, &row.code)?;
            batch.delete(&MAIL_CODES, &key)?;
        } else {
            let failures = row.failures + 1;
            batch.put(&MAIL_CODES, &key, &MailCodeRow { failures, ..row })?;
        }
        match self.writer.commit(batch) {
            // Another guess, or the right code, was faster.
            Err(CommitError::Conflict { .. }) => Ok(()),
            committed => Ok(committed.map(drop)?),
        }
    }
}
