//! How a chunk is named, sealed and opened.
//!
//! The name is a keyed hash of what the chunk holds: whoever keeps the chunks cannot find out whether some known thing is
//! among them. The sealed form depends on key and content alone, so that a chunk can be made again without harm: its
//! nonce is a keyed hash of what is sealed, and two contents never share one. A chunk opens under its own name only.

use std::fmt;
use std::str::FromStr;

use chacha20poly1305::aead::{Aead, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

use crate::limits::BACKUP_CHUNK_BYTES_MAX;

/// The form of sealed chunks that this software writes and reads.
const FORM: u8 = 1;

const NONCE_BYTES: usize = 24;
const PLAIN: u8 = 0;
const LZ4: u8 = 1;

/// What sealing adds at most: form, nonce, method, length, tag.
const OVERHEAD_BYTES: usize = 1 + NONCE_BYTES + 1 + 4 + 16;

/// Largest sealed chunk, in bytes.
pub const SEALED_BYTES_MAX: usize = BACKUP_CHUNK_BYTES_MAX + OVERHEAD_BYTES;

/// The key of a node's backups. It names and seals chunks; it is no key of the owner's, who has one that opens it.
#[derive(Clone)]
pub struct BackupKey {
    seed: Zeroizing<[u8; 32]>,
    naming: Zeroizing<[u8; 32]>,
    nonces: Zeroizing<[u8; 32]>,
    sealing: Zeroizing<[u8; 32]>,
}

/// The name of a chunk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkName(pub [u8; 32]);

/// Why bytes are not the chunk that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAChunk {
    /// Too short or too long to be one.
    #[error("it has {0} bytes, which no chunk has")]
    Length(usize),
    /// Newer software wrote it.
    #[error("it has form {0}, which this software does not know")]
    Form(u8),
    /// The seal is broken: altered, cut, another chunk under this name, or sealed with another key.
    #[error("its seal does not hold: it was altered, is another chunk than its name says, or belongs to other backups")]
    Seal,
    /// The seal holds and the content is not what the name says.
    #[error("it does not hold what its name says")]
    Content,
}

impl BackupKey {
    /// The key with these bytes, which must be random.
    #[must_use]
    pub fn from_bytes(seed: [u8; 32]) -> Self {
        let derived = |label: &str| Zeroizing::new(keyed(&seed, &[b"angel/backup/1/", label.as_bytes()]));
        let (naming, nonces, sealing) = (derived("name"), derived("nonce"), derived("seal"));
        Self { seed: Zeroizing::new(seed), naming, nonces, sealing }
    }

    /// Reads what [`BackupKey::to_bytes`] gave; `None` for any other number of bytes than 32.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut seed: [u8; 32] = bytes.try_into().ok()?;
        let key = Self::from_bytes(seed);
        seed.zeroize();
        Some(key)
    }

    /// The bytes, to be sealed.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        self.seed.clone()
    }

    /// What the key is known by. Says nothing of it.
    #[must_use]
    pub fn id(&self) -> [u8; 16] {
        let digest = keyed(&self.seed, &[b"angel/backup/1/id"]);
        digest[..16].try_into().expect("a digest has 32 bytes")
    }

    /// The name of a chunk that holds `content`.
    #[must_use]
    pub fn name(&self, content: &[u8]) -> ChunkName {
        ChunkName(keyed(&self.naming, &[content]))
    }

    /// Seals `content` under `name`, which is [`BackupKey::name`] of it. At most [`SEALED_BYTES_MAX`] bytes for a content
    /// of [`BACKUP_CHUNK_BYTES_MAX`].
    #[must_use]
    pub fn seal(&self, name: ChunkName, content: &[u8]) -> Vec<u8> {
        let mut payload = Zeroizing::new(vec![LZ4]);
        payload.extend_from_slice(&lz4_flex::block::compress_prepend_size(content));
        if payload.len() > content.len() {
            payload.clear();
            payload.push(PLAIN);
            payload.extend_from_slice(content);
        }
        let nonce = keyed(&self.nonces, &[&name.0, &payload]);
        let nonce = &nonce[..NONCE_BYTES];
        let sealed = self.aead().encrypt(XNonce::from_slice(nonce), Payload { msg: &payload, aad: &bound_to(name) });
        let sealed = sealed.expect("a chunk is far below what the cipher takes");
        [&[FORM], nonce, &sealed].concat()
    }

    /// Opens the chunk `name`.
    ///
    /// # Errors
    /// [`NotAChunk`].
    pub fn open(&self, name: ChunkName, sealed: &[u8]) -> Result<Vec<u8>, NotAChunk> {
        if sealed.len() > SEALED_BYTES_MAX {
            return Err(NotAChunk::Length(sealed.len()));
        }
        let (form, rest) = sealed.split_first().ok_or(NotAChunk::Length(0))?;
        if *form != FORM {
            return Err(NotAChunk::Form(*form));
        }
        let (nonce, ciphertext) = rest.split_at_checked(NONCE_BYTES).ok_or(NotAChunk::Length(sealed.len()))?;
        let payload = Payload { msg: ciphertext, aad: &bound_to(name) };
        let payload = self.aead().decrypt(XNonce::from_slice(nonce), payload).map_err(|_| NotAChunk::Seal)?;
        let payload = Zeroizing::new(payload);
        let content = match payload.split_first() {
            Some((&PLAIN, content)) => content.to_vec(),
            Some((&LZ4, packed)) => unpack(packed)?,
            _ => return Err(NotAChunk::Content),
        };
        if self.name(&content) == name { Ok(content) } else { Err(NotAChunk::Content) }
    }

    fn aead(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(self.sealing.as_slice().into())
    }
}

impl fmt::Debug for BackupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BackupKey")
    }
}

impl fmt::Display for ChunkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for ChunkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChunkName({self})")
    }
}

/// Not the name of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a chunk is named by 64 hexadecimal digits")]
pub struct NoChunkName;

impl FromStr for ChunkName {
    type Err = NoChunkName;

    fn from_str(text: &str) -> Result<Self, NoChunkName> {
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| NoChunkName)?;
        bytes.try_into().map(Self).map_err(|_| NoChunkName)
    }
}

impl Serialize for ChunkName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_bytes::serialize(&self.0[..], serializer)
    }
}

impl<'de> Deserialize<'de> for ChunkName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes: Vec<u8> = serde_bytes::deserialize(deserializer)?;
        bytes.try_into().map(Self).map_err(|_| serde::de::Error::custom(NoChunkName))
    }
}

fn unpack(packed: &[u8]) -> Result<Vec<u8>, NotAChunk> {
    let (length, _) = lz4_flex::block::uncompressed_size(packed).map_err(|_| NotAChunk::Content)?;
    if length > BACKUP_CHUNK_BYTES_MAX {
        return Err(NotAChunk::Length(length));
    }
    lz4_flex::block::decompress_size_prepended(packed).map_err(|_| NotAChunk::Content)
}

/// What the seal covers besides the content.
fn bound_to(name: ChunkName) -> Vec<u8> {
    [b"angel/backup/chunk/", &[FORM][..], &name.0].concat()
}

fn keyed(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length is taken");
    parts.iter().fold(mac, |mac, part| mac.chain_update(part)).finalize().into_bytes().into()
}
