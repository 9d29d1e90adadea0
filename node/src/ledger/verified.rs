//! Transactions that were read and whose signature was found good, so that each is read and verified once: when it
//! arrives, when it is proposed or when it is voted on, whichever comes first.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use angel_protocol::crypto::{Domain, NodePublicKey, Signature};
use angel_protocol::ledger::{Signatures, Signed, Strict, View, ViewError, signing_key, transactions_hold};

/// Bytes of transactions remembered in one generation; two generations are kept. As much as may wait, and what other
/// nodes propose.
const GENERATION_BYTES: usize = 16 << 20;

/// What a transaction takes beside its bytes: its fields once more, and its place.
const OVERHEAD_BYTES: usize = 512;

/// Keys of signers that are remembered as points, which takes some 250 bytes each. Past that, remembering begins anew.
const KEYS_MAX: usize = 8192;

/// A transaction with the key that has signed it.
#[derive(Debug)]
struct Good {
    key: [u8; 32],
    signed: Signed,
}

/// By the digest of their bytes.
#[derive(Debug, Default)]
struct Known {
    young: HashMap<[u8; 32], Good>,
    young_bytes: usize,
    old: HashMap<[u8; 32], Good>,
    /// The points of keys that have signed something good.
    keys: HashMap<[u8; 32], NodePublicKey>,
}

impl Known {
    fn get(&self, digest: &[u8; 32]) -> Option<&Good> {
        self.young.get(digest).or_else(|| self.old.get(digest))
    }

    fn remember_key(&mut self, key: NodePublicKey) {
        if self.keys.len() >= KEYS_MAX {
            self.keys.clear();
        }
        self.keys.insert(key.to_bytes(), key);
    }

    fn insert(&mut self, key: [u8; 32], signed: Signed) {
        if self.young_bytes >= GENERATION_BYTES {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.young_bytes += signed.bytes().len() + OVERHEAD_BYTES;
        self.young.insert(*signed.digest(), Good { key, signed });
    }
}

/// Remembers by key and bytes: whether a signature holds never changes. Bounded; what was forgotten is checked again.
#[derive(Debug, Default)]
pub(crate) struct Verified(Mutex<Known>);

impl Verified {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A transaction that was read before.
    pub(crate) fn transaction(&self, digest: &[u8; 32]) -> Option<Signed> {
        self.known().get(digest).map(|good| good.signed.clone())
    }

    /// Checks together what is about to be judged one by one, and remembers what is good.
    ///
    /// # Errors
    /// [`ViewError`] when the signers cannot be read.
    pub(crate) fn learn<V: View>(&self, view: &V, transactions: &[Signed]) -> Result<(), ViewError> {
        let unknown: Vec<_> = {
            let known = self.known();
            transactions.iter().filter(|signed| known.get(signed.digest()).is_none()).collect()
        };
        let mut signers = Vec::with_capacity(unknown.len());
        for signed in unknown {
            signers.extend(signing_key(view, signed)?.map(|key| (key, signed)));
        }
        let points: Vec<_> = {
            let known = self.known();
            signers.iter().map(|(key, _)| known.keys.get(key).copied()).collect()
        };
        // Under what is no point, nothing holds.
        let claim = |((key, signed), point): (([u8; 32], _), Option<NodePublicKey>)| {
            Some((point.or_else(|| NodePublicKey::from_bytes(&key).ok())?, signed))
        };
        let claimed: Vec<(NodePublicKey, &Signed)> = signers.into_iter().zip(points).filter_map(claim).collect();
        let good = transactions_hold(&claimed);
        let mut known = self.known();
        for ((key, signed), _) in claimed.into_iter().zip(good).filter(|(_, holds)| *holds) {
            known.remember_key(key);
            known.insert(key.to_bytes(), signed.clone());
        }
        Ok(())
    }

    /// Forgets transactions that are decided: nobody asks for them again.
    pub(crate) fn forget(&self, transactions: &[Signed]) {
        let mut known = self.known();
        for signed in transactions {
            if known.young.remove(signed.digest()).is_some() {
                known.young_bytes -= signed.bytes().len() + OVERHEAD_BYTES;
            } else {
                known.old.remove(signed.digest());
            }
        }
    }
}

impl Signatures for Verified {
    fn holds(&self, key: &[u8; 32], domain: Domain, message: &[u8], signature: &Signature) -> bool {
        Strict.holds(key, domain, message, signature)
    }

    fn transaction_holds(&self, key: &[u8; 32], signed: &Signed) -> bool {
        if self.known().get(signed.digest()).is_some_and(|good| good.key == *key) {
            return true;
        }
        let holds = Strict.transaction_holds(key, signed);
        if holds {
            self.known().insert(*key, signed.clone());
        }
        holds
    }
}

#[cfg(test)]
mod tests {
    use angel_protocol::crypto::NodeKey;
    use angel_protocol::ledger::MemoryView;

    use super::super::samples::registration;
    use super::*;

    #[test]
    fn what_holds_is_remembered_with_its_key_until_it_is_decided() {
        let (key, other) = (NodeKey::from_seed(&[1; 32]), NodeKey::from_seed(&[2; 32]));
        let good: Vec<_> = (0..20).map(|nonce| registration(&key, &key, nonce)).collect();
        let forged = registration(&key, &other, 99);
        let verified = Verified::default();
        let all = [good.as_slice(), std::slice::from_ref(&forged)].concat();
        verified.learn(&MemoryView::new(), &all).expect("memory reads");
        for signed in &good {
            assert_eq!(verified.transaction(signed.digest()).as_ref(), Some(signed));
            assert!(verified.transaction_holds(&key.public().to_bytes(), signed));
            assert!(!verified.transaction_holds(&other.public().to_bytes(), signed), "another key");
        }
        assert_eq!(verified.transaction(forged.digest()), None);
        // The key is known by now, and what it signed later is checked like all before; a key that signed nothing is not kept.
        assert_eq!(verified.known().keys.keys().collect::<Vec<_>>(), [&key.public().to_bytes()]);
        let (later, forged_later) = (registration(&key, &key, 21), registration(&other, &key, 22));
        verified.learn(&MemoryView::new(), &[later.clone(), forged_later.clone()]).expect("memory reads");
        assert_eq!(verified.transaction(later.digest()).as_ref(), Some(&later));
        assert_eq!(verified.transaction(forged_later.digest()), None);
        verified.forget(&[later]);
        assert!(!verified.transaction_holds(&other.public().to_bytes(), &forged));
        verified.forget(&good[..10]);
        assert_eq!(verified.transaction(good[9].digest()), None);
        assert_eq!(verified.transaction(good[10].digest()).as_ref(), Some(&good[10]));
        let kept: usize = good[10..].iter().map(|it| it.bytes().len() + OVERHEAD_BYTES).sum();
        assert_eq!(verified.known().young_bytes, kept);
    }
}
