//! Proposals, ballots and delegation.

use borsh::{BorshDeserialize, BorshSerialize};

use crate::ids::Did;

/// A question put to the vote.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Proposal {
    /// Who asked.
    pub by: Did,
    /// What it is about.
    pub title: String,
    /// When voting ends, in milliseconds.
    pub ends: u64,
    /// The change it makes when it passes: canonical DAG-CBOR, absent for a question of opinion.
    pub change: Option<Vec<u8>>,
    /// Voting power in favour.
    pub in_favour: u64,
    /// Voting power against.
    pub against: u64,
    /// Whether it passed; absent while open.
    pub passed: Option<bool>,
}

/// That an account's power was used on a proposal.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Ballot {
    pub(crate) in_favour: bool,
    pub(crate) power: u64,
}

/// Who delegates to an account, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Delegators(pub(crate) Vec<Did>);
