//! Votes, and the certificate that a batch was decided.
//!
//! A vote says: at this height and round, this step, for this value. More than two thirds of the validators'
//! precommits for one value are its certificate. The consensus engine counts votes; the ledger only needs to tell
//! whether a certificate holds and whether two votes contradict each other.

use serde::{Deserialize, Serialize};

use super::transaction::encode;
use super::validators::ValidatorSet;
use crate::crypto::{Domain, NodePublicKey, Signature};
use crate::ids::{Did, NetworkId};
use crate::limits::VALIDATORS_MAX;

/// What a vote's signature covers first.
pub const VOTE: Domain = Domain::new("angel/vote/1");

/// The step of a round a vote belongs to (Tendermint, section III).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Step {
    /// This value is acceptable.
    Prevote,
    /// More than two thirds found it acceptable.
    Precommit,
}

/// A hash as a byte string in the data model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ValueHash(#[serde(with = "serde_bytes")] pub [u8; 32]);

/// A consensus vote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Vote {
    /// The network.
    pub network: NetworkId,
    /// The height.
    pub height: u64,
    /// The round within the height.
    pub round: u32,
    /// The step within the round.
    pub step: Step,
    /// [`super::Header::hash`] of what is voted for; nothing is a vote for no value.
    pub value: Option<ValueHash>,
}

impl Vote {
    /// What the validator signs for [`VOTE`]: the vote's canonical DAG-CBOR.
    #[must_use]
    pub fn sign_bytes(&self) -> Vec<u8> {
        encode(self).expect("a vote has only integers, a name and a hash")
    }

    /// Reads a vote back from what was signed; nothing if it is no vote's bytes.
    #[must_use]
    pub fn from_sign_bytes(bytes: &[u8]) -> Option<Self> {
        let vote: Self = serde_ipld_dagcbor::from_slice(bytes).ok()?;
        (vote.sign_bytes() == bytes).then_some(vote)
    }

    /// Whether nobody honest signs both.
    #[must_use]
    pub fn contradicts(&self, other: &Self) -> bool {
        (&self.network, self.height, self.round, self.step) == (&other.network, other.height, other.round, other.step)
            && self.value != other.value
    }
}

/// That a value was decided: precommits of more than two thirds of the validators of its height.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Certificate {
    /// The network.
    pub network: NetworkId,
    /// The height.
    pub height: u64,
    /// The round in which it was decided.
    pub round: u32,
    /// [`super::Header::hash`] of what was decided.
    pub value: ValueHash,
    /// One per validator, in the order of their DIDs.
    pub signatures: Vec<CertificateSignature>,
}

/// One validator's precommit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CertificateSignature {
    /// The validator.
    pub validator: Did,
    /// Over its precommit.
    #[serde(with = "serde_bytes")]
    pub signature: Signature,
}

/// Why a certificate certifies nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCertificate {
    /// More signatures than there can be validators.
    #[error("the certificate has more signatures than a network has validators")]
    TooLong,
    /// Signatures out of order, or two of one validator.
    #[error("the certificate's signatures are not in the order of their validators, once each")]
    Order,
    /// Somebody who is no validator at this height.
    #[error("{0} is no validator at this height")]
    Stranger(Did),
    /// A signature that does not verify.
    #[error("the signature of {0} does not verify")]
    Signature(Did),
    /// Two thirds of the validators or fewer.
    #[error("the certificate holds {held} signatures of {validators} validators, and needs more than two thirds")]
    NoQuorum {
        /// Valid signatures.
        held: usize,
        /// Validators.
        validators: usize,
    },
}

impl Certificate {
    /// Checks that `validators`, the set of this height, decided the value.
    ///
    /// # Errors
    /// [`InvalidCertificate`], by what is wrong.
    pub fn verify(&self, validators: &ValidatorSet) -> Result<(), InvalidCertificate> {
        if self.signatures.len() > VALIDATORS_MAX {
            return Err(InvalidCertificate::TooLong);
        }
        if !self.signatures.is_sorted_by(|a, b| a.validator < b.validator) {
            return Err(InvalidCertificate::Order);
        }
        let message = Vote {
            network: self.network.clone(),
            height: self.height,
            round: self.round,
            step: Step::Precommit,
            value: Some(self.value),
        }
        .sign_bytes();
        for entry in &self.signatures {
            if !validators.contains(&entry.validator) {
                return Err(InvalidCertificate::Stranger(entry.validator.clone()));
            }
        }
        for entry in &self.signatures {
            NodePublicKey::from_did(&entry.validator)
                .ok()
                .and_then(|key| key.verify(VOTE, &message, &entry.signature).ok())
                .ok_or_else(|| InvalidCertificate::Signature(entry.validator.clone()))?;
        }
        let held = self.signatures.len();
        if validators.is_quorum(held) {
            Ok(())
        } else {
            Err(InvalidCertificate::NoQuorum { held, validators: validators.len() })
        }
    }
}
