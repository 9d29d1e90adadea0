//! The directory of identities (did:plc).
//!
//! An identity's operations are numbered in the order they were accepted, and so are the operations of all identities
//! together, in rows of their own. Both numberings are part of the state: a proof of row `n` and of the absence of row
//! `n + 1` shows that nothing was left out.

use borsh::{BorshDeserialize, BorshSerialize};

use crate::data::{Cid, Codec};
use crate::ids::Did;
use crate::plc::{PlcOperation, RATES};
use crate::time::Timestamp;

/// The head of an identity's log.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Identity {
    /// SHA-256 of the last operation, which is the digest in its CID and the `prev` of the next. What was accepted last
    /// always holds.
    pub head: [u8; 32],
    /// Operations in the log, those taken back included. The head is the last.
    pub operations: u32,
    /// When the latest operations were accepted, in milliseconds: as many as the rates look back on.
    pub recent: Vec<u64>,
}

impl Identity {
    /// Whether `operation` is the head, so that its data is the identity's.
    #[must_use]
    pub fn is_head(&self, operation: &PlcOperation) -> bool {
        *operation.cid().digest() == self.head
    }

    /// The CID of the head.
    #[must_use]
    pub const fn cid(&self) -> Cid {
        Cid::from_digest(Codec::DagCbor, self.head)
    }

    /// Counts an operation accepted at `now` as the new head.
    pub(crate) fn advance(&mut self, head: [u8; 32], now: Timestamp) {
        let (most, longest) = RATES[RATES.len() - 1];
        self.head = head;
        self.operations += 1;
        self.recent.push(now.as_millis());
        self.recent.retain(|at| now.since(Timestamp::from_millis(*at)) < longest);
        if self.recent.len() > most {
            self.recent.remove(0);
        }
    }
}

/// An operation in its place in an identity's log.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct IdentityOperation {
    /// Canonical DAG-CBOR of the signed operation.
    pub operation: Vec<u8>,
    /// Batch time of its acceptance, in milliseconds.
    pub created_at: u64,
    /// Whether a later operation has taken it back.
    pub nullified: bool,
    /// Which of the rotation keys before it signed it.
    pub signer: u8,
    /// Its number among the operations of all identities.
    pub number: u64,
}

/// Which operation has a number: an identity and the place in its log.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Order {
    pub(crate) did: Did,
    pub(crate) place: u32,
}

/// How much the directory holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Directory {
    /// Operations of all identities: the number of the next.
    pub(crate) operations: u64,
    /// The hour that `created` speaks of.
    pub(crate) hour: u64,
    /// Identities created in that hour.
    pub(crate) created: u32,
}
