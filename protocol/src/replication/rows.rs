//! Private rows on their way to a standby: what lies in a repository's export nobody but the hosts may see, so it goes
//! sealed to the key of one standby, and signed by the primary: for which tenant, in which epoch, which part of what.
//!
//! Rows travel in two ways: as the changes that the primary's log tells ([`Span::Events`]), and as stretches of all that
//! there is ([`Span::Stretch`]), by which a copy begins and by which two nodes find where they differ.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::wire::{InvalidFrame, decode, encode};
use crate::crypto::{BadSignature, Domain, NodeKey, NodePublicKey, Signature};
use crate::ids::{Did, NetworkId};
use crate::limits::{REPLICA_ANSWER_BYTES_MAX, REPLICA_KEY_BYTES_MAX};

/// A place in the rows of an account, all tables one behind the other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Place {
    /// The byte of the table.
    pub table: u8,
    /// The key of the row there.
    #[serde(with = "serde_bytes")]
    pub key: Vec<u8>,
}

/// Which rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Span {
    /// Those that events behind `since` tell of, up to `next`.
    Events {
        /// The cursor before.
        since: u64,
        /// The cursor behind them.
        next: u64,
    },
    /// All that there were behind a place, up to another, when `sequence` was the tenant's newest event.
    Stretch {
        /// Behind which place; `None` from the beginning.
        after: Option<Place>,
        /// Up to which place; `None` to the end.
        end: Option<Place>,
        /// The newest event.
        sequence: u64,
    },
}

/// Whose rows: what a signature over them is bound to.
#[derive(Clone, Copy, Debug)]
pub struct Bound<'a> {
    /// The network.
    pub network: &'a NetworkId,
    /// The tenant.
    pub tenant: &'a Did,
    /// Its epoch.
    pub epoch: u64,
    /// Which of its rows.
    pub span: &'a Span,
}

/// A row of a stretch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RowOf {
    /// Where it lies.
    pub place: Place,
    /// Its value as it is stored.
    #[serde(with = "serde_bytes")]
    pub value: Vec<u8>,
}

/// What an event tells of rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EventOf {
    /// Its number.
    pub sequence: u64,
    /// Its body as it is stored.
    #[serde(with = "serde_bytes")]
    pub body: Vec<u8>,
}

/// Rows as they cross the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SealedRows {
    /// SHA-256 of what is in it.
    #[serde(with = "serde_bytes")]
    pub digest: [u8; 32],
    /// Ciphertext.
    #[serde(with = "serde_bytes")]
    pub sealed: Vec<u8>,
    /// The primary's word.
    #[serde(with = "serde_bytes")]
    pub signature: Signature,
}

/// Why rows are not believed.
#[derive(Debug, thiserror::Error)]
pub enum NotBelieved {
    /// The primary has not signed them, or for something else.
    #[error("the private rows are not signed by the primary, or for something else")]
    Signature(#[from] BadSignature),
    /// Something else is in it.
    #[error("the private rows are not those that the primary signed")]
    Digest,
    /// It is no list of rows.
    #[error(transparent)]
    Form(#[from] InvalidFrame),
}

const DOMAIN: Domain = Domain::new("angel/replica-rows/1");

impl Bound<'_> {
    fn message(&self, digest: &[u8; 32]) -> Vec<u8> {
        let statement = (self.network, self.tenant, self.epoch, self.span, serde_bytes::Bytes::new(digest));
        serde_ipld_dagcbor::to_vec(&statement).expect("a statement has only integers, texts and hashes")
    }

    /// The primary's word for rows, and their digest.
    #[must_use]
    pub fn sign(&self, key: &NodeKey, rows: &[u8]) -> ([u8; 32], Signature) {
        let digest = Sha256::digest(rows).into();
        (digest, key.sign(DOMAIN, &self.message(&digest)))
    }

    /// Whether these rows, opened, are what `primary` signed.
    ///
    /// # Errors
    /// [`NotBelieved`].
    pub fn verify(&self, primary: NodePublicKey, sealed: &SealedRows, opened: &[u8]) -> Result<(), NotBelieved> {
        primary.verify(DOMAIN, &self.message(&sealed.digest), &sealed.signature)?;
        let is_so = <[u8; 32]>::from(Sha256::digest(opened)) == sealed.digest;
        if is_so { Ok(()) } else { Err(NotBelieved::Digest) }
    }
}

/// Rows of a stretch, before they are sealed.
///
/// # Errors
/// They are too large.
pub fn encode_rows(rows: &[RowOf]) -> Result<Vec<u8>, InvalidFrame> {
    encode(&rows, REPLICA_ANSWER_BYTES_MAX)
}

/// Rows of a stretch, after they were opened.
///
/// # Errors
/// [`InvalidFrame`].
pub fn decode_rows(bytes: &[u8]) -> Result<Vec<RowOf>, InvalidFrame> {
    decode(bytes, REPLICA_ANSWER_BYTES_MAX)
}

/// What events tell, before it is sealed.
///
/// # Errors
/// It is too large.
pub fn encode_events(events: &[EventOf]) -> Result<Vec<u8>, InvalidFrame> {
    encode(&events, REPLICA_ANSWER_BYTES_MAX)
}

/// What events tell, after it was opened.
///
/// # Errors
/// [`InvalidFrame`].
pub fn decode_events(bytes: &[u8]) -> Result<Vec<EventOf>, InvalidFrame> {
    decode(bytes, REPLICA_ANSWER_BYTES_MAX)
}

/// Whether a place is one that can be asked for.
pub(super) fn check_place(place: Option<&Place>) -> Result<(), InvalidFrame> {
    if place.is_some_and(|place| place.key.len() > REPLICA_KEY_BYTES_MAX) {
        return Err(InvalidFrame::Bound("a key"));
    }
    Ok(())
}
