//! Keys and signatures.
//!
//! A node signs with Ed25519 ([`NodeKey`]); its DID is the `did:key` of that key, so that anyone can check a message
//! without asking anybody. Every signature covers a [`Domain`] first: bytes signed for one purpose mean nothing for
//! another.

mod did_key;
mod ed25519;

pub use did_key::{DidKeyError, KeyKind, decode_did_key, encode_did_key};
pub use ed25519::{BadSignature, Domain, NodeKey, NodePublicKey, Signature};
