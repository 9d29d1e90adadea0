//! Checking signatures, so that every validator gives the same answer.
//!
//! Ed25519 has more than one definition of "valid": a signature with a component of small order may pass or fail,
//! depending on whether the equation is multiplied by the cofactor, and a batch of signatures may accept what each
//! check alone refuses, depending on its neighbours. Validators whose batches differ would disagree about the same
//! bytes. So a transaction is judged by the cofactored equation, which has one answer alone and in any company
//! ([`crate::crypto::together`]); statements inside transactions, which are checked one by one, by the strict one of
//! [`NodePublicKey::verify`]. Time is saved by checking together and by remembering what was found good. See ADR 016.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use super::transaction::{Signed, TRANSACTION};
use crate::crypto::together::{self, Claim};
use crate::crypto::{Domain, NodePublicKey, Signature, VerifyingKey};
use crate::ids::Did;
#[cfg(doc)]
use crate::plc::PlcOperation;

/// Tells whether signatures hold. Implementations differ in cost, never in their answer.
pub trait Signatures {
    /// Whether `signature` is `key`'s over `message` for `domain`.
    fn holds(&self, key: &[u8; 32], domain: Domain, message: &[u8], signature: &Signature) -> bool;

    /// Whether a transaction carries `key`'s signature.
    fn transaction_holds(&self, key: &[u8; 32], signed: &Signed) -> bool {
        signed.signature().is_some_and(|signature| self.holds(key, TRANSACTION, signed.body(), signature))
    }

    /// Which of `keys` signed the did:plc operation that the transaction is: see [`PlcOperation::signer`].
    fn operation_signer(&self, signed: &Signed, keys: &[Did]) -> Option<usize> {
        signed.operation().and_then(|operation| operation.signer(keys))
    }

    /// Whether `signature` is that of a key of an identity, over `message` for `domain`.
    fn owner_holds(&self, key: &Did, domain: Domain, message: &[u8], signature: &Signature) -> bool {
        VerifyingKey::from_did(key).is_ok_and(|key| key.verify_for(domain, message, signature).is_ok())
    }
}

fn claim<'a>(key: &'a NodePublicKey, signed: &'a Signed) -> Option<Claim<'a>> {
    let signature = signed.signature()?;
    Some(Claim { key, domain: TRANSACTION, message: signed.body(), signature })
}

/// Which of the transactions carry the signature of the key beside them: as [`Signatures::transaction_holds`] says of
/// each, for less than half the price.
#[must_use]
pub fn transactions_hold(transactions: &[(NodePublicKey, &Signed)]) -> Vec<bool> {
    let claims: Vec<_> = transactions.iter().map(|(key, signed)| claim(key, signed)).collect();
    let mut answers = together::which_hold(&claims.iter().copied().flatten().collect::<Vec<_>>()).into_iter();
    claims.iter().map(|claim| claim.is_some() && answers.next() == Some(true)).collect()
}

/// Checks every signature.
#[derive(Clone, Copy, Debug, Default)]
pub struct Strict;

impl Signatures for Strict {
    fn holds(&self, key: &[u8; 32], domain: Domain, message: &[u8], signature: &Signature) -> bool {
        NodePublicKey::from_bytes(key).and_then(|key| key.verify(domain, message, signature)).is_ok()
    }

    fn transaction_holds(&self, key: &[u8; 32], signed: &Signed) -> bool {
        let key = NodePublicKey::from_bytes(key);
        key.is_ok_and(|key| claim(&key, signed).is_some_and(|claim| together::holds(&claim)))
    }
}

/// What tells a list of rotation keys from another.
fn keys_digest(keys: &[Did]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for key in keys {
        hash.update(key.as_str());
        hash.update([0]);
    }
    hash.finalize().into()
}

/// Checks every signature but those of transactions that were checked before, by key and bytes.
///
/// Whether a signature holds never changes, so remembering is safe; the key is remembered with it because a wallet's
/// key can be replaced between admission and decision, and so can the keys of an identity. The owner bounds it, for
/// example to what waits in the mempool.
#[derive(Clone, Debug, Default)]
pub struct Remembered {
    /// Transactions, by digest and key.
    transactions: BTreeSet<([u8; 32], [u8; 32])>,
    /// Which of the keys signed an operation, by digest and keys.
    operations: BTreeMap<([u8; 32], [u8; 32]), usize>,
}

impl Remembered {
    /// Without memories.
    #[must_use]
    pub const fn new() -> Self {
        Self { transactions: BTreeSet::new(), operations: BTreeMap::new() }
    }

    /// Checks a transaction against `key` and remembers it when its signature holds.
    pub fn check(&mut self, key: &[u8; 32], signed: &Signed) -> bool {
        let holds = self.transaction_holds(key, signed);
        if holds {
            self.transactions.insert((*signed.digest(), *key));
        }
        holds
    }

    /// Checks many together and remembers those whose signatures hold.
    pub fn check_all(&mut self, transactions: &[([u8; 32], &Signed)]) {
        // Nothing holds under what is no key.
        let usable = |(key, signed): &([u8; 32], _)| Some((NodePublicKey::from_bytes(key).ok()?, *signed));
        let claimed: Vec<_> = transactions.iter().filter_map(usable).collect();
        for ((key, signed), holds) in claimed.iter().zip(transactions_hold(&claimed)) {
            if holds {
                self.transactions.insert((*signed.digest(), key.to_bytes()));
            }
        }
    }

    /// Looks which of `keys` signed an operation, and remembers it when one did.
    pub fn check_operation(&mut self, keys: &[Did], signed: &Signed) -> Option<usize> {
        let signer = self.operation_signer(signed, keys);
        if let Some(signer) = signer {
            self.operations.insert((*signed.digest(), keys_digest(keys)), signer);
        }
        signer
    }

    /// Forgets a transaction.
    pub fn forget(&mut self, digest: &[u8; 32]) {
        let range = (*digest, [0; 32])..=(*digest, [0xff; 32]);
        self.transactions.extract_if(range.clone(), |_| true).for_each(drop);
        self.operations.extract_if(range, |_, _| true).for_each(drop);
    }

    /// How many are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.transactions.len() + self.operations.len()
    }

    /// Whether none is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Signatures for Remembered {
    fn holds(&self, key: &[u8; 32], domain: Domain, message: &[u8], signature: &Signature) -> bool {
        Strict.holds(key, domain, message, signature)
    }

    fn transaction_holds(&self, key: &[u8; 32], signed: &Signed) -> bool {
        self.transactions.contains(&(*signed.digest(), *key)) || Strict.transaction_holds(key, signed)
    }

    fn operation_signer(&self, signed: &Signed, keys: &[Did]) -> Option<usize> {
        let known = self.operations.get(&(*signed.digest(), keys_digest(keys))).copied();
        known.or_else(|| Strict.operation_signer(signed, keys))
    }
}

/// Checks as [`Remembered`] does, and remembers every transaction that it finds good: for [`super::admit`], so that
/// nothing is checked twice.
#[derive(Debug)]
pub struct Recording<'r>(RefCell<&'r mut Remembered>);

impl<'r> Recording<'r> {
    /// Adds to `remembered`.
    pub const fn new(remembered: &'r mut Remembered) -> Self {
        Self(RefCell::new(remembered))
    }
}

impl Signatures for Recording<'_> {
    fn holds(&self, key: &[u8; 32], domain: Domain, message: &[u8], signature: &Signature) -> bool {
        Strict.holds(key, domain, message, signature)
    }

    fn transaction_holds(&self, key: &[u8; 32], signed: &Signed) -> bool {
        self.0.borrow_mut().check(key, signed)
    }

    fn operation_signer(&self, signed: &Signed, keys: &[Did]) -> Option<usize> {
        self.0.borrow_mut().check_operation(keys, signed)
    }
}
