//! Content identifiers, of the one kind AT Protocol uses for links ("Data Model", section "Link and CID Formats").

use std::fmt;
use std::ops::Deref;
use std::str::FromStr;
use std::sync::{Arc, LazyLock};

use data_encoding::{Encoding, Specification};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};

/// What the bytes behind a CID are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Codec {
    /// Bytes as they are: blobs.
    Raw,
    /// DAG-CBOR: records, tree nodes, commits.
    DagCbor,
}

impl Codec {
    const fn code(self) -> u8 {
        match self {
            Self::Raw => 0x55,
            Self::DagCbor => 0x71,
        }
    }
}

/// A CID of version 1 over SHA-256, of codec [`Codec::DagCbor`] or [`Codec::Raw`]. Orders as its bytes do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cid {
    codec: Codec,
    digest: [u8; 32],
}

/// Why bytes or a string are no such CID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCid {
    /// Not base 32 in lower case after a `b`, or not 59 characters.
    #[error("a CID is written as b and 58 characters of lower-case base 32")]
    Text,
    /// Not 36 bytes.
    #[error("a CID has 36 bytes")]
    Length,
    /// Another version than 1.
    #[error("a CID has version 1")]
    Version,
    /// Another codec than DAG-CBOR and raw.
    #[error("a CID is of codec dag-cbor or raw")]
    Codec,
    /// Another hash than SHA-256 of 32 bytes.
    #[error("a CID is over SHA-256")]
    Hash,
}

impl Cid {
    /// Length of the binary form.
    pub const BYTES: usize = 36;

    const TEXT_BYTES: usize = 59;

    /// The CID of `bytes`.
    #[must_use]
    pub fn of(codec: Codec, bytes: &[u8]) -> Self {
        Self { codec, digest: Sha256::digest(bytes).into() }
    }

    /// From a digest made elsewhere, for example while a blob streamed by.
    #[must_use]
    pub const fn from_digest(codec: Codec, digest: [u8; 32]) -> Self {
        Self { codec, digest }
    }

    /// The codec.
    #[must_use]
    pub const fn codec(self) -> Codec {
        self.codec
    }

    /// The SHA-256 digest.
    #[must_use]
    pub const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// The binary form.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..4].copy_from_slice(&[1, self.codec.code(), 0x12, 32]);
        bytes[4..].copy_from_slice(&self.digest);
        bytes
    }

    /// The text form.
    #[must_use]
    pub fn text(self) -> CidText {
        let mut text = [b'b'; Self::TEXT_BYTES];
        BASE32.encode_mut(&self.to_bytes(), &mut text[1..]);
        CidText(text)
    }

    /// Reads the binary form.
    ///
    /// # Errors
    /// [`InvalidCid`], by what is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidCid> {
        let (head, digest) = bytes.split_at_checked(4).ok_or(InvalidCid::Length)?;
        if head[0] != 1 {
            return Err(InvalidCid::Version);
        }
        let codec = match head[1] {
            0x55 => Codec::Raw,
            0x71 => Codec::DagCbor,
            _ => return Err(InvalidCid::Codec),
        };
        if head[2..] != [0x12, 32] {
            return Err(InvalidCid::Hash);
        }
        Ok(Self { codec, digest: digest.try_into().map_err(|_| InvalidCid::Length)? })
    }

    /// Whether this is the CID of `bytes`.
    #[must_use]
    pub fn matches(self, bytes: &[u8]) -> bool {
        Self::of(self.codec, bytes) == self
    }
}

impl FromStr for Cid {
    type Err = InvalidCid;

    fn from_str(text: &str) -> Result<Self, InvalidCid> {
        if text.len() != Self::TEXT_BYTES {
            return Err(InvalidCid::Text);
        }
        let digits = text.strip_prefix('b').ok_or(InvalidCid::Text)?;
        // 58 digits are 36 bytes and 2 bits, which have to be zero.
        let mut bytes = [0; Self::BYTES];
        match BASE32.decode_mut(digits.as_bytes(), &mut bytes) {
            Ok(Self::BYTES) => Self::from_bytes(&bytes),
            _ => Err(InvalidCid::Text),
        }
    }
}

impl TryFrom<&cid::Cid> for Cid {
    type Error = InvalidCid;

    fn try_from(cid: &cid::Cid) -> Result<Self, InvalidCid> {
        Self::from_bytes(&cid.to_bytes())
    }
}

impl From<Cid> for cid::Cid {
    fn from(cid: Cid) -> Self {
        let hash = multihash::Multihash::wrap(0x12, &cid.digest).expect("32 bytes fit into a multihash of 64");
        Self::new_v1(u64::from(cid.codec.code()), hash)
    }
}

/// Base 32 in lower case without padding (RFC 4648 section 6), as multibase prefix `b` means it.
static BASE32: LazyLock<Encoding> = LazyLock::new(|| {
    let mut specification = Specification::new();
    specification.symbols.push_str("abcdefghijklmnopqrstuvwxyz234567");
    specification.encoding().expect("32 symbols, none of them twice")
});

/// The text form of a CID, made without memory of its own: long listings are full of them.
#[derive(Clone, Copy)]
pub struct CidText([u8; Cid::TEXT_BYTES]);

impl Deref for CidText {
    type Target = str;

    fn deref(&self) -> &str {
        std::str::from_utf8(&self.0).expect("b and base 32 are ASCII")
    }
}

impl fmt::Display for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl fmt::Debug for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A string where people read, a link (tag 42) in DAG-CBOR.
impl Serialize for Cid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            cid::Cid::from(*self).serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Cid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
        } else {
            Self::try_from(&cid::Cid::deserialize(deserializer)?).map_err(de::Error::custom)
        }
    }
}

/// Bytes and the CID that names them. The two always belong together.
#[derive(Clone, PartialEq, Eq)]
pub struct Block {
    cid: Cid,
    bytes: Arc<[u8]>,
}

impl Block {
    /// Names `bytes`.
    #[must_use]
    pub fn new(codec: Codec, bytes: impl Into<Arc<[u8]>>) -> Self {
        let bytes = bytes.into();
        Self { cid: Cid::of(codec, &bytes), bytes }
    }

    /// Checks that `cid` names `bytes`; `None` when it does not.
    #[must_use]
    pub fn checked(cid: Cid, bytes: impl Into<Arc<[u8]>>) -> Option<Self> {
        let bytes = bytes.into();
        cid.matches(&bytes).then_some(Self { cid, bytes })
    }

    /// Bytes that their source has checked against `cid` already.
    pub(crate) const fn from_source(cid: Cid, bytes: Arc<[u8]>) -> Self {
        Self { cid, bytes }
    }

    /// The name.
    #[must_use]
    pub const fn cid(&self) -> Cid {
        self.cid
    }

    /// The bytes.
    #[must_use]
    pub const fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Block({}, {} bytes)", self.cid, self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_well_known_bytes() {
        // The empty block of either codec, and an empty map.
        assert_eq!(Cid::of(Codec::Raw, b"").to_string(), "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku");
        assert_eq!(
            Cid::of(Codec::DagCbor, &[0xa0]).to_string(),
            "bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swua"
        );
    }

    #[test]
    fn refuses_by_reason() {
        let good = Cid::of(Codec::Raw, b"x").to_bytes();
        let with = |at: usize, byte: u8| {
            let mut bytes = good;
            bytes[at] = byte;
            Cid::from_bytes(&bytes).expect_err("altered")
        };
        assert_eq!(with(0, 0), InvalidCid::Version);
        assert_eq!(with(1, 0x70), InvalidCid::Codec);
        assert_eq!(with(2, 0x13), InvalidCid::Hash);
        assert_eq!(with(3, 31), InvalidCid::Hash);
        assert_eq!(Cid::from_bytes(&good[..35]), Err(InvalidCid::Length));
        let text = Cid::of(Codec::Raw, b"x").to_string();
        assert_eq!(text.to_uppercase().parse::<Cid>(), Err(InvalidCid::Text));
        assert_eq!(text[..58].parse::<Cid>(), Err(InvalidCid::Text));
        // The last character carries two bits that belong to no byte; they must be zero.
        assert_eq!(format!("{}b", &text[..58]).parse::<Cid>(), Err(InvalidCid::Text));
    }

    #[test]
    fn a_block_is_what_its_cid_says() {
        let block = Block::new(Codec::Raw, b"abc".as_slice());
        assert_eq!(Block::checked(block.cid(), b"abc".as_slice()), Some(block.clone()));
        assert_eq!(Block::checked(block.cid(), b"abd".as_slice()), None);
    }

    proptest! {
        #[test]
        fn every_form_leads_back(bytes: Vec<u8>, raw: bool) {
            let cid = Cid::of(if raw { Codec::Raw } else { Codec::DagCbor }, &bytes);
            prop_assert_eq!(Cid::from_bytes(&cid.to_bytes()), Ok(cid));
            prop_assert_eq!(cid.to_string().parse(), Ok(cid));
            prop_assert_eq!(Cid::try_from(&cid::Cid::from(cid)), Ok(cid));
            prop_assert_eq!(cid::Cid::from(cid).to_string(), cid.to_string());
            let cbor = serde_ipld_dagcbor::to_vec(&cid).expect("encodes");
            prop_assert_eq!(serde_ipld_dagcbor::from_slice::<Cid>(&cbor).ok(), Some(cid));
            prop_assert_eq!(serde_json::to_value(cid).ok(), Some(cid.to_string().into()));
        }
    }
}
