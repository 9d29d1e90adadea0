//! Votes: the ledger's, as the engine asks for them.

use borsh::{BorshDeserialize, BorshSerialize};
use malachitebft_core_types::{NilOrVal, Round, SignedExtension, VoteType};

use super::context::LedgerContext;
use super::height::Height;
use super::validators::Address;
use super::value::ValueId;
use crate::ids::NetworkId;
use crate::ledger::certificate::{self, Step};

/// A vote of one validator.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Vote {
    /// The height.
    pub height: Height,
    /// The round.
    pub round: Round,
    /// The step.
    pub step: VoteType,
    /// For what, or for nothing.
    pub value: NilOrVal<ValueId>,
    /// Whose.
    pub validator: Address,
}

impl Vote {
    /// The ledger's form of it, which is what is signed. A vote outside every round is none.
    #[must_use]
    pub fn in_ledger(&self, network: &NetworkId) -> Option<certificate::Vote> {
        Some(certificate::Vote {
            network: network.clone(),
            height: self.height.0,
            round: self.round.as_u32()?,
            step: match self.step {
                VoteType::Prevote => Step::Prevote,
                VoteType::Precommit => Step::Precommit,
            },
            value: match self.value {
                NilOrVal::Nil => None,
                NilOrVal::Val(value) => Some(value.into()),
            },
        })
    }
}

impl malachitebft_core_types::Vote<LedgerContext> for Vote {
    fn height(&self) -> Height {
        self.height
    }

    fn round(&self) -> Round {
        self.round
    }

    fn value(&self) -> &NilOrVal<ValueId> {
        &self.value
    }

    fn take_value(self) -> NilOrVal<ValueId> {
        self.value
    }

    fn vote_type(&self) -> VoteType {
        self.step
    }

    fn validator_address(&self) -> &Address {
        &self.validator
    }

    // There are no vote extensions: a vote is what a certificate shows, and nothing more.

    fn extension(&self) -> Option<&SignedExtension<LedgerContext>> {
        None
    }

    fn take_extension(&mut self) -> Option<SignedExtension<LedgerContext>> {
        None
    }

    fn extend(self, _: SignedExtension<LedgerContext>) -> Self {
        self
    }
}
