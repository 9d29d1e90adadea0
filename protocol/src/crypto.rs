//! Keys and signatures.
//!
//! A node signs with Ed25519 ([`NodeKey`]); its DID is the `did:key` of that key, so that anyone can check a message
//! without asking anybody. Every such signature covers a [`Domain`] first: bytes signed for one purpose mean nothing
//! for another.
//!
//! An account signs commits and PLC operations with ECDSA ([`SigningKey`], [`VerifyingKey`]), whose bytes AT Protocol
//! defines; there is no domain in front of them, and such a key signs nothing else.

mod curves;
mod did_key;
mod ecdsa;
mod ed25519;
pub mod together;

pub use curves::{P256Key, P256PublicKey, Secp256k1Key, Secp256k1PublicKey};
pub use did_key::{DidKeyError, KeyKind, decode_did_key, encode_did_key};
pub use ecdsa::{SigningKey, VerifyingKey};
pub use ed25519::{BadSignature, Domain, NodeKey, NodePublicKey, Signature};
