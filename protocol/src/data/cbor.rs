//! Canonical DAG-CBOR: one value, one sequence of bytes (IPLD "DAG-CBOR", AT Protocol "Data Model").
//!
//! Decoding refuses whatever encoding would not have written: long integers, unsorted or repeated keys, indefinite
//! lengths, tags other than 42, floats. So accepted bytes encode to themselves, and a CID names one meaning.

pub(crate) mod reader;
mod writer;

pub(crate) use reader::Reader;
pub(crate) use writer::Writer;

use super::value::{Map, Value};
use crate::limits::{BLOCK_BYTES_MAX, DATA_DEPTH_MAX};

/// Why bytes are no canonical DAG-CBOR of the data model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CborError {
    /// Longer than [`BLOCK_BYTES_MAX`].
    #[error("a block has at most {BLOCK_BYTES_MAX} bytes")]
    TooLong,
    /// The bytes end before the value does.
    #[error("the bytes end before the value does")]
    Truncated,
    /// Bytes after the value.
    #[error("bytes follow the value")]
    Trailing,
    /// A number or a length in more bytes than it needs.
    #[error("a number is written in more bytes than it needs")]
    NotShortest,
    /// An indefinite length, or a reserved form.
    #[error("a length is indefinite or of a reserved form")]
    Indefinite,
    /// A float.
    #[error("the value holds a float, which the data model does not have")]
    Float,
    /// A simple value other than false, true and null.
    #[error("the value holds a simple value other than false, true and null")]
    Simple,
    /// An integer beyond 64 bits with sign.
    #[error("an integer does not fit into 64 bits with a sign")]
    IntegerRange,
    /// Text that is not UTF-8.
    #[error("text is not UTF-8")]
    Utf8,
    /// A map key that is not text.
    #[error("a map key is not text")]
    KeyType,
    /// Map keys that are not sorted by length and then bytes, or repeat.
    #[error("map keys are not sorted by length and bytes, or repeat")]
    KeyOrder,
    /// A tag other than 42.
    #[error("the value holds a tag other than 42")]
    Tag,
    /// A link that is no CID of the kind in use.
    #[error("the value holds a link that is no CID of version 1, dag-cbor or raw, SHA-256")]
    Link,
    /// Nested deeper than [`DATA_DEPTH_MAX`].
    #[error("the value is nested deeper than {DATA_DEPTH_MAX}")]
    Depth,
    /// More elements in one list or map than [`DATA_ELEMENTS_MAX`](crate::limits::DATA_ELEMENTS_MAX).
    #[error("a list or map has too many elements")]
    Elements,
    /// Another type than the structure has at this place.
    #[error("the value is not of the type expected here")]
    Type,
}

/// The canonical bytes of `value`.
#[must_use]
pub fn encode(value: &Value) -> Vec<u8> {
    let mut writer = Writer::default();
    write(&mut writer, value);
    writer.into_bytes()
}

/// How many bytes [`encode`] makes of `value`, without making them.
#[must_use]
pub fn length(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 1,
        Value::Integer(integer) => head(if *integer < 0 { integer.unsigned_abs() - 1 } else { integer.unsigned_abs() }),
        Value::String(text) => text_length(text),
        Value::Bytes(bytes) => head(bytes.len() as u64) + bytes.len(),
        // A tag, and a byte string with a zero before the CID.
        Value::Link(_) => 2 + head(super::Cid::BYTES as u64 + 1) + 1 + super::Cid::BYTES,
        Value::List(items) => head(items.len() as u64) + items.iter().map(length).sum::<usize>(),
        Value::Map(map) => {
            let fields = map.iter().map(|(key, item)| text_length(key) + length(item));
            head(map.len() as u64) + fields.sum::<usize>()
        }
    }
}

const fn text_length(text: &str) -> usize {
    head(text.len() as u64) + text.len()
}

/// How many bytes a number takes, or the head of something of that length.
const fn head(number: u64) -> usize {
    match number {
        0..=23 => 1,
        24..=0xff => 2,
        0x100..=0xffff => 3,
        0x1_0000..=0xffff_ffff => 5,
        _ => 9,
    }
}

fn write(writer: &mut Writer, value: &Value) {
    match value {
        Value::Null => writer.null(),
        Value::Bool(bool) => writer.bool(*bool),
        Value::Integer(integer) => writer.integer(*integer),
        Value::String(text) => writer.text(text),
        Value::Bytes(bytes) => writer.bytes(bytes),
        Value::Link(cid) => writer.link(*cid),
        Value::List(items) => {
            writer.list(items.len());
            items.iter().for_each(|item| write(writer, item));
        }
        Value::Map(map) => {
            writer.map(map.len());
            let mut fields: Vec<_> = map.iter().collect();
            // The map is sorted by bytes already, and this sort keeps that order within one length.
            fields.sort_by_key(|(key, _)| key.len());
            for (key, item) in fields {
                writer.text(key);
                write(writer, item);
            }
        }
    }
}

/// Reads canonical bytes.
///
/// # Errors
/// [`CborError`], by what is wrong.
pub fn decode(bytes: &[u8]) -> Result<Value, CborError> {
    if bytes.len() > BLOCK_BYTES_MAX {
        return Err(CborError::TooLong);
    }
    let mut reader = Reader::new(bytes);
    let value = read(&mut reader, DATA_DEPTH_MAX)?;
    reader.finish()?;
    Ok(value)
}

/// Reads the first of several values, and says what follows it. Bounding the bytes is the caller's part.
///
/// # Errors
/// [`CborError`], by what is wrong.
pub(crate) fn decode_first(bytes: &[u8]) -> Result<(Value, &[u8]), CborError> {
    let mut reader = Reader::new(bytes);
    let value = read(&mut reader, DATA_DEPTH_MAX)?;
    Ok((value, &bytes[bytes.len() - reader.left()..]))
}

/// What can be said of a value without keeping any of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outline {
    /// Whether it is a map, as records are.
    pub is_map: bool,
    /// Whether some map in it may be a blob: whoever wants to know which decodes it.
    pub may_name_blobs: bool,
}

/// Checks canonical bytes as [`decode`] does, many times faster, for values that are only stored.
///
/// # Errors
/// [`CborError`], the same as [`decode`].
pub fn outline(bytes: &[u8]) -> Result<Outline, CborError> {
    if bytes.len() > BLOCK_BYTES_MAX {
        return Err(CborError::TooLong);
    }
    let mut reader = Reader::new(bytes);
    let mut outline = Outline { is_map: bytes.first().is_some_and(|first| first >> 5 == 5), may_name_blobs: false };
    skim(&mut reader, DATA_DEPTH_MAX, &mut outline)?;
    reader.finish()?;
    Ok(outline)
}

/// Recursion is bounded by `depth`, the levels still allowed.
fn skim(reader: &mut Reader<'_>, depth: usize, outline: &mut Outline) -> Result<(), CborError> {
    use reader::Item;
    let inner = || depth.checked_sub(1).ok_or(CborError::Depth);
    match reader.item()? {
        Item::List(count) => {
            let inner = inner()?;
            (0..count).try_for_each(|_| skim(reader, inner, outline))
        }
        Item::Map(count) => {
            let inner = inner()?;
            let mut last = None;
            (0..count).try_for_each(|_| {
                // Every blob has this field, in the form of today and in the older one.
                outline.may_name_blobs |= reader.key(&mut last)? == "mimeType";
                skim(reader, inner, outline)
            })
        }
        _ => Ok(()),
    }
}

/// Recursion is bounded by `depth`, the levels still allowed.
fn read(reader: &mut Reader<'_>, depth: usize) -> Result<Value, CborError> {
    use reader::Item;
    let inner = || depth.checked_sub(1).ok_or(CborError::Depth);
    Ok(match reader.item()? {
        Item::Null => Value::Null,
        Item::Bool(bool) => Value::Bool(bool),
        Item::Integer(integer) => Value::Integer(integer),
        Item::Text(text) => Value::String(text.to_owned()),
        Item::Bytes(bytes) => Value::Bytes(bytes.to_owned()),
        Item::Link(cid) => Value::Link(cid),
        Item::List(count) => {
            let inner = inner()?;
            let mut items = Vec::new();
            for _ in 0..count {
                items.push(read(reader, inner)?);
            }
            Value::List(items)
        }
        Item::Map(count) => {
            let inner = inner()?;
            let mut map = Map::new();
            let mut last = None;
            for _ in 0..count {
                let key = reader.key(&mut last)?.to_owned();
                map.insert(key, read(reader, inner)?);
            }
            Value::Map(map)
        }
    })
}

#[cfg(test)]
pub(crate) mod tests;
