//! A batch on its way to the other validators: a signed head, then the body in pieces.
//!
//! The head says how long the body is before anybody keeps a byte of it, and who answers for it. Pieces carry no
//! signature of their own: the value is a hash over the whole batch, so a changed piece makes a value that nobody
//! proposed.

use borsh::{BorshDeserialize, BorshSerialize};
use malachitebft_core_types::Round;

use super::context::LedgerContext;
use super::height::Height;
use super::validators::Address;
use super::value::ValueId;
use crate::crypto::{Domain, NodeKey, NodePublicKey, Signature};
use crate::ids::NetworkId;
use crate::limits::{BATCH_ENCODED_BYTES_MAX, PART_BYTES_MAX};

/// What a head's signature covers first.
pub const PART: Domain = Domain::new("angel/part/1");

/// What comes before the body.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct PartHead {
    /// The height it is proposed for.
    pub height: Height,
    /// The round in which it travels.
    pub round: Round,
    /// The round in which two thirds prevoted for it, when it is proposed again.
    pub pol_round: Round,
    /// The value.
    pub value: ValueId,
    /// Who first proposed the value.
    pub proposer: Address,
    /// Who sends it, and signs here: the proposer, or a validator that proposes it again.
    pub sender: Address,
    /// Bytes of the encoded batch.
    pub bytes: u32,
}

impl PartHead {
    fn sign_bytes(&self, network: &NetworkId) -> Vec<u8> {
        borsh::to_vec(&(network.as_str(), self)).expect("memory takes every byte")
    }

    /// How many pieces the body has.
    #[must_use]
    pub const fn pieces(&self) -> usize {
        (self.bytes as usize).div_ceil(PART_BYTES_MAX)
    }
}

/// One part.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Part {
    /// The first.
    Head {
        /// What it says.
        head: PartHead,
        /// The sender's signature over it.
        signature: Signature,
    },
    /// A piece of the body: [`PART_BYTES_MAX`] bytes, the last one what is left.
    Body {
        /// Whether it is the last.
        last: bool,
        /// The bytes.
        bytes: Vec<u8>,
    },
}

/// Why a head counts for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHead {
    /// The sender did not sign it.
    #[error("the sender's signature does not verify")]
    Signature,
    /// No batch is that long, or none that short.
    #[error("a batch has 1 to {BATCH_ENCODED_BYTES_MAX} bytes")]
    Length,
}

impl Part {
    /// Signs a head.
    #[must_use]
    pub fn head(head: PartHead, network: &NetworkId, key: &NodeKey) -> Self {
        let signature = key.sign(PART, &head.sign_bytes(network));
        Self::Head { head, signature }
    }
}

/// Checks a head: what it claims, and that its sender claims it.
///
/// # Errors
/// [`InvalidHead`], by what is wrong.
pub fn check(head: &PartHead, signature: &Signature, network: &NetworkId) -> Result<(), InvalidHead> {
    if head.bytes == 0 || head.bytes as usize > BATCH_ENCODED_BYTES_MAX {
        return Err(InvalidHead::Length);
    }
    let key = NodePublicKey::from_did(&head.sender.0).map_err(|_| InvalidHead::Signature)?;
    key.verify(PART, &head.sign_bytes(network), signature).map_err(|_| InvalidHead::Signature)
}

/// Cuts an encoded batch into the parts that follow its head.
#[must_use]
pub fn split(body: &[u8]) -> Vec<Part> {
    let pieces = body.chunks(PART_BYTES_MAX);
    let count = pieces.len();
    pieces.enumerate().map(|(index, bytes)| Part::Body { last: index + 1 == count, bytes: bytes.to_vec() }).collect()
}

impl malachitebft_core_types::ProposalPart<LedgerContext> for Part {
    fn is_first(&self) -> bool {
        matches!(self, Self::Head { .. })
    }

    fn is_last(&self) -> bool {
        matches!(self, Self::Body { last: true, .. })
    }
}
