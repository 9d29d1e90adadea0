//! Record keys: AT Protocol "Record Key" specification.

use std::sync::Arc;

use super::text::text_id;
use super::tid::Tid;
use crate::limits::RECORD_KEY_BYTES_MAX;

/// The name of a record within its collection.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKey(Arc<str>);

/// Why a string is no record key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRecordKey {
    /// Empty or longer than [`RECORD_KEY_BYTES_MAX`].
    #[error("Invalid record key: it has 1 to {RECORD_KEY_BYTES_MAX} bytes")]
    Length,
    /// A character outside the allowed set.
    #[error("Invalid record key: it holds only letters, digits and . - _ : ~")]
    Character,
    /// `.` or `..`.
    #[error("Invalid record key: it is neither . nor ..")]
    Dots,
}

/// Whether `byte` may stand in a record key.
pub(crate) const fn is_record_key_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'~')
}

fn parse(text: &str) -> Result<Arc<str>, InvalidRecordKey> {
    if text.is_empty() || text.len() > RECORD_KEY_BYTES_MAX {
        return Err(InvalidRecordKey::Length);
    }
    if !text.bytes().all(is_record_key_byte) {
        return Err(InvalidRecordKey::Character);
    }
    if matches!(text, "." | "..") {
        return Err(InvalidRecordKey::Dots);
    }
    Ok(text.into())
}

text_id!(RecordKey, InvalidRecordKey, parse);

/// The usual key of a new record is the time it was made.
impl From<Tid> for RecordKey {
    fn from(tid: Tid) -> Self {
        Self(tid.to_string().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interop::assert_syntax;

    #[test]
    fn follows_the_published_vectors() {
        assert_syntax("recordkey", str::parse::<RecordKey>);
    }

    #[test]
    fn refuses_by_reason() {
        let error = |text: &str| text.parse::<RecordKey>().expect_err("invalid");
        assert_eq!(error(""), InvalidRecordKey::Length);
        assert_eq!(error(&"o".repeat(513)), InvalidRecordKey::Length);
        assert!("o".repeat(512).parse::<RecordKey>().is_ok());
        assert_eq!(error("a/b"), InvalidRecordKey::Character);
        assert_eq!(error(".."), InvalidRecordKey::Dots);
        assert!("...".parse::<RecordKey>().is_ok());
    }
}
