//! Reads canonical DAG-CBOR item by item. Nothing is allocated: text and bytes are borrowed from the input.

use super::CborError;
use crate::data::cid::Cid;
use crate::limits::DATA_ELEMENTS_MAX;

/// One item. Of a list or map only the count; its elements follow as items of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Item<'a> {
    Null,
    Bool(bool),
    Integer(i64),
    Text(&'a str),
    Bytes(&'a [u8]),
    Link(Cid),
    List(usize),
    Map(usize),
}

/// A place within canonical bytes.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next item.
    pub(crate) fn item(&mut self) -> Result<Item<'a>, CborError> {
        let (major, argument) = self.head()?;
        Ok(match major {
            0 => Item::Integer(i64::try_from(argument).map_err(|_| CborError::IntegerRange)?),
            1 => Item::Integer(-1 - i64::try_from(argument).map_err(|_| CborError::IntegerRange)?),
            2 => Item::Bytes(self.take(argument)?),
            3 => Item::Text(std::str::from_utf8(self.take(argument)?).map_err(|_| CborError::Utf8)?),
            4 => Item::List(self.count(argument, 1)?),
            5 => Item::Map(self.count(argument, 2)?),
            6 if argument == 42 => Item::Link(self.cid()?),
            6 => return Err(CborError::Tag),
            _ => match argument {
                20 => Item::Bool(false),
                21 => Item::Bool(true),
                22 => Item::Null,
                _ => return Err(CborError::Simple),
            },
        })
    }

    /// A key of a map, greater than the `last` one of the same map.
    pub(crate) fn key(&mut self, last: &mut Option<&'a str>) -> Result<&'a str, CborError> {
        let Item::Text(key) = self.item()? else { return Err(CborError::KeyType) };
        if last.is_some_and(|last| (last.len(), last) >= (key.len(), key)) {
            return Err(CborError::KeyOrder);
        }
        *last = Some(key);
        Ok(key)
    }

    /// The next item, which must be a map of `count` fields.
    pub(crate) fn expect_map(&mut self, count: usize) -> Result<(), CborError> {
        if self.item()? == Item::Map(count) { Ok(()) } else { Err(CborError::Type) }
    }

    /// The next item, which must be the text `key`. In a structure whose fields are known, reading them in canonical
    /// order is the check of the order.
    pub(crate) fn expect_key(&mut self, key: &str) -> Result<(), CborError> {
        if self.text()? == key { Ok(()) } else { Err(CborError::Type) }
    }

    pub(crate) fn list(&mut self) -> Result<usize, CborError> {
        if let Item::List(count) = self.item()? { Ok(count) } else { Err(CborError::Type) }
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, CborError> {
        if let Item::Text(text) = self.item()? { Ok(text) } else { Err(CborError::Type) }
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], CborError> {
        if let Item::Bytes(bytes) = self.item()? { Ok(bytes) } else { Err(CborError::Type) }
    }

    pub(crate) fn integer(&mut self) -> Result<i64, CborError> {
        if let Item::Integer(integer) = self.item()? { Ok(integer) } else { Err(CborError::Type) }
    }

    pub(crate) fn link(&mut self) -> Result<Cid, CborError> {
        if let Item::Link(cid) = self.item()? { Ok(cid) } else { Err(CborError::Type) }
    }

    pub(crate) fn link_or_null(&mut self) -> Result<Option<Cid>, CborError> {
        match self.item()? {
            Item::Link(cid) => Ok(Some(cid)),
            Item::Null => Ok(None),
            _ => Err(CborError::Type),
        }
    }

    /// How many bytes have not been read.
    pub(crate) const fn left(&self) -> usize {
        self.rest.len()
    }

    /// Nothing may follow.
    pub(crate) const fn finish(&self) -> Result<(), CborError> {
        if self.rest.is_empty() { Ok(()) } else { Err(CborError::Trailing) }
    }

    /// Major type and argument (RFC 8949 section 3), the argument in its shortest form.
    fn head(&mut self) -> Result<(u8, u64), CborError> {
        let (&first, rest) = self.rest.split_first().ok_or(CborError::Truncated)?;
        self.rest = rest;
        let (major, info) = (first >> 5, first & 0x1f);
        if major == 7 {
            return match info {
                25..=27 => Err(CborError::Float),
                24 => Err(CborError::Simple),
                28..=31 => Err(CborError::Indefinite),
                _ => Ok((major, u64::from(info))),
            };
        }
        let (argument, least) = match info {
            0..=23 => return Ok((major, u64::from(info))),
            24 => (u64::from(self.array::<1>()?[0]), 24),
            25 => (u64::from(u16::from_be_bytes(self.array()?)), 1 << 8),
            26 => (u64::from(u32::from_be_bytes(self.array()?)), 1 << 16),
            27 => (u64::from_be_bytes(self.array()?), 1 << 32),
            _ => return Err(CborError::Indefinite),
        };
        if argument < least { Err(CborError::NotShortest) } else { Ok((major, argument)) }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], CborError> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>().ok_or(CborError::Truncated)?;
        self.rest = rest;
        Ok(*bytes)
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], CborError> {
        let length = usize::try_from(length).map_err(|_| CborError::Truncated)?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(CborError::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// A count of elements, of at least `bytes_each`, that the input can still hold: so a short input cannot make
    /// anybody reserve memory or loop for long.
    fn count(&self, count: u64, bytes_each: usize) -> Result<usize, CborError> {
        let count = usize::try_from(count).map_err(|_| CborError::Truncated)?;
        if count > DATA_ELEMENTS_MAX {
            return Err(CborError::Elements);
        }
        if count * bytes_each > self.rest.len() { Err(CborError::Truncated) } else { Ok(count) }
    }

    /// The bytes behind tag 42: a zero byte (multibase "identity"), then the CID.
    fn cid(&mut self) -> Result<Cid, CborError> {
        let (2, length) = self.head()? else { return Err(CborError::Link) };
        match self.take(length)? {
            [0, cid @ ..] => Cid::from_bytes(cid).map_err(|_| CborError::Link),
            _ => Err(CborError::Link),
        }
    }
}
