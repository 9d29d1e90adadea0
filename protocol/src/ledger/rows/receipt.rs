//! What became of transactions, and what they used up.

use borsh::{BorshDeserialize, BorshSerialize};

use super::super::amount::Amount;
use super::super::outcome::Outcome;
use super::super::token::TokenType;
use crate::ids::Did;

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Receipt {
    /// SHA-256 of its bytes.
    pub digest: [u8; 32],
    /// The height at which it was decided.
    pub height: u64,
    /// Its place in the batch.
    pub index: u32,
    /// The outcome, final.
    pub outcome: Outcome,
    /// What it moved.
    pub moved: Option<Moved>,
    /// The transaction that undid it.
    pub reversed_by: Option<[u8; 32]>,
}

/// A movement of tokens.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Moved {
    /// Who paid; nobody for rewards and grants.
    pub from: Option<Did>,
    /// The payer's scope.
    pub from_tenant: Option<Did>,
    /// Who received.
    pub to: Did,
    /// The receiver's scope.
    pub to_tenant: Option<Did>,
    /// As what.
    pub token: TokenType,
    /// How much, without the fee.
    pub amount: Amount,
    /// What the payer paid beside it.
    pub fee: Amount,
}

/// That something was used up: a cause rewarded, a witness counted.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Mark;

/// Recognitions between two people in thirty days, the one with the smaller DID first.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Pair {
    pub(crate) month: u64,
    pub(crate) forth: u32,
    pub(crate) back: u32,
}
