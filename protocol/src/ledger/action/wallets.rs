//! Wallets and the people behind them.

use serde::{Deserialize, Serialize};

use super::governance::Approval;
use crate::crypto::Signature;
use crate::ids::Did;

/// See [`super::Action::RegisterWallet`]. Signed with the wallet key itself, at sequence 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RegisterWallet {
    /// The wallet's Ed25519 key.
    #[serde(with = "serde_bytes")]
    pub key: [u8; 32],
    /// Whose it is.
    pub holder: Holder,
    /// The node that hosts the account.
    pub home: Did,
    /// The home node's word that this key is the account's, over [`crate::ledger::statement::binding`].
    #[serde(with = "serde_bytes")]
    pub binding: Signature,
}

/// What kind of account a wallet belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Holder {
    /// A human being, as far as it says itself.
    Person,
    /// A tenant.
    Business,
    /// Software that acts for somebody.
    Agent {
        /// Who answers for it.
        owner: Did,
    },
}

/// See [`super::Action::RotateKey`]. Signed with the old key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RotateKey {
    /// The new key.
    #[serde(with = "serde_bytes")]
    pub key: [u8; 32],
    /// The new key's consent, over [`crate::ledger::statement::possession`].
    #[serde(with = "serde_bytes")]
    pub possession: Signature,
}

/// See [`super::Action::MoveHome`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MoveHome {
    /// The new home node.
    pub home: Did,
}

/// See [`super::Action::Vouch`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Vouch {
    /// The person.
    pub person: Did,
}

/// See [`super::Action::Flag`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Flag {
    /// Whose wallet.
    pub account: Did,
    /// What was seen.
    pub anomaly: Anomaly,
    /// Raised, or cleared.
    pub raised: bool,
    /// Why.
    pub reason: String,
    /// Empty when the home node signs; otherwise a quorum of validators.
    pub approvals: Vec<Approval>,
}

/// A sign of fraud (TOK-13).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Anomaly {
    /// Two transactions signed for one sequence.
    DoubleSpendAttempt,
    /// A decided transaction sent again.
    Replay,
    /// More than the hourly number of transfers.
    Velocity,
    /// Value that comes back to its sender.
    CircularTransfers,
    /// Two people who recognise each other alone.
    ReciprocalRecognition,
    /// A balance that does not follow from its transactions.
    BalanceMismatch,
}
