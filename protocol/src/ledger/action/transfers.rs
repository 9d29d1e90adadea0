//! What moves tokens, and what is shown for it.

use serde::{Deserialize, Serialize};

use super::super::amount::Amount;
use super::super::parameters::Currency;
use super::governance::Approval;
use crate::crypto::Signature;
use crate::ids::Did;
use crate::time::Timestamp;

/// See [`super::Action::KarmaReward`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KarmaReward {
    /// The person.
    pub to: Did,
    /// The tenant inside which it was earned.
    pub tenant: Option<Did>,
    /// What the policy gives for the karma gained; stated, so that the signer says what he means.
    pub amount: Amount,
    /// The person's karma now.
    pub karma: u64,
    /// What is rewarded, and who saw it.
    pub cause: Cause,
}

/// The content, campaign or event that a reward is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cause {
    /// Its at-uri.
    pub uri: String,
    /// When it came about.
    pub at: Timestamp,
    /// Impact score, 0 to 100: follows from the witnesses (TOK-06).
    pub impact: u8,
    /// Those who confirm it.
    pub witnesses: Vec<Witness>,
}

/// One person's confirmation of a contribution (`network.md` 7.5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Witness {
    /// The person.
    pub account: Did,
    /// The tenant the person speaks from.
    pub tenant: Option<Did>,
    /// The person's wallet key, over [`crate::ledger::statement::witness`].
    #[serde(with = "serde_bytes")]
    pub signature: Signature,
}

/// See [`super::Action::PeerRecognition`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PeerRecognition {
    /// The person recognised.
    pub to: Did,
    /// The tenant inside which both balances are.
    pub tenant: Option<Did>,
    /// What is given.
    pub amount: Amount,
    /// What is recognised.
    pub cause: Cause,
    /// In the giver's words.
    pub reason: String,
}

/// See [`super::Action::CrossTenantExchange`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Exchange {
    /// Who receives.
    pub to: Did,
    /// The payer's scope.
    pub from_tenant: Option<Did>,
    /// The receiver's scope.
    pub to_tenant: Option<Did>,
    /// Millionths of the unit of `currency`.
    pub amount: Amount,
    /// What `amount` is counted in. What moves is always tokens.
    pub currency: Currency,
    /// The rate that the payer was promised; needed for every currency but tokens.
    pub quote: Option<Quote>,
    /// In the payer's words.
    pub reason: String,
}

/// A node's promise of a rate (`network.md` 6.3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Quote {
    /// Who promises.
    pub node: Did,
    /// Since when.
    pub issued: Timestamp,
    /// Until when.
    pub expires: Timestamp,
    /// Micro-tokens for one unit of the currency.
    pub rate: u64,
    /// Fee across nodes, basis points.
    pub fee: u16,
    /// The node's key, over [`crate::ledger::statement::quote`].
    #[serde(with = "serde_bytes")]
    pub signature: Signature,
}

/// See [`super::Action::NodeReward`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeReward {
    /// The node.
    pub to: Did,
    /// What it gets.
    pub amount: Amount,
    /// The day it worked: whole days since 1970. Each day is paid once.
    pub day: u64,
}

/// See [`super::Action::JusticeFund`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JusticeFund {
    /// The fund, or whom the fund helps.
    pub to: Did,
    /// What is given.
    pub amount: Amount,
    /// In the giver's words.
    pub reason: String,
}

/// See [`super::Action::SystemGrant`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SystemGrant {
    /// Who receives.
    pub to: Did,
    /// The receiver's scope.
    pub tenant: Option<Did>,
    /// What is granted.
    pub amount: Amount,
    /// Why.
    pub reason: String,
    /// A quorum of validators.
    pub approvals: Vec<Approval>,
}

/// See [`super::Action::Reversal`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reversal {
    /// The transfer to undo.
    #[serde(with = "serde_bytes")]
    pub reverses: [u8; 32],
    /// Why.
    pub reason: String,
    /// Empty when the receiver of the transfer signs; a quorum of validators when fraud was proven.
    pub approvals: Vec<Approval>,
}
