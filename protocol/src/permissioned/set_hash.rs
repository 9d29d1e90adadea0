//! The set hash of a repository: LtHash with 1,024 lanes of 16 bits over BLAKE3 (proposal 0016, "Commit digest";
//! Lewi, Kim, Maykov and Weis, "Securing Update Propagation with Homomorphic Hashing", IACR ePrint 2019/227).
//!
//! Records come and go by one addition or subtraction each, in any order: two repositories with the same records have
//! the same state. It is a multiset: adding twice counts twice. Whoever adds sees to it that a record is added once.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::data::Cid;

const LANES: usize = 1024;

/// The state of a set hash.
#[derive(Clone, PartialEq, Eq)]
pub struct SetHash(Box<[u16; LANES]>);

impl SetHash {
    /// Bytes of the state.
    pub const BYTES: usize = 2 * LANES;

    /// The state with these bytes; `None` for any other number than [`Self::BYTES`].
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != Self::BYTES {
            return None;
        }
        let mut state = Self::default();
        state.0.iter_mut().zip(lanes(bytes)).for_each(|(lane, value)| *lane = value);
        Some(state)
    }

    /// The bytes of the state, each lane with its low byte first.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|lane| lane.to_le_bytes()).collect()
    }

    /// Adds the record at `path` with `cid`.
    pub fn add(&mut self, path: &str, cid: Cid) {
        self.add_element(element(path, cid).as_bytes());
    }

    /// Takes the record at `path` with `cid` away.
    pub fn remove(&mut self, path: &str, cid: Cid) {
        let stretched = stretch(element(path, cid).as_bytes());
        self.0.iter_mut().zip(lanes(&stretched)).for_each(|(lane, value)| *lane = lane.wrapping_sub(value));
    }

    /// What a commit says of the records: SHA-256 of the state.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.to_bytes()).into()
    }

    /// Whether it is the state of no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|lane| *lane == 0)
    }

    fn add_element(&mut self, element: &[u8]) {
        let stretched = stretch(element);
        self.0.iter_mut().zip(lanes(&stretched)).for_each(|(lane, value)| *lane = lane.wrapping_add(value));
    }
}

/// One record as an element of the set. Neither collection nor CID holds a slash, so no two records share one.
fn element(path: &str, cid: Cid) -> String {
    format!("{path}/{cid}")
}

fn stretch(element: &[u8]) -> [u8; SetHash::BYTES] {
    let mut stretched = [0; SetHash::BYTES];
    blake3::Hasher::new().update(element).finalize_xof().fill(&mut stretched);
    stretched
}

fn lanes(bytes: &[u8]) -> impl Iterator<Item = u16> + '_ {
    bytes.as_chunks::<2>().0.iter().map(|pair| u16::from_le_bytes(*pair))
}

impl Default for SetHash {
    fn default() -> Self {
        Self(Box::new([0; LANES]))
    }
}

impl fmt::Debug for SetHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SetHash({})", data_encoding::HEXLOWER.encode(&self.digest()))
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use proptest::prelude::*;

    use super::*;
    use crate::data::Codec;

    fn cid(n: u8) -> Cid {
        Cid::of(Codec::DagCbor, &[n])
    }

    #[test]
    fn has_the_digests_that_the_reference_implementation_publishes() {
        let mut state = SetHash::default();
        let empty = "e5a00aa9991ac8a5ee3109844d84a55583bd20572ad3ffcd42792f3c36b183ad";
        assert_eq!(HEXLOWER.encode(&state.digest()), empty);
        state.add_element(b"one");
        state.add_element(b"two");
        let both = "ae05cb6d224379d9710c290c8529945c5b0e0fde9ead30b9699057ce701c63e7";
        assert_eq!(HEXLOWER.encode(&state.digest()), both);
    }

    #[test]
    fn adding_twice_counts_twice() {
        let mut state = SetHash::default();
        state.add("com.example.post/a", cid(1));
        let once = state.clone();
        state.add("com.example.post/a", cid(1));
        assert!(!state.is_empty() && state != once);
        state.remove("com.example.post/a", cid(1));
        assert_eq!(state, once);
        assert!(SetHash::from_bytes(&[0; 32]).is_none());
    }

    proptest! {
        #[test]
        fn the_order_of_writes_does_not_matter(
            records in proptest::collection::vec(("[a-z]{1,6}", any::<u8>()), 0..12),
            turn in any::<prop::sample::Index>(),
            kept in proptest::collection::vec(any::<bool>(), 12),
        ) {
            let path = |name: &str| format!("com.example.post/{name}");
            let mut forwards = SetHash::default();
            records.iter().for_each(|(name, n)| forwards.add(&path(name), cid(*n)));
            let mut turned = records.clone();
            if !turned.is_empty() {
                let by = turn.index(turned.len());
                turned.rotate_left(by);
            }
            let mut otherwise = SetHash::default();
            turned.iter().for_each(|(name, n)| otherwise.add(&path(name), cid(*n)));
            prop_assert_eq!(&forwards, &otherwise);
            let read = SetHash::from_bytes(&forwards.to_bytes()).expect("the right length");
            prop_assert_eq!(&read, &forwards);

            // What is taken away leaves what would have been there without it.
            let mut rest = SetHash::default();
            for ((name, n), kept) in records.iter().zip(&kept) {
                if *kept { rest.add(&path(name), cid(*n)) } else { otherwise.remove(&path(name), cid(*n)) }
            }
            prop_assert_eq!(rest, otherwise);
        }
    }
}
