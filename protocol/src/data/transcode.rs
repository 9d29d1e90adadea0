//! From stored bytes to JSON text without a value in between, for answers that hold many records.

use data_encoding::BASE64_NOPAD;

use super::cbor::{CborError, Reader, reader::Item};
use crate::limits::DATA_DEPTH_MAX;

/// Appends the JSON form ("Data Model", section "JSON Representation") of canonical DAG-CBOR. Fields keep the order that
/// they have in the bytes.
///
/// # Errors
/// [`CborError`], by what is wrong with the bytes; `out` may then end in a part of the JSON.
pub fn write_json(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), CborError> {
    let mut reader = Reader::new(bytes);
    write(&mut reader, out, DATA_DEPTH_MAX)?;
    reader.finish()
}

/// Recursion is bounded by `depth`, the levels still allowed.
fn write(reader: &mut Reader<'_>, out: &mut Vec<u8>, depth: usize) -> Result<(), CborError> {
    let inner = || depth.checked_sub(1).ok_or(CborError::Depth);
    match reader.item()? {
        Item::Null => out.extend_from_slice(b"null"),
        Item::Bool(true) => out.extend_from_slice(b"true"),
        Item::Bool(false) => out.extend_from_slice(b"false"),
        Item::Integer(integer) => serde_json::to_writer(out, &integer).expect("an integer goes into memory"),
        Item::Text(text) => write_text(text, out),
        Item::Bytes(bytes) => {
            out.extend_from_slice(b"{\"$bytes\":\"");
            out.extend_from_slice(BASE64_NOPAD.encode(bytes).as_bytes());
            out.extend_from_slice(b"\"}");
        }
        Item::Link(cid) => {
            out.extend_from_slice(b"{\"$link\":\"");
            out.extend_from_slice(cid.text().as_bytes());
            out.extend_from_slice(b"\"}");
        }
        Item::List(count) => {
            let inner = inner()?;
            out.push(b'[');
            for index in 0..count {
                separate(index, out);
                write(reader, out, inner)?;
            }
            out.push(b']');
        }
        Item::Map(count) => {
            let inner = inner()?;
            out.push(b'{');
            let mut last = None;
            for index in 0..count {
                separate(index, out);
                write_text(reader.key(&mut last)?, out);
                out.push(b':');
                write(reader, out, inner)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

fn separate(index: usize, out: &mut Vec<u8>) {
    if index > 0 {
        out.push(b',');
    }
}

/// Appends a JSON string.
fn write_text(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("text goes into memory");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::data::{cbor, to_json};

    fn text(bytes: &[u8]) -> Result<String, CborError> {
        let mut out = Vec::new();
        write_json(bytes, &mut out)?;
        Ok(String::from_utf8(out).expect("JSON is UTF-8"))
    }

    #[test]
    fn what_is_no_value_is_refused() {
        assert_eq!(text(&[]), Err(CborError::Truncated));
        assert_eq!(text(&[0xf6, 0xf6]), Err(CborError::Trailing));
        let deep = |levels: usize| [vec![0x81; levels], vec![0]].concat();
        assert!(text(&deep(DATA_DEPTH_MAX)).is_ok());
        assert_eq!(text(&deep(DATA_DEPTH_MAX + 1)), Err(CborError::Depth));
    }

    proptest! {
        #[test]
        fn says_what_the_value_says(value in cbor::tests::any_value()) {
            let written = text(&cbor::encode(&value)).expect("canonical");
            let read: serde_json::Value = serde_json::from_str(&written).expect("JSON");
            prop_assert_eq!(read, to_json(&value));
        }
    }
}
