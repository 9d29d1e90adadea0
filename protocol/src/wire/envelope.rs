//! The signed envelope every message between nodes travels in (`network.md` 1.4).
//!
//! ```text
//! { "v": 1, "did": issuer, "seq": 17, "sig": 64 bytes, "body": {…}, "network": "home-dev", "issuedAt": milliseconds }
//! ```
//!
//! Canonical DAG-CBOR. The signature covers the same map without `sig`, behind the [`Domain`] of the body. The envelope
//! knows exactly these fields and refuses others; a body may grow fields that this version does not know, and they are
//! covered by the signature all the same.
//!
//! Checks run in order of cost, the signature last: [`Opened::from_cbor`] does size, form, version, network and issuer; the
//! caller, who has the clock and the last sequence, does those two; [`Opened::verify`] decodes the body and checks the
//! signature. Only [`Verified`] carries a body, so an unverified one cannot be used by mistake.

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::canonical;
use super::gossip::Verdict;
use crate::crypto::{BadSignature, Domain, KeyKind, NodeKey, NodePublicKey, Signature, decode_did_key};
use crate::data::cbor::{self, reader::Item, reader::Reader};
use crate::data::{self, CborError, JsonError};
use crate::ids::{Did, NetworkId};
use crate::limits::{CBOR_DEPTH_MAX, ENVELOPE_BYTES_MAX, SEQUENCE_MAX};
use crate::time::Timestamp;

/// The version this node writes.
pub const VERSION: u64 = 1;

/// The versions this node reads: the current and the previous one. So far there is one.
pub const VERSIONS: std::ops::RangeInclusive<u64> = 1..=VERSION;

/// How far an issue time may lie from the receiver's clock, either way.
pub const CLOCK_TOLERANCE: Duration = Duration::from_secs(120);

/// The fields of an envelope, in canonical order.
const FIELDS: [&str; 7] = ["v", "did", "seq", "sig", "body", "network", "issuedAt"];

/// What an envelope can carry.
pub trait Body: Serialize + DeserializeOwned {
    /// What the signature is for.
    const DOMAIN: Domain;

    /// Bounds and consistency, cheap; runs before the signature is checked.
    ///
    /// # Errors
    /// What is wrong, in words for the sender.
    fn check(&self, head: &Head) -> Result<(), &'static str>;

    /// Signatures inside the body, dear; runs after the envelope's own.
    ///
    /// # Errors
    /// [`BadSignature`] when one does not hold.
    fn check_signatures(&self, _head: &Head) -> Result<(), BadSignature> {
        Ok(())
    }
}

/// Who sent a message and when, as the message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The network it is meant for.
    pub network: NetworkId,
    /// Who signs.
    pub issuer: Did,
    /// The issuer's Ed25519 key, taken from the DID; not yet checked to be a point on the curve.
    pub key: [u8; 32],
    /// The issuer's sequence number.
    pub sequence: u64,
    /// The issuer's clock when it signed.
    pub issued_at: Timestamp,
}

/// A message whose form is right and whose signature has not been looked at.
#[derive(Clone, Debug)]
pub struct Opened<B> {
    bytes: Arc<[u8]>,
    head: Head,
    signature: Range<usize>,
    body: Range<usize>,
    _body: PhantomData<fn() -> B>,
}

/// A message whose signature holds. There is no other way to make one than [`Opened::verify`] and [`seal`].
#[derive(Clone, Debug)]
pub struct Verified<B> {
    head: Head,
    body: B,
    bytes: Arc<[u8]>,
}

/// Why an envelope is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// More than [`ENVELOPE_BYTES_MAX`].
    #[error("the message has more than {ENVELOPE_BYTES_MAX} bytes")]
    TooLarge,
    /// Not canonical DAG-CBOR.
    #[error("the message is not canonical DAG-CBOR: {0}")]
    NotCanonical(#[from] CborError),
    /// Not JSON at all.
    #[error("the message is not JSON")]
    NotJson,
    /// JSON, but not as AT Protocol uses it.
    #[error("the message is not AT Protocol JSON: {0}")]
    JsonForm(#[from] JsonError),
    /// A field is missing, unknown, or of the wrong type.
    #[error("the envelope's field {0} is missing, unknown or of the wrong type")]
    Field(&'static str),
    /// A version this node does not speak.
    #[error("protocol version {0} is not spoken here; this node speaks {VERSION}")]
    Version(u64),
    /// Another network.
    #[error("the message is meant for another network")]
    Network,
    /// The issuer is no `did:key` of an Ed25519 key.
    #[error("the issuer must be the did:key of an Ed25519 key")]
    Issuer,
    /// Issued too far from this node's time.
    #[error("the issue time is {:.1} s off this node's clock; at most {} s are allowed", .0.as_secs_f64(), CLOCK_TOLERANCE.as_secs())]
    Clock(Duration),
    /// The body does not decode or breaks a bound.
    #[error("the body is invalid: {0}")]
    Body(String),
    /// The signature does not hold.
    #[error("the signature does not verify")]
    Signature,
}

impl EnvelopeError {
    /// A stable name for metrics.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::NotCanonical(_) => "not_canonical",
            Self::NotJson | Self::JsonForm(_) => "not_json",
            Self::Field(_) => "field",
            Self::Version(_) => "version",
            Self::Network => "network",
            Self::Issuer => "issuer",
            Self::Clock(_) => "clock",
            Self::Body(_) => "body",
            Self::Signature => "signature",
        }
    }

    /// What gossip does with such a message. Whoever forwards what every honest node must refuse is at fault; whoever
    /// forwards what only this node's clock or version refuses is not.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        match self {
            Self::Version(_) | Self::Clock(_) => Verdict::Ignore,
            Self::TooLarge
            | Self::NotCanonical(_)
            | Self::NotJson
            | Self::JsonForm(_)
            | Self::Field(_)
            | Self::Network
            | Self::Issuer
            | Self::Body(_)
            | Self::Signature => Verdict::Reject,
        }
    }
}

/// Signs `body` and wraps it.
///
/// # Errors
/// [`EnvelopeError`] when the message would be refused by its receivers: out of bounds, or too large.
pub fn seal<B: Body>(
    key: &NodeKey,
    network: &NetworkId,
    sequence: u64,
    issued_at: Timestamp,
    body: B,
) -> Result<Verified<B>, EnvelopeError> {
    let issuer = key.did();
    let head = Head { network: network.clone(), issuer, key: key.public().to_bytes(), sequence, issued_at };
    body.check(&head).map_err(|reason| EnvelopeError::Body(reason.to_owned()))?;
    let encoded = encode(&body);
    let mut bytes = join(&head, &encoded, None);
    let signature = key.sign(B::DOMAIN, &bytes);
    bytes = join(&head, &encoded, Some(&signature));
    if bytes.len() > ENVELOPE_BYTES_MAX {
        return Err(EnvelopeError::TooLarge);
    }
    Ok(Verified { head, body, bytes: bytes.into() })
}

fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    serde_ipld_dagcbor::to_vec(value).expect("messages hold only what DAG-CBOR can hold")
}

/// The envelope's bytes, or with no signature the bytes that are signed.
fn join(head: &Head, body: &[u8], signature: Option<&Signature>) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 320);
    let fields = FIELDS.len() - usize::from(signature.is_none());
    out.push(0xa0 | u8::try_from(fields).expect("seven fields fit the short form"));
    let mut put = |name: &str, value: &[u8]| {
        out.extend_from_slice(&encode(&name));
        out.extend_from_slice(value);
    };
    put("v", &encode(&VERSION));
    put("did", &encode(&head.issuer));
    put("seq", &encode(&head.sequence));
    if let Some(signature) = signature {
        put("sig", &encode(&serde_bytes::Bytes::new(signature)));
    }
    put("body", body);
    put("network", &encode(&head.network));
    put("issuedAt", &encode(&head.issued_at));
    out
}

impl<B: Body> Opened<B> {
    /// Size, canonical form, fields, version, network and issuer, in this order.
    ///
    /// # Errors
    /// [`EnvelopeError`], by the first check that fails.
    pub fn from_cbor(bytes: &[u8], network: &NetworkId) -> Result<Self, EnvelopeError> {
        if bytes.len() > ENVELOPE_BYTES_MAX {
            return Err(EnvelopeError::TooLarge);
        }
        let [version, did, sequence, signature, body, named, issued_at] = fields(bytes)?;
        let version: u64 = decode(&bytes[version], "v")?;
        if !VERSIONS.contains(&version) {
            return Err(EnvelopeError::Version(version));
        }
        let named: NetworkId = decode(&bytes[named], "network")?;
        if named != *network {
            return Err(EnvelopeError::Network);
        }
        let issuer: Did = decode(&bytes[did], "did")?;
        let key = match decode_did_key(&issuer) {
            Ok((KeyKind::Ed25519, key)) => key.try_into().map_err(|_| EnvelopeError::Issuer)?,
            _ => return Err(EnvelopeError::Issuer),
        };
        let sequence: u64 = decode(&bytes[sequence], "seq")?;
        let issued_at: Timestamp = decode(&bytes[issued_at], "issuedAt")?;
        if sequence > SEQUENCE_MAX || issued_at > Timestamp::MAX {
            return Err(EnvelopeError::Field(if sequence > SEQUENCE_MAX { "seq" } else { "issuedAt" }));
        }
        // A byte string of 64 has a head of two bytes; its bytes are read again when the signature is checked.
        let signature = match bytes[signature.clone()] {
            [0x58, 64, ..] => signature.start + 2..signature.end,
            _ => return Err(EnvelopeError::Field("sig")),
        };
        let head = Head { network: named, issuer, key, sequence, issued_at };
        Ok(Self { bytes: bytes.into(), head, signature, body, _body: PhantomData })
    }

    /// The same from AT Protocol JSON, as it arrives over HTTP: turned into the canonical bytes, then checked alike.
    ///
    /// # Errors
    /// [`EnvelopeError`], by the first check that fails.
    pub fn from_json(text: &[u8], network: &NetworkId) -> Result<Self, EnvelopeError> {
        // JSON is longer than CBOR by base64, quotes and escapes; four times the size is more than any of them cost.
        if text.len() > 4 * ENVELOPE_BYTES_MAX {
            return Err(EnvelopeError::TooLarge);
        }
        let json = serde_json::from_slice(text).map_err(|_| EnvelopeError::NotJson)?;
        Self::from_cbor(&cbor::encode(&data::from_json(&json)?), network)
    }

    /// Who says to have sent it and when. Nothing of it is proved yet.
    #[must_use]
    pub const fn head(&self) -> &Head {
        &self.head
    }

    /// The bytes as they came.
    #[must_use]
    pub const fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }

    /// Whether the issue time is near enough to `now`.
    ///
    /// # Errors
    /// [`EnvelopeError::Clock`] with the distance when it is not.
    pub fn check_clock(&self, now: Timestamp) -> Result<(), EnvelopeError> {
        self.head.check_clock(now)
    }

    /// Decodes the body, checks its bounds and then the signature.
    ///
    /// # Errors
    /// [`EnvelopeError::Body`] or [`EnvelopeError::Signature`].
    pub fn verify(self) -> Result<Verified<B>, EnvelopeError> {
        let body: B = serde_ipld_dagcbor::from_slice(&self.bytes[self.body.clone()])
            .map_err(|error| EnvelopeError::Body(data::misfit(&error)))?;
        body.check(&self.head).map_err(|reason| EnvelopeError::Body(reason.to_owned()))?;
        let key = NodePublicKey::from_bytes(&self.head.key).map_err(|BadSignature| EnvelopeError::Issuer)?;
        let signature: &Signature =
            self.bytes[self.signature.clone()].try_into().expect("the field was found to hold 64 bytes");
        key.verify(B::DOMAIN, &self.signed(), signature).map_err(|BadSignature| EnvelopeError::Signature)?;
        body.check_signatures(&self.head).map_err(|BadSignature| EnvelopeError::Signature)?;
        Ok(Verified { head: self.head, body, bytes: self.bytes })
    }

    /// The bytes under the signature: the envelope without its `sig` entry.
    fn signed(&self) -> Vec<u8> {
        const ENTRY_HEAD: usize = "\u{63}sig".len() + 2;
        let entry = self.signature.start - ENTRY_HEAD..self.signature.end;
        let mut signed = Vec::with_capacity(self.bytes.len());
        signed.push(self.bytes[0] - 1);
        signed.extend_from_slice(&self.bytes[1..entry.start]);
        signed.extend_from_slice(&self.bytes[entry.end..]);
        signed
    }
}

impl Head {
    /// Whether the issue time is near enough to `now`.
    ///
    /// # Errors
    /// [`EnvelopeError::Clock`] with the distance when it is not.
    pub fn check_clock(&self, now: Timestamp) -> Result<(), EnvelopeError> {
        let distance = self.issued_at.abs_diff(now);
        if distance > CLOCK_TOLERANCE { Err(EnvelopeError::Clock(distance)) } else { Ok(()) }
    }
}

impl<B> Verified<B> {
    /// Who sent it and when.
    #[must_use]
    pub const fn head(&self) -> &Head {
        &self.head
    }

    /// What it says.
    #[must_use]
    pub const fn body(&self) -> &B {
        &self.body
    }

    /// The signed bytes as they came, for passing on.
    #[must_use]
    pub const fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }

    /// The message as AT Protocol JSON.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        data::to_json(&cbor::decode(&self.bytes).expect("a verified message is canonical DAG-CBOR"))
    }
}

/// The issuer's text where an envelope of this version has it, for looking up bytes that may be known. A guess: nothing
/// is checked, and what is not known must be opened.
#[must_use]
pub fn issuer(bytes: &[u8]) -> Option<&[u8]> {
    // A map of seven, version 1, and a text whose length takes one more byte.
    let (&length, rest) = bytes.strip_prefix(b"\xa7\x61v\x01\x63did\x78")?.split_first()?;
    rest.get(..usize::from(length))
}

/// Where the value of each field lies. The walk also proves the whole message canonical.
fn fields(bytes: &[u8]) -> Result<[Range<usize>; FIELDS.len()], EnvelopeError> {
    let mut reader = Reader::new(bytes);
    let Item::Map(count) = reader.item()? else { return Err(EnvelopeError::Field("(the message itself)")) };
    let mut ranges = [const { 0..0 }; FIELDS.len()];
    let mut last = None;
    for (place, (name, range)) in FIELDS.into_iter().zip(&mut ranges).enumerate() {
        if place == count || reader.key(&mut last)? != name {
            return Err(EnvelopeError::Field(name));
        }
        let start = bytes.len() - reader.left();
        canonical::skip(&mut reader, CBOR_DEPTH_MAX - 1)?;
        *range = start..bytes.len() - reader.left();
    }
    if count != FIELDS.len() {
        return Err(EnvelopeError::Field("(a field that is not known)"));
    }
    reader.finish()?;
    Ok(ranges)
}

fn decode<T: DeserializeOwned>(bytes: &[u8], field: &'static str) -> Result<T, EnvelopeError> {
    serde_ipld_dagcbor::from_slice(bytes).map_err(|_| EnvelopeError::Field(field))
}

#[cfg(test)]
mod tests;
