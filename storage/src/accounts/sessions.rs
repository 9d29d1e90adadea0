//! Logins: sessions that can be refreshed, and passwords for single apps.

use angel_protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::codec::Row;
use crate::key::AccountId;
use crate::tables::{Table, TableId};

/// What tells one refresh token of a session from the next.
pub type TokenId = [u8; 16];

/// Sessions by account and the session's own random id.
pub const SESSIONS: Table<(AccountId, [u8; 16]), SessionRow> = Table::new(TableId::Sessions);

/// App passwords by account and name.
pub const APP_PASSWORDS: Table<(AccountId, String), AppPasswordRow> = Table::new(TableId::AppPasswords);

/// A login: the one refresh token that is valid now, and the one before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRow {
    /// When the owner logged in.
    pub created_at: Timestamp,
    /// The token that the next refresh must show.
    pub current: TokenId,
    /// When that token was given out, and until when it is good.
    pub refreshed_at: Timestamp,
    /// When the session ends unless it is refreshed.
    pub expires_at: Timestamp,
    /// The token before, which is still answered for a while, because its answer may have been lost.
    pub previous: Option<(TokenId, Timestamp)>,
    /// The app password that opened the session; `None` for the account's own.
    pub app_password: Option<String>,
    /// Whether that app password may read and write private messages.
    pub privileged: bool,
}

impl Row for SessionRow {
    const VERSION: u8 = 1;
}

/// A password for one app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppPasswordRow {
    /// SHA-256 over the account's DID and the password. No slow hash is needed: the password is random and long.
    #[serde(with = "serde_bytes")]
    pub digest: Vec<u8>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Whether it may read and write private messages.
    pub privileged: bool,
}

impl Row for AppPasswordRow {
    const VERSION: u8 = 1;
}
