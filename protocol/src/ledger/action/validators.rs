//! Validators that come, go and lie.

use serde::{Deserialize, Serialize};

use super::super::certificate::Vote;
use super::governance::Approval;
use crate::crypto::Signature;
use crate::ids::Did;

/// See [`super::Action::JoinValidators`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JoinValidators {
    /// The first height it decides.
    pub at: u64,
    /// A quorum of the validators.
    pub approvals: Vec<Approval>,
}

/// See [`super::Action::LeaveValidators`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LeaveValidators {
    /// The first height it does not decide.
    pub at: u64,
}

/// See [`super::Action::RemoveValidator`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RemoveValidator {
    /// Whom.
    pub validator: Did,
    /// The first height it does not decide.
    pub at: u64,
    /// Why.
    pub reason: String,
    /// A quorum of the validators.
    pub approvals: Vec<Approval>,
}

/// See [`super::Action::ReportDoubleVote`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReportDoubleVote {
    /// Whose votes.
    pub validator: Did,
    /// One vote.
    pub first: SignedVote,
    /// Another of the same height, round and step, for something else.
    pub second: SignedVote,
}

/// A consensus vote with its signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignedVote {
    /// The vote.
    pub vote: Vote,
    /// The validator's signature, over [`Vote::sign_bytes`].
    #[serde(with = "serde_bytes")]
    pub signature: Signature,
}
