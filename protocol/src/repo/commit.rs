//! The commit: who, which tree, when, and the signature over it ("Repository", section "Commit Objects", version 3).

use super::car;
use crate::crypto::{BadSignature, Signature, SigningKey, VerifyingKey};
use crate::data::cbor::{CborError, Reader, Writer};
use crate::data::{Block, Cid, Codec};
use crate::ids::{Did, InvalidDid, InvalidTid, Tid};
use crate::limits::REV_AHEAD_MAX;
use crate::time::Timestamp;

/// The only version in use.
const VERSION: i64 = 3;

/// What a commit says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The account.
    pub did: Did,
    /// The root of the tree of records.
    pub data: Cid,
    /// The revision; grows with every commit of an account.
    pub rev: Tid,
    /// The commit before. Left from version 2: always null in what is written here.
    pub prev: Option<Cid>,
}

/// A commit with its signature, in the bytes it came in. The signature is not checked by decoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCommit {
    commit: Commit,
    signature: Signature,
    block: Block,
}

/// Why a block is no commit of version 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Named by a CID of another codec.
    #[error("a commit is DAG-CBOR")]
    Codec,
    /// Not canonical DAG-CBOR of the structure, for example with a field missing or unknown.
    #[error("the commit is not of its form: {0}")]
    Cbor(#[from] CborError),
    /// Another version.
    #[error("the commit has version {0}; only version 3 is supported")]
    Version(i64),
    /// The account is no DID.
    #[error("the commit names no account: {0}")]
    Did(#[from] InvalidDid),
    /// The revision is no TID.
    #[error("the commit has no revision: {0}")]
    Rev(#[from] InvalidTid),
    /// The signature has not 64 bytes.
    #[error("the commit's signature has not 64 bytes")]
    Signature,
}

impl Commit {
    /// Signs the commit with the account's key.
    #[must_use]
    pub fn sign(self, key: &SigningKey) -> SignedCommit {
        let signature = key.sign(&self.encode(None));
        let block = Block::new(Codec::DagCbor, self.encode(Some(&signature)));
        SignedCommit { commit: self, signature, block }
    }

    /// The bytes that are signed, or with the signature those that are named.
    fn encode(&self, signature: Option<&Signature>) -> Vec<u8> {
        let mut writer = Writer::with_capacity(256);
        writer.map(5 + usize::from(signature.is_some()));
        writer.text("did");
        writer.text(self.did.as_str());
        writer.text("rev");
        writer.text(&self.rev.to_string());
        if let Some(signature) = signature {
            writer.text("sig");
            writer.bytes(signature);
        }
        writer.text("data");
        writer.link(self.data);
        writer.text("prev");
        writer.link_or_null(self.prev);
        writer.text("version");
        writer.integer(VERSION);
        writer.into_bytes()
    }
}

impl SignedCommit {
    /// Reads a commit.
    ///
    /// # Errors
    /// [`CommitError`], by what is wrong.
    pub fn decode(block: Block) -> Result<Self, CommitError> {
        if block.cid().codec() != Codec::DagCbor {
            return Err(CommitError::Codec);
        }
        let mut reader = Reader::new(block.bytes());
        reader.expect_map(6)?;
        reader.expect_key("did")?;
        let did = reader.text()?;
        reader.expect_key("rev")?;
        let rev = reader.text()?;
        reader.expect_key("sig")?;
        let signature = reader.bytes()?;
        reader.expect_key("data")?;
        let data = reader.link()?;
        reader.expect_key("prev")?;
        let prev = reader.link_or_null()?;
        reader.expect_key("version")?;
        let version = reader.integer()?;
        reader.finish()?;
        if version != VERSION {
            return Err(CommitError::Version(version));
        }
        let commit = Commit { did: did.parse()?, data, rev: rev.parse()?, prev };
        let signature = signature.try_into().map_err(|_| CommitError::Signature)?;
        Ok(Self { commit, signature, block })
    }

    /// Checks the signature.
    ///
    /// # Errors
    /// [`BadSignature`] when `key` did not sign this.
    pub fn verify(&self, key: VerifyingKey) -> Result<(), BadSignature> {
        key.verify(&self.commit.encode(None), &self.signature)
    }

    /// The account.
    #[must_use]
    pub const fn did(&self) -> &Did {
        &self.commit.did
    }

    /// The root of the tree of records.
    #[must_use]
    pub const fn data(&self) -> Cid {
        self.commit.data
    }

    /// The revision.
    #[must_use]
    pub const fn rev(&self) -> Tid {
        self.commit.rev
    }

    /// Whether the revision lies further ahead of `now` than clocks differ. Such a commit from elsewhere is refused: no
    /// honest one could follow on it for a long time.
    #[must_use]
    pub fn is_from_the_future(&self, now: Timestamp) -> bool {
        self.commit.rev.timestamp() > now + REV_AHEAD_MAX
    }

    /// The field `blocks` of the firehose's `#sync`: a CAR file with the commit alone.
    #[must_use]
    pub fn car(&self) -> Vec<u8> {
        car::encode(self.cid(), [&self.block])
    }

    /// The CID of the commit.
    #[must_use]
    pub const fn cid(&self) -> Cid {
        self.block.cid()
    }

    /// The commit's block.
    #[must_use]
    pub const fn block(&self) -> &Block {
        &self.block
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::crypto::{P256Key, Secp256k1Key};

    fn commit() -> Commit {
        Commit {
            did: "did:plc:yk4dd2qkboz2yv6tpubpc6co".parse().expect("valid"),
            data: Cid::of(Codec::DagCbor, b"tree"),
            rev: "3jzfcijpj2z2a".parse().expect("valid"),
            prev: None,
        }
    }

    #[test]
    fn survives_its_bytes_and_verifies() {
        let keys = [
            SigningKey::from(Secp256k1Key::from_bytes(&[1; 32]).expect("a scalar")),
            SigningKey::from(P256Key::from_bytes(&[2; 32]).expect("a scalar")),
        ];
        for key in &keys {
            for prev in [None, Some(Cid::of(Codec::DagCbor, b"before"))] {
                let signed = Commit { prev, ..commit() }.sign(key);
                assert_eq!(SignedCommit::decode(signed.block().clone()), Ok(signed.clone()));
                assert_eq!(signed.verify(key.public()), Ok(()));
            }
        }
        assert_eq!(commit().sign(&keys[0]).verify(keys[1].public()), Err(BadSignature));
        let forged = SignedCommit { commit: Commit { rev: Tid::MIN, ..commit() }, ..commit().sign(&keys[0]) };
        assert_eq!(forged.verify(keys[0].public()), Err(BadSignature));
    }

    #[test]
    fn a_revision_may_be_five_minutes_ahead() {
        let key = Secp256k1Key::from_bytes(&[1; 32]).expect("a scalar").into();
        let rev = Timestamp::from_millis(1_700_000_000_000);
        let signed = Commit { rev: Tid::new(rev.as_millis() * 1000, 0), ..commit() }.sign(&key);
        assert!(!signed.is_from_the_future(rev - REV_AHEAD_MAX));
        assert!(signed.is_from_the_future(rev - REV_AHEAD_MAX - std::time::Duration::from_millis(1)));
    }

    #[test]
    fn is_a_map_of_six_fields_in_canonical_order() {
        let key = Secp256k1Key::from_bytes(&[1; 32]).expect("a scalar").into();
        let signed = commit().sign(&key);
        let value = crate::data::cbor::decode(signed.block().bytes()).expect("canonical");
        let names: Vec<_> = value.as_map().expect("a map").keys().map(String::as_str).collect();
        assert_eq!(names, ["data", "did", "prev", "rev", "sig", "version"]);
        assert_eq!(crate::data::cbor::encode(&value), signed.block().bytes()[..]);
    }

    #[test]
    fn refuses_by_reason() {
        let key = Secp256k1Key::from_bytes(&[1; 32]).expect("a scalar").into();
        let signed = commit().sign(&key);
        let value = crate::data::cbor::decode(signed.block().bytes()).expect("canonical");
        let with = |name: &str, field: Option<crate::data::Value>| {
            let mut map = value.as_map().expect("a map").clone();
            match field {
                Some(field) => drop(map.insert(name.to_owned(), field)),
                None => drop(map.remove(name)),
            }
            let bytes = crate::data::cbor::encode(&crate::data::Value::Map(map));
            SignedCommit::decode(Block::new(Codec::DagCbor, bytes)).expect_err("altered")
        };
        use crate::data::Value::{Bytes, Integer, String};
        assert_eq!(with("version", Some(Integer(2))), CommitError::Version(2));
        assert_eq!(with("did", Some(String("nobody".into()))), CommitError::Did(InvalidDid::Form));
        assert_eq!(with("rev", Some(String("now".into()))), CommitError::Rev(InvalidTid::Length));
        assert_eq!(with("sig", Some(Bytes(vec![0; 63]))), CommitError::Signature);
        assert_eq!(with("prev", None), CommitError::Cbor(CborError::Type));
        assert_eq!(with("more", Some(Integer(1))), CommitError::Cbor(CborError::Type));
        let raw = Block::new(Codec::Raw, &signed.block().bytes()[..]);
        assert_eq!(SignedCommit::decode(raw), Err(CommitError::Codec));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, at: prop::sample::Index, byte: u8) {
            let key = Secp256k1Key::from_bytes(&[1; 32]).expect("a scalar").into();
            let signed = commit().sign(&key);
            let _ = SignedCommit::decode(Block::new(Codec::DagCbor, bytes));
            let mut altered = signed.block().bytes().to_vec();
            let at = at.index(altered.len());
            altered[at] = byte;
            if let Ok(read) = SignedCommit::decode(Block::new(Codec::DagCbor, altered))
                && read != signed
            {
                prop_assert_eq!(read.verify(key.public()), Err(BadSignature));
            }
        }
    }
}
