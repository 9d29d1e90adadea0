//! What is kept for an account besides its repository and files.

use serde::{Deserialize, Serialize};

use super::{InvalidFrame, decode, encode};
use crate::ids::Did;
use crate::limits::REPLICA_ANSWER_BYTES_MAX;
use crate::time::Timestamp;

/// What is kept for an account besides repository and files: what is sealed to a standby, who shows it to nobody before
/// it takes over.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountState {
    /// Its handle.
    pub handle: Option<String>,
    /// Its e-mail address.
    pub email: Option<String>,
    /// When that was confirmed.
    pub email_confirmed_at: Option<Timestamp>,
    /// Whether a login with its password also takes a code that is sent to that address.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub second_factor: bool,
    /// Hash of its password.
    pub password: Option<String>,
    /// The owner's recovery key.
    pub recovery_key: Option<Did>,
    /// When the account was made.
    pub created_at: Timestamp,
    /// Whether the operator has suspended it.
    pub suspended: bool,
    /// Whether its owner has switched it off.
    pub deactivated: bool,
    /// Whether the operator has taken it down.
    pub taken_down: bool,
    /// Whether it gets no invite codes.
    pub invites_disabled: bool,
    /// Passwords for single apps.
    pub app_passwords: Vec<AppPassword>,
    /// What apps keep for it, as JSON.
    pub preferences: Option<serde_bytes::ByteBuf>,
    /// Secret of its wallet on the ledger, where its host keeps it.
    pub wallet: Option<serde_bytes::ByteBuf>,
    /// Secret from which those of its webhooks follow, where it has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhooks: Option<serde_bytes::ByteBuf>,
    /// Whether writes wait for a standby.
    pub waits_for_standby: bool,
    /// To whom archives for vaults are sealed: an `age` recipient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<String>,
    /// How many standbys it is to have, while one that has no room is being replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standbys: Option<u16>,
}

/// A password for one app.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppPassword {
    /// Its name.
    pub name: String,
    /// Its digest.
    #[serde(with = "serde_bytes")]
    pub digest: Vec<u8>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Whether it may read private messages.
    pub privileged: bool,
}

impl std::fmt::Debug for AccountState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccountState").field("handle", &self.handle).finish_non_exhaustive()
    }
}

impl AccountState {
    /// Its bytes, before they are sealed.
    ///
    /// # Errors
    /// It is too large.
    pub fn encode(&self) -> Result<Vec<u8>, InvalidFrame> {
        encode(self, REPLICA_ANSWER_BYTES_MAX)
    }

    /// Reads it after it was opened.
    ///
    /// # Errors
    /// [`InvalidFrame`].
    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidFrame> {
        decode(bytes, REPLICA_ANSWER_BYTES_MAX)
    }
}
