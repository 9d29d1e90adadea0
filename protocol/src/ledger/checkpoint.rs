//! Checkpoints: signed roots, published so that anyone can check that history was not rewritten (`network.md` 7.8).

use serde::{Deserialize, Serialize};
use serde_bytes::Bytes;

use super::transaction::encode;
use super::validators::ValidatorSet;
use crate::crypto::{Domain, NodePublicKey, Signature};
use crate::ids::{Did, NetworkId};
use crate::limits::VALIDATORS_MAX;

/// What a checkpoint's signature covers first.
pub const CHECKPOINT: Domain = Domain::new("angel/checkpoint/1");

/// A root worth publishing. It shows no account and no amount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The network.
    pub network: NetworkId,
    /// The height.
    pub height: u64,
    /// Root of the state at this height.
    pub root: [u8; 32],
    /// Transactions posted since the checkpoint before.
    pub transactions: u64,
    /// Root of the checkpoint before; zeros for the first.
    pub previous: [u8; 32],
}

impl Checkpoint {
    /// What validators sign for [`CHECKPOINT`].
    #[must_use]
    pub fn sign_bytes(&self) -> Vec<u8> {
        let Self { network, height, root, transactions, previous } = self;
        encode(&(network, height, Bytes::new(root), transactions, Bytes::new(previous)))
            .expect("a checkpoint has only integers, a name and hashes")
    }

    /// Whether `signatures` are those of more than two thirds of `validators`, each counted once.
    #[must_use]
    pub fn is_signed_by(&self, validators: &ValidatorSet, signatures: &[CheckpointSignature]) -> bool {
        if signatures.len() > VALIDATORS_MAX || !signatures.is_sorted_by(|a, b| a.validator < b.validator) {
            return false;
        }
        let message = self.sign_bytes();
        let holds = |entry: &CheckpointSignature| {
            validators.contains(&entry.validator)
                && NodePublicKey::from_did(&entry.validator)
                    .is_ok_and(|key| key.verify(CHECKPOINT, &message, &entry.signature).is_ok())
        };
        validators.is_quorum(signatures.len()) && signatures.iter().all(holds)
    }
}

/// One validator's signature under a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CheckpointSignature {
    /// The validator.
    pub validator: Did,
    /// Over [`Checkpoint::sign_bytes`].
    #[serde(with = "serde_bytes")]
    pub signature: Signature,
}
