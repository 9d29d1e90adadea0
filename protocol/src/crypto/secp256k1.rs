//! ECDSA on secp256k1 ("K-256"): the curve of the keys made here.

use std::fmt;

use k256::ecdsa::signature::{Signer, Verifier};
use k256::ecdsa::{self, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use super::ed25519::{BadSignature, Signature};

/// A secret key on secp256k1. Wiped from memory when dropped; never printed.
pub struct Secp256k1Key(SigningKey);

/// A public key on secp256k1: a point of the curve, not the one at infinity.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secp256k1PublicKey(VerifyingKey);

impl Secp256k1Key {
    /// From 32 secret random bytes; `None` for zero and for numbers not below the curve's order, about one in 2^127.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 32]) -> Option<Self> {
        SigningKey::from_slice(bytes).ok().map(Self)
    }

    /// The secret bytes, for the key file alone.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes().into())
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> Secp256k1PublicKey {
        Secp256k1PublicKey(*self.0.verifying_key())
    }

    /// Signs the SHA-256 of `message`, deterministically, with low `s`.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        let signature: ecdsa::Signature = self.0.sign(message);
        signature.normalize_s().to_bytes().into()
    }
}

impl fmt::Debug for Secp256k1Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secp256k1Key")
    }
}

impl Secp256k1PublicKey {
    /// From SEC 1 bytes, compressed or not; `None` when they are no point of the curve.
    #[must_use]
    pub fn from_sec1(bytes: &[u8]) -> Option<Self> {
        VerifyingKey::from_sec1_bytes(bytes).ok().map(Self)
    }

    /// The compressed SEC 1 form.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 33] {
        self.0.to_sec1_point(true).as_bytes().try_into().expect("a compressed point has 33 bytes")
    }

    /// Checks a signature of 64 bytes with low `s` over the SHA-256 of `message`.
    ///
    /// # Errors
    /// [`BadSignature`] when it does not fit, is of another form, or has a high `s`.
    pub fn verify(self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        let signature = ecdsa::Signature::from_slice(signature).map_err(|_| BadSignature)?;
        if signature.normalize_s() != signature {
            return Err(BadSignature);
        }
        self.0.verify(message, &signature).map_err(|_| BadSignature)
    }

    /// The same, but a high `s` will do as well.
    ///
    /// # Errors
    /// [`BadSignature`] when it does not fit or is of another form.
    pub fn verify_either_s(self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        let signature = ecdsa::Signature::from_slice(signature).map_err(|_| BadSignature)?;
        self.0.verify(message, &signature.normalize_s()).map_err(|_| BadSignature)
    }
}

impl fmt::Debug for Secp256k1PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secp256k1PublicKey")
    }
}
