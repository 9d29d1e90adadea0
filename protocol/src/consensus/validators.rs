//! Who votes: the ledger's validators with their keys.

use std::fmt;
use std::sync::Arc;

use borsh::{BorshDeserialize, BorshSerialize};

use super::context::LedgerContext;
use crate::crypto::NodePublicKey;
use crate::ids::Did;
use crate::ledger;

/// A validator's address: its DID. Sorts as the ledger sorts validators, so certificates come out in its order.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct Address(pub Did);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl malachitebft_core_types::Address for Address {}

/// A validator: one vote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validator {
    address: Address,
    key: NodePublicKey,
}

impl malachitebft_core_types::Validator<LedgerContext> for Validator {
    fn address(&self) -> &Address {
        &self.address
    }

    fn public_key(&self) -> &NodePublicKey {
        &self.key
    }

    fn voting_power(&self) -> u64 {
        1
    }
}

/// The validators of one height, sorted by DID. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidatorSet(Arc<[Validator]>);

impl ValidatorSet {
    /// The ledger's set with its keys. A DID without a usable key has no vote; the ledger admits none.
    #[must_use]
    pub fn new(set: &ledger::ValidatorSet) -> Self {
        let with_key =
            |did: &Did| Some(Validator { address: Address(did.clone()), key: NodePublicKey::from_did(did).ok()? });
        Self(set.iter().filter_map(with_key).collect())
    }

    /// The place of a validator in the set.
    #[must_use]
    pub fn position(&self, address: &Address) -> Option<usize> {
        self.0.binary_search_by(|validator| validator.address.cmp(address)).ok()
    }

    /// Whether the validator decides without anybody else.
    #[must_use]
    pub fn is_alone(&self, address: &Address) -> bool {
        self.0.len() == 1 && self.position(address).is_some()
    }

    /// Who proposes in a round, by turns: the place in the set is (height + round) modulo its size.
    ///
    /// # Panics
    /// On an empty set, of which the ledger makes none.
    #[must_use]
    pub fn proposer(&self, height: u64, round: u32) -> &Validator {
        let count = u64::try_from(self.0.len()).unwrap_or(u64::MAX);
        assert!(count > 0, "a ledger has at least one validator");
        let turn = (height % count + u64::from(round) % count) % count;
        &self.0[usize::try_from(turn).unwrap_or(0)]
    }
}

impl malachitebft_core_types::ValidatorSet<LedgerContext> for ValidatorSet {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn total_voting_power(&self) -> u64 {
        u64::try_from(self.0.len()).unwrap_or(u64::MAX)
    }

    fn get_by_address(&self, address: &Address) -> Option<&Validator> {
        self.position(address).map(|index| &self.0[index])
    }

    fn get_by_index(&self, index: usize) -> Option<&Validator> {
        self.0.get(index)
    }
}
