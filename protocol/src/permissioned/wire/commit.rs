//! Commits: a signature that says who and when, and a code that says what, so that only the first can be shown to
//! others (proposal 0016, "Commit signature").
//!
//! The author signs random bytes together with space, author and revision, and never the hash of the records. The hash
//! is bound to those bytes by a MAC whose key follows from the bytes themselves: whoever holds the commit could have
//! made it for any hash. A reader who asked the author's host over an authenticated connection knows what it said;
//! nobody else can be convinced.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::crypto::{SigningKey, VerifyingKey};
use crate::data::cbor::{CborError, Reader, Writer};
use crate::data::{Block, Codec, Map, Value};
use crate::ids::{Did, Tid};
use crate::limits::NOTIFIED_REV_AHEAD_MAX;
use crate::permissioned::SpaceUri;
use crate::time::Timestamp;

/// Stands in front of everything that is signed here.
const TAG: &[u8] = b"atproto-space-v1";

/// The version of the form.
const VERSION: i64 = 1;

/// A commit (`com.atproto.space.defs#signedCommit`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCommit {
    /// The digest of the set hash.
    pub hash: [u8; 32],
    /// Random bytes, new for each reader.
    pub ikm: [u8; 32],
    /// The author's signature over the context, which names these bytes.
    pub sig: [u8; 64],
    /// Binds the digest to the context.
    pub mac: [u8; 32],
    /// The revision.
    pub rev: Tid,
}

/// Why a commit is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitRefusal {
    /// Not the form of a commit.
    #[error("not a commit of a permissioned repository: {0}")]
    Form(#[from] CborError),
    /// Another version.
    #[error("a commit of version {0}; only version 1 is known")]
    Version(i64),
    /// A field has another length than its kind has.
    #[error("a field of the commit has a wrong length")]
    Length,
    /// The revision is no TID.
    #[error("the revision of the commit is no TID")]
    Revision,
    /// The signature is not the author's over this space and revision.
    #[error("the commit is not signed by its author for this space and revision")]
    Signature,
    /// The digest is not the one that was committed to.
    #[error("the digest is not the one that the commit was made for")]
    Mac,
}

/// What a commit is about, as it is signed: the tag, then each field behind its length in two bytes, high byte first
/// (RFC 8446, section 3.4).
fn context(space: &SpaceUri, author: &Did, rev: Tid, ikm: &[u8]) -> Vec<u8> {
    let (space, rev) = (space.to_string(), rev.to_string());
    let mut context = TAG.to_vec();
    for field in [space.as_bytes(), author.as_str().as_bytes(), rev.as_bytes(), ikm] {
        let length = u16::try_from(field.len()).expect("the URI of a space has at most 8 KiB, the others less");
        context.extend_from_slice(&length.to_be_bytes());
        context.extend_from_slice(field);
    }
    context
}

/// The MAC over `hash`. Its key is HKDF-Expand of `ikm` to 32 bytes, which is the first block (RFC 5869, section 2.3).
fn mac(ikm: &[u8], context: &[u8], hash: &[u8]) -> Hmac<Sha256> {
    let keyed = |key: &[u8]| Hmac::<Sha256>::new_from_slice(key).expect("a key of any length is taken");
    let mut expand = keyed(ikm);
    expand.update(context);
    expand.update(&[1]);
    let mut mac = keyed(&expand.finalize().into_bytes());
    mac.update(hash);
    mac
}

impl SignedCommit {
    /// The commit of `author` in `space` at `rev`, whose records have the digest `hash`. `ikm` is random and used once:
    /// a second reader gets other bytes.
    #[must_use]
    pub fn sign(space: &SpaceUri, author: &Did, rev: Tid, hash: [u8; 32], ikm: [u8; 32], key: &SigningKey) -> Self {
        let context = context(space, author, rev, &ikm);
        let sig = key.sign(&context);
        let mac = mac(&ikm, &context, &hash).finalize().into_bytes().into();
        Self { hash, ikm, sig, mac, rev }
    }

    /// Whether `author` made it for `space`, and for its own digest.
    ///
    /// # Errors
    /// [`CommitRefusal::Mac`] or [`CommitRefusal::Signature`].
    pub fn verify(&self, space: &SpaceUri, author: &Did, key: VerifyingKey) -> Result<(), CommitRefusal> {
        let context = context(space, author, self.rev, &self.ikm);
        mac(&self.ikm, &context, &self.hash).verify_slice(&self.mac).map_err(|_| CommitRefusal::Mac)?;
        key.verify(&context, &self.sig).map_err(|_| CommitRefusal::Signature)
    }

    /// Whether it claims to be from further in the future than clocks may differ.
    #[must_use]
    pub fn is_from_the_future(&self, now: Timestamp) -> bool {
        self.rev.timestamp() > now + NOTIFIED_REV_AHEAD_MAX
    }

    /// Its block in a CAR file.
    #[must_use]
    pub fn to_block(&self) -> Block {
        let mut writer = Writer::with_capacity(256);
        writer.map(6);
        writer.text("ikm");
        writer.bytes(&self.ikm);
        writer.text("mac");
        writer.bytes(&self.mac);
        writer.text("rev");
        writer.text(&self.rev.to_string());
        writer.text("sig");
        writer.bytes(&self.sig);
        writer.text("ver");
        writer.integer(VERSION);
        writer.text("hash");
        writer.bytes(&self.hash);
        Block::new(Codec::DagCbor, writer.into_bytes())
    }

    /// Reads the bytes of a block.
    ///
    /// # Errors
    /// [`CommitRefusal`], by what is wrong with the form.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CommitRefusal> {
        let mut reader = Reader::new(bytes);
        reader.expect_map(6)?;
        let ikm = field(&mut reader, "ikm")?;
        let mac = field(&mut reader, "mac")?;
        reader.expect_key("rev")?;
        let rev = reader.text()?.parse().map_err(|_| CommitRefusal::Revision)?;
        let sig = field(&mut reader, "sig")?;
        reader.expect_key("ver")?;
        let version = reader.integer()?;
        let hash = field(&mut reader, "hash")?;
        reader.finish()?;
        if version == VERSION { Ok(Self { hash, ikm, sig, mac, rev }) } else { Err(CommitRefusal::Version(version)) }
    }

    /// Its form in an answer, for [`crate::data::to_json`].
    #[must_use]
    pub fn to_value(&self) -> Value {
        Value::Map(Map::from([
            ("ver".into(), Value::Integer(VERSION)),
            ("hash".into(), Value::Bytes(self.hash.to_vec())),
            ("ikm".into(), Value::Bytes(self.ikm.to_vec())),
            ("sig".into(), Value::Bytes(self.sig.to_vec())),
            ("mac".into(), Value::Bytes(self.mac.to_vec())),
            ("rev".into(), Value::String(self.rev.to_string())),
        ]))
    }

    /// Reads the form of an answer.
    ///
    /// # Errors
    /// [`CommitRefusal`], by what is wrong with the form.
    pub fn from_value(value: &Value) -> Result<Self, CommitRefusal> {
        Self::from_bytes(&crate::data::cbor::encode(value))
    }
}

fn field<const N: usize>(reader: &mut Reader<'_>, name: &str) -> Result<[u8; N], CommitRefusal> {
    reader.expect_key(name)?;
    reader.bytes()?.try_into().map_err(|_| CommitRefusal::Length)
}
