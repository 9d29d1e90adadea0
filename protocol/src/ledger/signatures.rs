//! Checking signatures, so that every validator gives the same answer.
//!
//! Ed25519 has more than one definition of "valid": a signature with a component of small order may pass or fail,
//! depending on whether the equation is multiplied by the cofactor, and a batch of signatures may accept what each
//! check alone refuses, depending on its neighbours. Validators whose batches differ would disagree about the same
//! bytes. So the ledger knows one rule, RFC 8032 with the strict checks of [`NodePublicKey::verify`], signature by
//! signature. Time is saved by remembering what was already found good, never by weakening the rule. See ADR 010.

use std::collections::BTreeSet;

use super::transaction::{Signed, TRANSACTION};
use crate::crypto::{Domain, NodePublicKey, Signature};

/// Tells whether signatures hold. Implementations differ in cost, never in their answer.
pub trait Signatures {
    /// Whether `signature` is `key`'s over `message` for `domain`.
    fn holds(&self, key: &[u8; 32], domain: Domain, message: &[u8], signature: &Signature) -> bool;

    /// Whether a transaction carries `key`'s signature.
    fn transaction_holds(&self, key: &[u8; 32], signed: &Signed) -> bool {
        self.holds(key, TRANSACTION, signed.body(), signed.signature())
    }
}

/// Checks every signature.
#[derive(Clone, Copy, Debug, Default)]
pub struct Strict;

impl Signatures for Strict {
    fn holds(&self, key: &[u8; 32], domain: Domain, message: &[u8], signature: &Signature) -> bool {
        NodePublicKey::from_bytes(key).and_then(|key| key.verify(domain, message, signature)).is_ok()
    }
}

/// Checks every signature but those of transactions that were checked before, by key and bytes.
///
/// Whether a signature holds never changes, so remembering is safe; the key is remembered with it because a wallet's
/// key can be replaced between admission and decision. The owner bounds it, for example to what waits in the mempool.
#[derive(Clone, Debug, Default)]
pub struct Remembered(BTreeSet<([u8; 32], [u8; 32])>);

impl Remembered {
    /// Without memories.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeSet::new())
    }

    /// Checks a transaction against `key` and remembers it when its signature holds.
    pub fn check(&mut self, key: &[u8; 32], signed: &Signed) -> bool {
        let holds = self.transaction_holds(key, signed);
        if holds {
            self.0.insert((*signed.digest(), *key));
        }
        holds
    }

    /// Forgets a transaction.
    pub fn forget(&mut self, digest: &[u8; 32]) {
        let range = (*digest, [0; 32])..=(*digest, [0xff; 32]);
        let known: Vec<_> = self.0.range(range).copied().collect();
        for entry in known {
            self.0.remove(&entry);
        }
    }

    /// How many are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Signatures for Remembered {
    fn holds(&self, key: &[u8; 32], domain: Domain, message: &[u8], signature: &Signature) -> bool {
        Strict.holds(key, domain, message, signature)
    }

    fn transaction_holds(&self, key: &[u8; 32], signed: &Signed) -> bool {
        self.0.contains(&(*signed.digest(), *key)) || Strict.transaction_holds(key, signed)
    }
}
