//! Secret keys of accounts, sealed: what lies here is of no use without the node's sealing key, which is a file.

use angel_protocol::ids::Did;
use angel_protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::codec::Row;
use crate::key::AccountId;
use crate::tables::{Table, TableId};

/// Sealed keys by account and [`KeyPurpose::number`].
pub const ACCOUNT_KEYS: Table<(AccountId, u8), SealedKeyRow> = Table::new(TableId::AccountKeys);

/// Sealed keys that `com.atproto.server.reserveSigningKey` made, by their `did:key`.
pub const RESERVED_KEYS: Table<Did, ReservedKeyRow> = Table::new(TableId::ReservedKeys);

/// What an account's key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPurpose {
    /// It signs the commits of the repository and service tokens.
    Signing,
    /// It signs for the account's wallet on the ledger.
    Wallet,
    /// The secrets of the account's webhooks follow from it.
    Webhooks,
}

impl KeyPurpose {
    /// Every purpose.
    pub const ALL: [Self; 3] = [Self::Signing, Self::Wallet, Self::Webhooks];

    /// How keys and seals write it.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Signing => 1,
            Self::Wallet => 2,
            Self::Webhooks => 3,
        }
    }
}

/// A sealed secret key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedKeyRow {
    /// The public half, as `did:key`, which also tells the curve.
    pub public: Did,
    /// The nonce of the seal.
    #[serde(with = "serde_bytes")]
    pub nonce: Vec<u8>,
    /// The sealed secret, its authentication tag behind it.
    #[serde(with = "serde_bytes")]
    pub sealed: Vec<u8>,
}

impl Row for SealedKeyRow {
    const VERSION: u8 = 1;
}

/// A key that waits for its account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReservedKeyRow {
    /// For whom it was reserved, when the request said so.
    pub did: Option<Did>,
    /// When it was made. Forgotten reservations are removed.
    pub created_at: Timestamp,
    /// The key.
    pub key: SealedKeyRow,
}

impl Row for ReservedKeyRow {
    const VERSION: u8 = 1;
}
