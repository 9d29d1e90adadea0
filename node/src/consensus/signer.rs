//! Signing votes and proposals with the node's key, and checking those of others. Each is checked once: what gossip
//! was let through with, the engine takes as checked.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use angel_protocol::consensus::proposal::PROPOSAL;
use angel_protocol::consensus::{Address, LedgerContext, Proposal, Vote};
use angel_protocol::crypto::{Domain, NodeKey, NodePublicKey, Signature};
use angel_protocol::ids::NetworkId;
use angel_protocol::ledger::certificate::VOTE;
use async_trait::async_trait;
use malachitebft_core_types::{SignedMessage, ValidatorProof, VoteExtensionScope};
use malachitebft_signing::{Error, Signer, VerificationResult, Verifier};

use super::memory::Memory;
use crate::blocking;

/// Signatures remembered: those of a few heights of a hundred validators.
const KNOWN_MAX: usize = 4096;

const EXTENSION: Domain = Domain::new("angel/vote-extension/1");
const PROOF: Domain = Domain::new("angel/validator-proof/1");

/// The node's voice and ear. Cheap to clone.
#[derive(Clone)]
pub(super) struct Voice {
    network: NetworkId,
    key: Arc<NodeKey>,
    heard: Arc<Mutex<Heard>>,
    memory: Arc<Mutex<Memory>>,
}

#[derive(Default)]
struct Heard {
    good: HashSet<(Signature, [u8; 32])>,
    /// The latest height of which each validator was heard.
    latest: BTreeMap<Address, u64>,
}

impl Voice {
    pub(super) fn new(network: NetworkId, key: Arc<NodeKey>, memory: Memory) -> Self {
        Self { network, key, heard: Arc::default(), memory: Arc::new(Mutex::new(memory)) }
    }

    /// Whether a vote is its validator's.
    pub(super) fn vote_holds(&self, vote: &Vote, signature: &Signature) -> bool {
        let Ok(key) = NodePublicKey::from_did(&vote.validator.0) else { return false };
        let holds =
            vote.in_ledger(&self.network).is_some_and(|vote| self.holds(VOTE, &vote.sign_bytes(), signature, key));
        if holds {
            self.note(&vote.validator, vote.height.0);
        }
        holds
    }

    /// Whether a proposal is its proposer's.
    pub(super) fn proposal_holds(&self, proposal: &Proposal, signature: &Signature) -> bool {
        let Ok(key) = NodePublicKey::from_did(&proposal.proposer.0) else { return false };
        let holds = self.holds(PROPOSAL, &proposal.sign_bytes(&self.network), signature, key);
        if holds {
            self.note(&proposal.proposer, proposal.height.0);
        }
        holds
    }

    /// The latest height of which a validator was heard, 0 if never.
    pub(super) fn latest(&self, validator: &Address) -> u64 {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.latest.get(validator).copied().unwrap_or(0)
    }

    fn note(&self, validator: &Address, height: u64) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        // Validators are few; whoever signs without being one is bounded here.
        if heard.latest.len() < 1024 || heard.latest.contains_key(validator) {
            let latest = heard.latest.entry(validator.clone()).or_default();
            *latest = (*latest).max(height);
        }
    }

    fn holds(&self, domain: Domain, message: &[u8], signature: &Signature, key: NodePublicKey) -> bool {
        use sha2::Digest;
        let mut hash = sha2::Sha256::new();
        hash.update(key.to_bytes());
        hash.update(message);
        let fact = (*signature, hash.finalize().into());
        if self.heard.lock().unwrap_or_else(PoisonError::into_inner).good.contains(&fact) {
            return true;
        }
        let holds = key.verify(domain, message, signature).is_ok();
        if holds {
            let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            if heard.good.len() >= KNOWN_MAX {
                heard.good.clear();
            }
            heard.good.insert(fact);
        }
        holds
    }
}

#[async_trait]
impl Verifier<LedgerContext> for Voice {
    async fn verify_signed_vote(
        &self,
        vote: &Vote,
        signature: &Signature,
        _: &NodePublicKey,
    ) -> Result<VerificationResult, Error> {
        Ok(VerificationResult::from_bool(self.vote_holds(vote, signature)))
    }

    async fn verify_signed_proposal(
        &self,
        proposal: &Proposal,
        signature: &Signature,
        _: &NodePublicKey,
    ) -> Result<VerificationResult, Error> {
        Ok(VerificationResult::from_bool(self.proposal_holds(proposal, signature)))
    }

    async fn verify_signed_vote_extension(
        &self,
        _: &VoteExtensionScope<LedgerContext>,
        (): &(),
        _: &Signature,
        _: &NodePublicKey,
    ) -> Result<VerificationResult, Error> {
        // Votes are not extended here.
        Ok(VerificationResult::Invalid)
    }

    async fn verify_validator_proof(&self, proof: &ValidatorProof<LedgerContext>) -> Result<VerificationResult, Error> {
        let holds =
            proof.decoded_public_key().is_ok_and(|key| key.verify(PROOF, &proof.preimage(), &proof.signature).is_ok());
        Ok(VerificationResult::from_bool(holds))
    }
}

#[async_trait]
impl Signer<LedgerContext> for Voice {
    async fn sign_vote(&self, vote: Vote) -> Result<SignedMessage<LedgerContext, Vote>, Error> {
        let statement = vote.in_ledger(&self.network).ok_or_else(Error::new)?;
        let (memory, message) = (Arc::clone(&self.memory), statement.sign_bytes());
        let keep = move || memory.lock().unwrap_or_else(PoisonError::into_inner).keep(&statement);
        if let Err(error) = blocking::run(keep).await {
            tracing::error!(%error, "a vote is not signed");
            return Err(Error::from_source(error));
        }
        let signature = self.key.sign(VOTE, &message);
        Ok(SignedMessage::new(vote, signature))
    }

    async fn sign_proposal(&self, proposal: Proposal) -> Result<SignedMessage<LedgerContext, Proposal>, Error> {
        let signature = self.key.sign(PROPOSAL, &proposal.sign_bytes(&self.network));
        Ok(SignedMessage::new(proposal, signature))
    }

    async fn sign_vote_extension(
        &self,
        _: VoteExtensionScope<LedgerContext>,
        (): (),
    ) -> Result<SignedMessage<LedgerContext, ()>, Error> {
        Ok(SignedMessage::new((), self.key.sign(EXTENSION, &[])))
    }

    async fn sign_validator_proof(
        &self,
        public_key: Vec<u8>,
        peer_id: Vec<u8>,
    ) -> Result<ValidatorProof<LedgerContext>, Error> {
        let bytes = ValidatorProof::<LedgerContext>::signing_bytes(&public_key, &peer_id);
        let signature = self.key.sign(PROOF, &bytes);
        Ok(ValidatorProof { public_key, peer_id, signature })
    }
}
