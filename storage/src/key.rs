//! Keys as bytes whose order is the order of the values: what makes ranges and pages mean something.
//!
//! Integers are big-endian, signed ones with the sign bit flipped. Texts and byte strings end in `00 01`, with every
//! `00` inside written `00 FF`, so that they can stand anywhere in a tuple. Tuples are their parts one after another.

use angel_protocol::ids::Did;
use serde::{Deserialize, Serialize};

/// A value that can be a key, or a part of one.
///
/// `decode(encode(x)) == x`, and `encode` keeps the order of `Ord`.
pub trait Key: Sized {
    /// Appends the encoding.
    fn encode(&self, out: &mut Vec<u8>);

    /// Takes the value from the front of `bytes`.
    ///
    /// # Errors
    ///
    /// The bytes are not what [`Key::encode`] writes.
    fn decode(bytes: &mut &[u8]) -> Result<Self, InvalidKey>;
}

/// Says that an encoded `Self` is a prefix of those encoded keys `K` that begin with the same parts.
pub trait PrefixOf<K>: Key {}

/// Bytes that are no key of the expected type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are no key of this table")]
pub struct InvalidKey;

/// The number by which this node knows an account that it hosts. Local to the store: it never leaves the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AccountId(pub u64);

impl Key for AccountId {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }

    fn decode(bytes: &mut &[u8]) -> Result<Self, InvalidKey> {
        u64::decode(bytes).map(Self)
    }
}

/// The key of a table with a single row.
impl Key for () {
    fn encode(&self, _out: &mut Vec<u8>) {}

    fn decode(_bytes: &mut &[u8]) -> Result<Self, InvalidKey> {
        Ok(())
    }
}

impl Key for bool {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn decode(bytes: &mut &[u8]) -> Result<Self, InvalidKey> {
        match u8::decode(bytes)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(InvalidKey),
        }
    }
}

macro_rules! unsigned {
    ($($type:ty),*) => {$(
        impl Key for $type {
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_be_bytes());
            }

            fn decode(bytes: &mut &[u8]) -> Result<Self, InvalidKey> {
                <[u8; size_of::<$type>()]>::decode(bytes).map(<$type>::from_be_bytes)
            }
        }
    )*};
}

unsigned!(u8, u16, u32, u64, u128);

impl Key for i64 {
    fn encode(&self, out: &mut Vec<u8>) {
        (self.cast_unsigned() ^ (1 << 63)).encode(out);
    }

    fn decode(bytes: &mut &[u8]) -> Result<Self, InvalidKey> {
        Ok((u64::decode(bytes)? ^ (1 << 63)).cast_signed())
    }
}

impl<const N: usize> Key for [u8; N] {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }

    fn decode(bytes: &mut &[u8]) -> Result<Self, InvalidKey> {
        let (head, tail) = bytes.split_first_chunk::<N>().ok_or(InvalidKey)?;
        *bytes = tail;
        Ok(*head)
    }
}

const ESCAPED_ZERO: u8 = 0xFF;
const TERMINATOR: u8 = 0x01;

impl Key for Vec<u8> {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_bytes(self, out);
    }

    fn decode(bytes: &mut &[u8]) -> Result<Self, InvalidKey> {
        let mut decoded = Self::new();
        loop {
            let zero = bytes.iter().position(|byte| *byte == 0).ok_or(InvalidKey)?;
            decoded.extend_from_slice(&bytes[..zero]);
            let after = *bytes.get(zero + 1).ok_or(InvalidKey)?;
            *bytes = &bytes[zero + 2..];
            match after {
                TERMINATOR => return Ok(decoded),
                ESCAPED_ZERO => decoded.push(0),
                _ => return Err(InvalidKey),
            }
        }
    }
}

fn encode_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    let mut pieces = bytes.split(|byte| *byte == 0);
    out.extend_from_slice(pieces.next().unwrap_or_default());
    for piece in pieces {
        out.extend_from_slice(&[0, ESCAPED_ZERO]);
        out.extend_from_slice(piece);
    }
    out.extend_from_slice(&[0, TERMINATOR]);
}

impl Key for String {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_bytes(self.as_bytes(), out);
    }

    fn decode(bytes: &mut &[u8]) -> Result<Self, InvalidKey> {
        Self::from_utf8(Vec::decode(bytes)?).map_err(|_| InvalidKey)
    }
}

impl Key for Did {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_bytes(self.as_str().as_bytes(), out);
    }

    fn decode(bytes: &mut &[u8]) -> Result<Self, InvalidKey> {
        String::decode(bytes)?.try_into().map_err(|_| InvalidKey)
    }
}

macro_rules! tuple {
    ($($name:ident),+) => {
        impl<$($name: Key),+> Key for ($($name,)+) {
            #[expect(non_snake_case, reason = "the parts are named after their types")]
            fn encode(&self, out: &mut Vec<u8>) {
                let ($($name,)+) = self;
                $($name.encode(out);)+
            }

            fn decode(bytes: &mut &[u8]) -> Result<Self, InvalidKey> {
                Ok(($($name::decode(bytes)?,)+))
            }
        }
    };
}

tuple!(A, B);
tuple!(A, B, C);
tuple!(A, B, C, D);

impl<A: Key, B: Key> PrefixOf<(A, B)> for A {}
impl<A: Key, B: Key, C: Key> PrefixOf<(A, B, C)> for A {}
// The rows of a chunked table have the chunk's number behind the key.
impl<A: Key, B: Key, C: Key, D: Key> PrefixOf<((A, B, C), D)> for A {}
impl<A: Key, B: Key, C: Key> PrefixOf<(A, B, C)> for (A, B) {}
impl<A: Key, B: Key, C: Key, D: Key> PrefixOf<(A, B, C, D)> for A {}
impl<A: Key, B: Key, C: Key, D: Key> PrefixOf<(A, B, C, D)> for (A, B) {}
impl<A: Key, B: Key, C: Key, D: Key> PrefixOf<(A, B, C, D)> for (A, B, C) {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded<K: Key>(key: &K) -> Vec<u8> {
        let mut out = Vec::new();
        key.encode(&mut out);
        out
    }

    fn check_pair<K: Key + Ord + std::fmt::Debug>(a: &K, b: &K) {
        let (encoded_a, encoded_b) = (encoded(a), encoded(b));
        assert_eq!(a.cmp(b), encoded_a.cmp(&encoded_b), "{a:?} {b:?}");
        let mut rest = encoded_a.as_slice();
        assert_eq!(&K::decode(&mut rest).expect("own encoding"), a);
        assert!(rest.is_empty());
    }

    proptest! {
        #[test]
        fn order_and_value_survive_encoding(
            a in (any::<u64>(), any::<i64>(), proptest::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(255), any::<u8>()], 0..6), any::<u16>()),
            b in (any::<u64>(), any::<i64>(), proptest::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(255), any::<u8>()], 0..6), any::<u16>()),
        ) {
            check_pair(&a, &b);
            // The parts where a mistake hides: equal heads, one string the prefix of the other.
            check_pair(&(a.2.clone(), a.3), &(b.2.clone(), b.3));
            check_pair(&(a.2.clone(), a.3), &([a.2.clone(), b.2.clone()].concat(), b.3));
            check_pair(&a.1, &b.1);
        }

        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = <(u64, String, Vec<u8>)>::decode(&mut bytes.as_slice());
            let _ = <(Did, bool)>::decode(&mut bytes.as_slice());
        }
    }

    #[test]
    fn a_prefix_is_a_prefix() {
        let key = encoded(&(7_u64, "app.bsky.feed.post".to_owned(), "3k".to_owned()));
        assert!(key.starts_with(&encoded(&(7_u64, "app.bsky.feed.post".to_owned()))));
        assert!(
            !key.starts_with(&encoded(&(7_u64, "app.bsky.feed".to_owned()))),
            "a text is no prefix of a longer one"
        );
    }
}
