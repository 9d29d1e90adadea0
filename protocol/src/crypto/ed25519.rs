//! Ed25519 with domain separation, for everything a node signs.

use std::fmt;

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use super::did_key::{DidKeyError, KeyKind, decode_did_key, encode_did_key};
use crate::ids::Did;

/// What a signature is for. The text and a zero byte are signed ahead of the message, so that a signature made for
/// one purpose cannot be shown for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Domain(&'static str);

impl Domain {
    /// A purpose, by convention `angel/<purpose>/<version>`.
    #[must_use]
    pub const fn new(text: &'static str) -> Self {
        Self(text)
    }

    /// What is signed: the purpose, and the message behind it.
    pub(super) fn frame(self, message: &[u8]) -> Vec<u8> {
        [self.0.as_bytes(), &[0], message].concat()
    }

    /// What is signed ahead of the message, into a hash.
    pub(super) fn feed(self, hash: &mut impl sha2::digest::Update) {
        hash.update(self.0.as_bytes());
        hash.update(&[0]);
    }
}

/// A detached Ed25519 signature.
pub type Signature = [u8; 64];

/// The signature does not fit key, domain and message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not verify")]
pub struct BadSignature;

/// A node's secret key. Wiped from memory when dropped; never printed.
pub struct NodeKey(SigningKey);

impl NodeKey {
    /// From 32 secret random bytes.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The secret bytes, for the key file alone.
    #[must_use]
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> NodePublicKey {
        NodePublicKey(self.0.verifying_key())
    }

    /// The node's DID: the `did:key` of the public half.
    #[must_use]
    pub fn did(&self) -> Did {
        self.public().did()
    }

    /// Signs `message` for `domain`.
    #[must_use]
    pub fn sign(&self, domain: Domain, message: &[u8]) -> Signature {
        self.0.sign(&domain.frame(message)).to_bytes()
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeKey({})", self.did())
    }
}

/// A node's public key: a valid, canonical point that is not of small order.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodePublicKey(VerifyingKey);

impl NodePublicKey {
    /// From its 32 bytes.
    ///
    /// # Errors
    /// [`BadSignature`] when the bytes are no usable point: nothing can verify under such a key.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, BadSignature> {
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| BadSignature)?;
        if key.is_weak() { Err(BadSignature) } else { Ok(Self(key)) }
    }

    /// From the `did:key` of a node.
    ///
    /// # Errors
    /// [`DidKeyError`] when the DID holds no usable Ed25519 key.
    pub fn from_did(did: &Did) -> Result<Self, DidKeyError> {
        let (kind, bytes) = decode_did_key(did)?;
        let bytes: [u8; 32] = match kind {
            KeyKind::Ed25519 => bytes.try_into().map_err(|_| DidKeyError::Length)?,
            KeyKind::Secp256k1 | KeyKind::P256 => return Err(DidKeyError::Curve),
        };
        Self::from_bytes(&bytes).map_err(|BadSignature| DidKeyError::Curve)
    }

    /// The 32 bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The point on the curve.
    pub(super) fn point(self) -> curve25519_dalek::EdwardsPoint {
        self.0.to_edwards()
    }

    /// The `did:key` of this key.
    #[must_use]
    pub fn did(self) -> Did {
        encode_did_key(KeyKind::Ed25519, self.0.as_bytes())
    }

    /// Checks a signature, strictly: no malleable form passes, so that all nodes agree on what verifies.
    ///
    /// # Errors
    /// [`BadSignature`] when it does not fit.
    pub fn verify(self, domain: Domain, message: &[u8], signature: &Signature) -> Result<(), BadSignature> {
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        self.0.verify_strict(&domain.frame(message), &signature).map_err(|_| BadSignature)
    }
}

impl fmt::Debug for NodePublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodePublicKey({})", self.did())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEARTBEAT: Domain = Domain::new("angel/heartbeat/1");
    const VOTE: Domain = Domain::new("angel/vote/1");

    #[test]
    fn a_signature_holds_for_its_key_domain_and_message_alone() {
        let key = NodeKey::from_seed(&[1; 32]);
        let other = NodeKey::from_seed(&[2; 32]);
        let signature = key.sign(HEARTBEAT, b"alive");
        assert_eq!(key.public().verify(HEARTBEAT, b"alive", &signature), Ok(()));
        assert_eq!(key.public().verify(VOTE, b"alive", &signature), Err(BadSignature));
        assert_eq!(key.public().verify(HEARTBEAT, b"Alive", &signature), Err(BadSignature));
        assert_eq!(other.public().verify(HEARTBEAT, b"alive", &signature), Err(BadSignature));
        for bit in 0..512 {
            let mut altered = signature;
            altered[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key.public().verify(HEARTBEAT, b"alive", &altered), Err(BadSignature), "bit {bit}");
        }
    }

    #[test]
    fn the_did_gives_the_key_back() {
        let key = NodeKey::from_seed(&[3; 32]);
        assert_eq!(NodePublicKey::from_did(&key.did()), Ok(key.public()));
    }

    #[test]
    fn a_key_of_small_order_is_refused() {
        let mut identity = [0; 32];
        identity[0] = 1;
        assert_eq!(NodePublicKey::from_bytes(&identity), Err(BadSignature));
    }

    #[test]
    fn a_secret_key_prints_no_secret() {
        let key = NodeKey::from_seed(&[9; 32]);
        assert!(!format!("{key:?}").contains("9, 9"));
    }
}
