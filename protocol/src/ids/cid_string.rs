//! CIDs as strings in records (lexicon format `cid`): syntax alone. [`Cid`](crate::data::Cid) is the stricter kind,
//! the only one that links and blocks use.

use std::sync::Arc;

use super::text::text_id;

/// A string that looks like a CID of version 1 in some base.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CidString(Arc<str>);

/// Why a string is no CID of version 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCidString {
    /// Fewer than 8 or more than 256 characters.
    #[error("a CID has 8 to 256 characters")]
    Length,
    /// A character that no multibase alphabet in use has.
    #[error("a CID holds only letters, digits, + and =")]
    Character,
    /// Version 0, which AT Protocol does not use.
    #[error("a CID of version 0 (Qm…) is not supported")]
    Version,
}

fn parse(text: &str) -> Result<Arc<str>, InvalidCidString> {
    if !(8..=256).contains(&text.len()) {
        return Err(InvalidCidString::Length);
    }
    if !text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'=')) {
        return Err(InvalidCidString::Character);
    }
    if text.starts_with("Qm") {
        return Err(InvalidCidString::Version);
    }
    Ok(text.into())
}

text_id!(CidString, InvalidCidString, parse);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interop::assert_syntax;

    #[test]
    fn follows_the_published_vectors() {
        assert_syntax("cid", str::parse::<CidString>);
    }

    #[test]
    fn refuses_by_reason() {
        let error = |text: &str| text.parse::<CidString>().expect_err("invalid");
        assert_eq!(error("bafy"), InvalidCidString::Length);
        assert_eq!(error("bafybe igdyrzt5"), InvalidCidString::Character);
        assert_eq!(error("QmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMnR"), InvalidCidString::Version);
    }
}
