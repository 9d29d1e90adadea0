//! Proposals: who proposes which value in which round.

use borsh::{BorshDeserialize, BorshSerialize};
use malachitebft_core_types::Round;

use super::context::LedgerContext;
use super::height::Height;
use super::validators::Address;
use super::value::ValueId;
use crate::crypto::Domain;
use crate::ids::NetworkId;

/// What a proposal's signature covers first.
pub const PROPOSAL: Domain = Domain::new("angel/proposal/1");

/// A proposal.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Proposal {
    /// The height.
    pub height: Height,
    /// The round.
    pub round: Round,
    /// What is proposed.
    pub value: ValueId,
    /// The round in which two thirds prevoted for it, if there was one (Tendermint, "validRound").
    pub pol_round: Round,
    /// By whom.
    pub proposer: Address,
}

impl Proposal {
    /// What the proposer signs for [`PROPOSAL`]: Borsh of the network's id and the proposal.
    #[must_use]
    pub fn sign_bytes(&self, network: &NetworkId) -> Vec<u8> {
        borsh::to_vec(&(network.as_str(), self)).expect("memory takes every byte")
    }
}

impl malachitebft_core_types::Proposal<LedgerContext> for Proposal {
    fn height(&self) -> Height {
        self.height
    }

    fn round(&self) -> Round {
        self.round
    }

    fn value(&self) -> &ValueId {
        &self.value
    }

    fn take_value(self) -> ValueId {
        self.value
    }

    fn pol_round(&self) -> Round {
        self.pol_round
    }

    fn validator_address(&self) -> &Address {
        &self.proposer
    }
}
