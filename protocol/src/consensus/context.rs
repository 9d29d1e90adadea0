//! The engine's context: which types stand for what, who proposes, and how signatures are written.

use malachitebft_core_types::{Context, NilOrVal, Round, SigningScheme, VoteType};

use super::height::Height;
use super::part::Part;
use super::proposal::Proposal;
use super::timeouts::Timeouts;
use super::validators::{Address, Validator, ValidatorSet};
use super::value::ValueId;
use super::vote::Vote;
use crate::crypto::{BadSignature, NodePublicKey, Signature};

/// Ed25519 with the nodes' keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ed25519;

/// Stands where the engine's types ask for a secret key. Nobody hands it one: signing is the node's.
#[derive(Clone, Copy, Debug)]
pub enum NoPrivateKey {}

impl SigningScheme for Ed25519 {
    type DecodingError = BadSignature;
    type Signature = Signature;
    type PublicKey = NodePublicKey;
    type PrivateKey = NoPrivateKey;

    fn decode_signature(bytes: &[u8]) -> Result<Signature, BadSignature> {
        bytes.try_into().map_err(|_| BadSignature)
    }

    fn encode_signature(signature: &Signature) -> Vec<u8> {
        signature.to_vec()
    }

    fn decode_public_key(bytes: &[u8]) -> Result<NodePublicKey, BadSignature> {
        NodePublicKey::from_bytes(bytes.try_into().map_err(|_| BadSignature)?)
    }

    fn encode_public_key(key: &NodePublicKey) -> Vec<u8> {
        key.to_bytes().to_vec()
    }
}

/// The ledger in the engine's terms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LedgerContext;

/// The number of a round; the engine asks for a proposer only inside one.
fn number(round: Round) -> u32 {
    round.as_u32().unwrap_or(0)
}

impl Context for LedgerContext {
    type Address = Address;
    type Height = Height;
    type ProposalPart = Part;
    type Proposal = Proposal;
    type Validator = Validator;
    type ValidatorSet = ValidatorSet;
    type Timeouts = Timeouts;
    type Value = ValueId;
    type Vote = Vote;
    type Extension = ();
    type SigningScheme = Ed25519;

    fn select_proposer<'a>(&self, validators: &'a ValidatorSet, height: Height, round: Round) -> &'a Validator {
        validators.proposer(height.0, number(round))
    }

    fn new_proposal(
        &self,
        height: Height,
        round: Round,
        value: ValueId,
        pol_round: Round,
        proposer: Address,
    ) -> Proposal {
        Proposal { height, round, value, pol_round, proposer }
    }

    fn new_prevote(&self, height: Height, round: Round, value: NilOrVal<ValueId>, validator: Address) -> Vote {
        Vote { height, round, step: VoteType::Prevote, value, validator }
    }

    fn new_precommit(&self, height: Height, round: Round, value: NilOrVal<ValueId>, validator: Address) -> Vote {
        Vote { height, round, step: VoteType::Precommit, value, validator }
    }
}
