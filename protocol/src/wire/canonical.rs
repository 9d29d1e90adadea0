//! One canonical form: the DAG-CBOR check that every message passes before it is decoded.
//!
//! A signature covers bytes, so two encodings of one message would be two messages. [`check`] walks the bytes once,
//! allocates nothing, and refuses whatever the DAG-CBOR specification ("Strictness") and AT Protocol ("Data Model")
//! refuse: indefinite lengths, integers longer than they need be, keys out of order or repeated, keys that are no
//! text, tags other than 42, floats, bytes left over. It never builds a value; `serde` does that afterwards.

use crate::limits::CBOR_DEPTH_MAX;

/// Why bytes are not one canonical DAG-CBOR item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotCanonical {
    /// The bytes end inside an item.
    #[error("the bytes end inside an item")]
    Truncated,
    /// Bytes follow the item.
    #[error("bytes follow the message")]
    Trailing,
    /// A length or integer takes more bytes than it needs, or a length is indefinite.
    #[error("an integer or length is not in its shortest form")]
    Length,
    /// A text is not UTF-8.
    #[error("a text is not UTF-8")]
    Text,
    /// Map keys are no texts, out of order, or repeated.
    #[error("map keys are texts, sorted by length and then by bytes, without repetition")]
    Keys,
    /// A float, or a simple value other than false, true and null.
    #[error("floats and undefined values are not allowed")]
    Simple,
    /// A tag other than 42, or a tag 42 that holds no CID.
    #[error("the only tag allowed is 42, holding a CID")]
    Tag,
    /// Nested deeper than [`CBOR_DEPTH_MAX`].
    #[error("nested deeper than {CBOR_DEPTH_MAX} levels")]
    Depth,
}

/// Checks that `bytes` are exactly one canonical item.
///
/// # Errors
/// [`NotCanonical`], by the first rule broken.
pub fn check(bytes: &[u8]) -> Result<(), NotCanonical> {
    let mut reader = Reader::new(bytes);
    reader.item()?;
    reader.end()
}

/// Reads canonical items one after another, giving back the bytes of each.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// The major types of CBOR (RFC 8949, section 3.1) as far as DAG-CBOR uses them.
mod major {
    pub(super) const UNSIGNED: u8 = 0;
    pub(super) const NEGATIVE: u8 = 1;
    pub(super) const BYTES: u8 = 2;
    pub(super) const TEXT: u8 = 3;
    pub(super) const ARRAY: u8 = 4;
    pub(super) const MAP: u8 = 5;
    pub(super) const TAG: u8 = 6;
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes have been read.
    pub(super) const fn position(&self) -> usize {
        self.at
    }

    /// The bytes of the next item, checked.
    pub(super) fn item(&mut self) -> Result<&'a [u8], NotCanonical> {
        let start = self.at;
        self.walk(CBOR_DEPTH_MAX)?;
        Ok(&self.bytes[start..self.at])
    }

    /// The head of a map: how many entries follow.
    pub(super) fn map(&mut self) -> Result<u64, NotCanonical> {
        match self.head()? {
            (major::MAP, entries) => Ok(entries),
            _ => Err(NotCanonical::Keys),
        }
    }

    /// A map key.
    pub(super) fn key(&mut self) -> Result<&'a [u8], NotCanonical> {
        match self.head()? {
            (major::TEXT, length) => self.text(length),
            _ => Err(NotCanonical::Keys),
        }
    }

    pub(super) const fn end(&self) -> Result<(), NotCanonical> {
        if self.at == self.bytes.len() { Ok(()) } else { Err(NotCanonical::Trailing) }
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], NotCanonical> {
        let left = &self.bytes[self.at..];
        let length = usize::try_from(length).map_err(|_| NotCanonical::Truncated)?;
        let taken = left.get(..length).ok_or(NotCanonical::Truncated)?;
        self.at += length;
        Ok(taken)
    }

    fn text(&mut self, length: u64) -> Result<&'a [u8], NotCanonical> {
        let text = self.take(length)?;
        std::str::from_utf8(text).map_err(|_| NotCanonical::Text)?;
        Ok(text)
    }

    /// Major type and argument; the argument in its shortest form.
    fn head(&mut self) -> Result<(u8, u64), NotCanonical> {
        let first = self.take(1)?[0];
        let (major, short) = (first >> 5, first & 0x1f);
        if major == 7 {
            return if matches!(short, 20..=22) { Ok((major, u64::from(short))) } else { Err(NotCanonical::Simple) };
        }
        let width = match short {
            0..=23 => return Ok((major, u64::from(short))),
            24 => 1,
            25 => 2,
            26 => 4,
            27 => 8,
            _ => return Err(NotCanonical::Length),
        };
        let argument = self.take(width)?.iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
        let least = match width {
            1 => 24,
            2 => 1 << 8,
            4 => 1 << 16,
            _ => 1 << 32,
        };
        if argument < least { Err(NotCanonical::Length) } else { Ok((major, argument)) }
    }

    fn walk(&mut self, depth: usize) -> Result<(), NotCanonical> {
        let inner = depth.checked_sub(1).ok_or(NotCanonical::Depth)?;
        match self.head()? {
            (major::BYTES, length) => {
                self.take(length)?;
            }
            (major::TEXT, length) => {
                self.text(length)?;
            }
            (major::ARRAY, items) => {
                for _ in 0..items {
                    self.walk(inner)?;
                }
            }
            (major::MAP, entries) => {
                let mut last: Option<&[u8]> = None;
                for _ in 0..entries {
                    let key = self.key()?;
                    if last.is_some_and(|last| (last.len(), last) >= (key.len(), key)) {
                        return Err(NotCanonical::Keys);
                    }
                    last = Some(key);
                    self.walk(inner)?;
                }
            }
            (major::TAG, tag) => self.cid(tag)?,
            (major::UNSIGNED | major::NEGATIVE, _) | (_, _) => {}
        }
        Ok(())
    }

    fn cid(&mut self, tag: u64) -> Result<(), NotCanonical> {
        let (major, length) = self.head()?;
        if tag != 42 || major != major::BYTES {
            return Err(NotCanonical::Tag);
        }
        let cid = self.take(length)?.strip_prefix(&[0]).ok_or(NotCanonical::Tag)?;
        cid::Cid::try_from(cid).map_err(|_| NotCanonical::Tag)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ipld_core::ipld::Ipld;
    use proptest::prelude::*;

    use super::*;

    fn ipld() -> impl Strategy<Value = Ipld> {
        let leaf = prop_oneof![
            Just(Ipld::Null),
            any::<bool>().prop_map(Ipld::Bool),
            any::<i64>().prop_map(|int| Ipld::Integer(int.into())),
            any::<u64>().prop_map(|int| Ipld::Integer(int.into())),
            prop::collection::vec(any::<u8>(), 0..40).prop_map(Ipld::Bytes),
            ".{0,30}".prop_map(Ipld::String),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Ipld::List),
                prop::collection::btree_map(".{0,12}", inner, 0..6).prop_map(Ipld::Map),
            ]
        })
    }

    proptest! {
        /// Whatever the encoder writes passes, and whatever passes is what the encoder would have written.
        #[test]
        fn agrees_with_the_encoder(value in ipld(), flip in any::<(prop::sample::Index, u8)>()) {
            let mut bytes = serde_ipld_dagcbor::to_vec(&value).expect("a value without floats encodes");
            prop_assert_eq!(check(&bytes), Ok(()));
            let (index, bits) = flip;
            let at = index.index(bytes.len());
            bytes[at] ^= bits;
            if check(&bytes).is_ok() {
                // Integers below -2^63 have no place in the data model of `Ipld`'s integers as we decode them.
                let value: Ipld = serde_ipld_dagcbor::from_slice(&bytes).expect("canonical bytes decode");
                prop_assert_eq!(serde_ipld_dagcbor::to_vec(&value).expect("and encode"), bytes);
            }
        }

        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = check(&bytes);
        }
    }

    #[test]
    fn refuses_by_reason() {
        let cases: [(&[u8], NotCanonical); 17] = [
            (&[], NotCanonical::Truncated),
            (&[0x62, b'a'], NotCanonical::Truncated),
            (&[0x00, 0x00], NotCanonical::Trailing),
            (&[0x18, 0x17], NotCanonical::Length),
            (&[0x19, 0x00, 0xff], NotCanonical::Length),
            (&[0x1b, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff], NotCanonical::Length),
            (&[0x9f, 0xff], NotCanonical::Length),
            (&[0x61, 0xff], NotCanonical::Text),
            (&[0xa1, 0x01, 0x01], NotCanonical::Keys),
            (&[0xa2, 0x61, b'b', 0, 0x61, b'a', 0], NotCanonical::Keys),
            (&[0xa2, 0x62, b'a', b'a', 0, 0x61, b'b', 0], NotCanonical::Keys),
            (&[0xa2, 0x61, b'a', 0, 0x61, b'a', 0], NotCanonical::Keys),
            (&[0xfb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0], NotCanonical::Simple),
            (&[0xf7], NotCanonical::Simple),
            (&[0xc1, 0x00], NotCanonical::Tag),
            (&[0xd8, 0x2a, 0x41, 0x00], NotCanonical::Tag),
            (&[0x81; CBOR_DEPTH_MAX + 1], NotCanonical::Depth),
        ];
        for (bytes, reason) in cases {
            assert_eq!(check(bytes), Err(reason), "{bytes:02x?}");
        }
    }

    #[test]
    fn a_huge_length_costs_nothing() {
        assert_eq!(check(&[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), Err(NotCanonical::Truncated));
        assert_eq!(check(&[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), Err(NotCanonical::Truncated));
    }
}
