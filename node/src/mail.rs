//! Mail to the owners of accounts: codes that prove an address, and the outbox that sends them.
//!
//! A code is made with its mail in one batch, so that neither is there without the other. Where no mail server is
//! configured, nothing is sent, and the operator hands codes on (`angel account code`).

mod codes;
mod html;
mod letters;
mod outbox;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use angel_protocol::time::Timestamp;
use angel_storage::accounts::{MAIL_OUTBOX, MailPurpose, MailRow, Numbers};
use angel_storage::reader::ReadError;
use angel_storage::{Batch, Reader, Writer};
use tokio::sync::Notify;

use crate::accounts::{Account, AccountError};
use crate::secrets::SecretError;

pub use self::codes::{CODE_LIFE, CodeRefused, Codes};
pub(crate) use self::letters::{Answered, Invitation};
pub use self::outbox::{Smtp, SmtpError};

/// Most mails that wait to be sent: more means that the mail server is gone, and that people ask again and again.
const OUTBOX_MAX: usize = 1000;

/// Mails that wait when no letter about answers to a form is added: strangers cause those, and others are needed more.
const OUTBOX_FOR_FORMS_MAX: usize = 500;

/// How long a mail without a code is worth sending.
const LETTER_LIFE: Duration = Duration::from_hours(48);

/// Mail to the owners of accounts. Cheap to clone.
#[derive(Clone)]
pub struct Mail(Arc<Shared>);

struct Shared {
    reader: Reader,
    writer: Writer,
    codes: Codes,
    numbers: Numbers,
    smtp: Option<Smtp>,
    /// How this host calls itself in letters.
    host: String,
    wake: Notify,
}

impl std::fmt::Debug for Mail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mail").field("sends", &self.sends()).finish_non_exhaustive()
    }
}

/// Why a mail was not taken.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// The account has no address.
    #[error("the account has no e-mail address")]
    NoAddress,
    /// Nothing is sent from here.
    #[error("no mail server is configured; set mail.smtp_url")]
    NoServer,
    /// Too many wait.
    #[error("{OUTBOX_MAX} mails wait to be sent already; the operator should look at the mail server")]
    OutboxFull,
    /// No randomness.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The store fails.
    #[error(transparent)]
    Account(#[from] AccountError),
}

impl From<ReadError> for MailError {
    fn from(error: ReadError) -> Self {
        Self::Account(error.into())
    }
}

impl Mail {
    /// The mail of an open store, sent through `smtp` if there is one. Blocks.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn open(reader: Reader, writer: Writer, smtp: Option<Smtp>, host: String) -> Result<Self, ReadError> {
        let numbers = Numbers::open(&reader, "mail")?;
        let codes = Codes::new(reader.clone(), writer.clone());
        Ok(Self(Arc::new(Shared { reader, writer, codes, numbers, smtp, host, wake: Notify::new() })))
    }

    /// Whether mail leaves this host.
    #[must_use]
    pub fn sends(&self) -> bool {
        self.0.smtp.is_some()
    }

    /// The codes that were given out.
    #[must_use]
    pub fn codes(&self) -> &Codes {
        &self.0.codes
    }

    /// Makes a code for an account, in the place of an earlier one, and sends it to the account's address. Without an
    /// address the operator alone can hand it on. Blocks until both are durable.
    ///
    /// # Errors
    /// [`MailError`].
    pub fn send_code_blocking(&self, account: &Account, purpose: MailPurpose, now: Timestamp) -> Result<(), MailError> {
        let mut batch = Batch::new();
        let code = self.0.codes.stage_new(&mut batch, account.id(), purpose, now)?;
        if let Some(to) = account.row().email.as_deref().filter(|_| self.sends()) {
            let letter = letters::code(purpose, &code, &account.handle_or_invalid(), &self.0.host);
            self.stage(&mut batch, to, letter, now, now + CODE_LIFE)?;
        }
        self.0.writer.commit(batch).map_err(AccountError::from)?;
        self.0.wake.notify_one();
        Ok(())
    }

    /// Sends a text of the operator's to an account. Blocks until it is in the outbox.
    ///
    /// # Errors
    /// [`MailError`].
    pub fn send_text_blocking(
        &self,
        account: &Account,
        subject: Option<&str>,
        text: &str,
        now: Timestamp,
    ) -> Result<(), MailError> {
        if !self.sends() {
            return Err(MailError::NoServer);
        }
        let to = account.row().email.as_deref().ok_or(MailError::NoAddress)?;
        let mut batch = Batch::new();
        let letter = letters::from_operator(subject, text, &self.0.host);
        self.stage(&mut batch, to, letter, now, now + LETTER_LIFE)?;
        self.0.writer.commit(batch).map_err(AccountError::from)?;
        self.0.wake.notify_one();
        Ok(())
    }

    /// Sends somebody what they need to accept an invitation. Blocks until it is in the outbox.
    ///
    /// # Errors
    /// [`MailError`].
    pub(crate) fn send_invitation_blocking(
        &self,
        to: &str,
        invitation: &Invitation<'_>,
        now: Timestamp,
    ) -> Result<(), MailError> {
        if !self.sends() {
            return Err(MailError::NoServer);
        }
        let mut batch = Batch::new();
        let letter = letters::invitation(invitation, &self.0.host);
        self.stage(&mut batch, to, letter, now, invitation.until)?;
        self.0.writer.commit(batch).map_err(AccountError::from)?;
        self.0.wake.notify_one();
        Ok(())
    }

    /// Sends answers to a form to the address that the business has named. Blocks until they are in the outbox.
    ///
    /// # Errors
    /// [`MailError`].
    pub(crate) fn send_answers_blocking(&self, to: &str, answered: &Answered, now: Timestamp) -> Result<(), MailError> {
        self.send_about_form(to, letters::answers(answered, &self.0.host), now)
    }

    /// Tells whoever answered a form that the answers have come. Blocks until it is in the outbox.
    ///
    /// # Errors
    /// [`MailError`].
    pub(crate) fn send_thanks_blocking(&self, to: &str, answered: &Answered, now: Timestamp) -> Result<(), MailError> {
        self.send_about_form(to, letters::thanks(answered, &self.0.host), now)
    }

    fn send_about_form(&self, to: &str, letter: letters::Letter, now: Timestamp) -> Result<(), MailError> {
        if !self.sends() {
            return Err(MailError::NoServer);
        }
        if self.0.reader.scan(&MAIL_OUTBOX).page(OUTBOX_FOR_FORMS_MAX)?.rows.len() >= OUTBOX_FOR_FORMS_MAX {
            return Err(MailError::OutboxFull);
        }
        let mut batch = Batch::new();
        self.stage(&mut batch, to, letter, now, now + LETTER_LIFE)?;
        self.0.writer.commit(batch).map_err(AccountError::from)?;
        self.0.wake.notify_one();
        Ok(())
    }

    fn stage(
        &self,
        batch: &mut Batch,
        to: &str,
        letter: letters::Letter,
        now: Timestamp,
        give_up_at: Timestamp,
    ) -> Result<(), MailError> {
        if self.0.reader.scan(&MAIL_OUTBOX).page(OUTBOX_MAX)?.rows.len() >= OUTBOX_MAX {
            return Err(MailError::OutboxFull);
        }
        let number = self.0.numbers.next(&self.0.writer).map_err(AccountError::from)?;
        let letters::Letter { subject, text } = letter;
        let row =
            MailRow { to: to.to_owned(), subject, text, created_at: now, attempts: 0, not_before: now, give_up_at };
        batch.put(&MAIL_OUTBOX, &number, &row).map_err(AccountError::from)?;
        Ok(())
    }
}

/// Whether a text is an e-mail address that mail could reach: one `@`, a sensible domain, nothing that would end a
/// header line. Only a mail tells more.
#[must_use]
pub fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let sensible = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '<' | '>' | ',' | ';' | '"' | '@');
    let labels = || domain.split('.');
    text.len() <= 254
        && (1..=64).contains(&local.len())
        && text.parse::<lettre::Address>().is_ok()
        && local.chars().chain(domain.chars()).all(sensible)
        && labels().count() >= 2
        && labels().all(|label| !label.is_empty() && label.len() <= 63)
}
