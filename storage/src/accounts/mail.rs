//! Mail: codes that prove an address, and what is still to be sent.

use angel_protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::codec::{Cbor, Row};
use crate::key::AccountId;
use crate::tables::{Table, TableId};

/// Codes by account and [`MailPurpose::number`]: at most one for each purpose.
pub const MAIL_CODES: Table<(AccountId, u8), MailCodeRow> = Table::new(TableId::MailCodes);

/// Accounts by the code that sets their password anew: whoever forgot the password comes with nothing else.
pub const RESET_CODES: Table<String, Cbor<AccountId>> = Table::new(TableId::ResetCodes);

/// Mails that are still to be sent, oldest first.
pub const MAIL_OUTBOX: Table<u64, MailRow> = Table::new(TableId::MailOutbox);

/// What a code that went to an e-mail address allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MailPurpose {
    /// To confirm the address.
    ConfirmEmail,
    /// To change the address.
    UpdateEmail,
    /// To set a new password.
    ResetPassword,
    /// To delete the account.
    DeleteAccount,
    /// To have a PLC operation signed.
    PlcOperation,
    /// To log in, where the password alone is not enough.
    SignIn,
}

impl MailPurpose {
    /// Every purpose.
    pub const ALL: [Self; 6] = [
        Self::ConfirmEmail,
        Self::UpdateEmail,
        Self::ResetPassword,
        Self::DeleteAccount,
        Self::PlcOperation,
        Self::SignIn,
    ];

    /// How keys write it.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::ConfirmEmail => 1,
            Self::UpdateEmail => 2,
            Self::ResetPassword => 3,
            Self::DeleteAccount => 4,
            Self::PlcOperation => 5,
            Self::SignIn => 6,
        }
    }

    /// Its name, as other hosts have it too.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ConfirmEmail => "confirm_email",
            Self::UpdateEmail => "update_email",
            Self::ResetPassword => "reset_password",
            Self::DeleteAccount => "delete_account",
            Self::PlcOperation => "plc_operation",
            Self::SignIn => "sign_in",
        }
    }
}

/// A code that proves that its bearer receives the account's mail.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailCodeRow {
    /// The code. Short-lived and single-use, and kept as it is so that the operator can hand it on where no mail leaves.
    pub code: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// How often a wrong one was offered since.
    pub failures: u16,
}

impl Row for MailCodeRow {
    const VERSION: u8 = 1;
}

impl std::fmt::Debug for MailCodeRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MailCodeRow").field("created_at", &self.created_at).finish_non_exhaustive()
    }
}

/// A mail that is still to be sent.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailRow {
    /// The address.
    pub to: String,
    /// The subject line.
    pub subject: String,
    /// The text.
    pub text: String,
    /// When it was written.
    pub created_at: Timestamp,
    /// How often sending it failed.
    pub attempts: u16,
    /// Not to be tried before.
    pub not_before: Timestamp,
    /// Not worth sending any more after.
    pub give_up_at: Timestamp,
}

impl Row for MailRow {
    const VERSION: u8 = 1;
}

impl std::fmt::Debug for MailRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MailRow")
            .field("created_at", &self.created_at)
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}
