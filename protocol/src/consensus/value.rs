//! What is decided.

use std::fmt;

use borsh::{BorshDeserialize, BorshSerialize};

use crate::ledger::Header;
use crate::ledger::certificate::ValueHash;

/// [`Header::hash`]: the batch and the state it leads to. The engine's value and the value's id are the same, since
/// the batch travels beside the proposal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct ValueId(pub [u8; 32]);

impl ValueId {
    /// The value of a header.
    #[must_use]
    pub fn of(header: &Header) -> Self {
        Self(header.hash())
    }
}

impl From<ValueId> for ValueHash {
    fn from(value: ValueId) -> Self {
        Self(value.0)
    }
}

impl fmt::Display for ValueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Enough to tell values apart in a log.
        self.0[..8].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ValueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl malachitebft_core_types::Value for ValueId {
    type Id = Self;

    fn id(&self) -> Self {
        *self
    }
}
