//! Signatures that were found good, so that a transaction is verified once: when it arrives, when it is proposed or when
//! it is voted on, whichever comes first.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use angel_protocol::crypto::{Domain, Signature};
use angel_protocol::ledger::{Signatures, Signed, Strict};

/// Transactions remembered in one generation; two generations are kept. Twice what may wait, with room for what other
/// nodes propose.
const GENERATION: usize = 32_768;

/// A transaction's digest and the key it was checked with.
type Fact = ([u8; 32], [u8; 32]);

#[derive(Debug, Default)]
struct Known {
    young: HashSet<Fact>,
    old: HashSet<Fact>,
}

/// Remembers by key and bytes: whether a signature holds never changes. Bounded; what was forgotten is checked again.
#[derive(Debug, Default)]
pub(crate) struct Verified(Mutex<Known>);

impl Verified {
    fn contains(&self, fact: &Fact) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.young.contains(fact) || known.old.contains(fact)
    }

    fn insert(&self, fact: Fact) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.young.len() >= GENERATION {
            known.old = std::mem::take(&mut known.young);
        }
        known.young.insert(fact);
    }
}

impl Signatures for Verified {
    fn holds(&self, key: &[u8; 32], domain: Domain, message: &[u8], signature: &Signature) -> bool {
        Strict.holds(key, domain, message, signature)
    }

    fn transaction_holds(&self, key: &[u8; 32], signed: &Signed) -> bool {
        let fact = (*signed.digest(), *key);
        if self.contains(&fact) {
            return true;
        }
        let holds = Strict.transaction_holds(key, signed);
        if holds {
            self.insert(fact);
        }
        holds
    }
}
