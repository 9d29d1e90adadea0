//! Stakes, proposals and votes, and the consent of the validators.

use serde::{Deserialize, Serialize};

use super::super::amount::Amount;
use super::super::parameters::{Currency, Parameters, Rate};
use crate::crypto::Signature;
use crate::ids::Did;
use crate::time::Timestamp;

/// See [`super::Action::Stake`] and [`super::Action::Unstake`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Stake {
    /// How much.
    pub amount: Amount,
}

/// See [`super::Action::Delegate`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Delegate {
    /// Whom; nobody takes the power back.
    pub to: Option<Did>,
}

/// See [`super::Action::Propose`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Propose {
    /// What it is about.
    pub title: String,
    /// When voting ends.
    pub ends: Timestamp,
    /// What happens when it passes; nothing for a question of opinion.
    pub change: Option<Change>,
}

/// See [`super::Action::Vote`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CastVote {
    /// Id of the transaction that proposed.
    #[serde(with = "serde_bytes")]
    pub proposal: [u8; 32],
    /// For or against.
    pub in_favour: bool,
}

/// See [`super::Action::Close`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Close {
    /// Id of the transaction that proposed.
    #[serde(with = "serde_bytes")]
    pub proposal: [u8; 32],
}

/// A change of what the whole network agrees on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Change {
    /// One currency's rate, from a time on; no rate makes the currency unavailable.
    Rate(RateChange),
    /// All parameters.
    Parameters(Box<Parameters>),
}

/// See [`Change::Rate`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RateChange {
    /// Which currency.
    pub currency: Currency,
    /// Its new rate.
    pub rate: Option<Rate>,
}

/// See [`super::Action::Change`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApprovedChange {
    /// What changes.
    pub change: Change,
    /// A quorum of the validators.
    pub approvals: Vec<Approval>,
}

/// A validator's consent to one transaction, over [`crate::ledger::statement::approval`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Approval {
    /// The validator.
    pub validator: Did,
    /// Its node key's signature.
    #[serde(with = "serde_bytes")]
    pub signature: Signature,
}
