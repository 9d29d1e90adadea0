//! Decentralised identifiers, AT Protocol "DID" specification, syntax section.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::limits::DID_BYTES_MAX;

/// A syntactically valid DID. Whether it resolves, and to which key, is another question.
///
/// Cheap to clone: the text is shared.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Did(Arc<str>);

/// Why a string is no DID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDid {
    /// Longer than [`DID_BYTES_MAX`].
    #[error("a DID has at most {DID_BYTES_MAX} bytes")]
    TooLong,
    /// Not `did:` + lower-case method + `:` + identifier.
    #[error("a DID reads did:<method>:<identifier>, the method in lower-case letters")]
    Form,
    /// A character outside the allowed set, or a `:` or `%` at the end.
    #[error("a DID holds only letters, digits and . _ : % -, and ends in none of : %")]
    Character,
}

impl Did {
    /// The whole identifier.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The method, for example `key` or `plc`.
    #[must_use]
    pub fn method(&self) -> &str {
        self.0.split(':').nth(1).unwrap_or_default()
    }

    /// What follows `did:<method>:`.
    #[must_use]
    pub fn identifier(&self) -> &str {
        self.0.splitn(3, ':').nth(2).unwrap_or_default()
    }
}

impl FromStr for Did {
    type Err = InvalidDid;

    fn from_str(text: &str) -> Result<Self, InvalidDid> {
        if text.len() > DID_BYTES_MAX {
            return Err(InvalidDid::TooLong);
        }
        let (method, identifier) =
            text.strip_prefix("did:").and_then(|rest| rest.split_once(':')).ok_or(InvalidDid::Form)?;
        if method.is_empty() || !method.bytes().all(|b| b.is_ascii_lowercase()) || identifier.is_empty() {
            return Err(InvalidDid::Form);
        }
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'%' | b'-');
        if !identifier.bytes().all(allowed) || identifier.ends_with([':', '%']) {
            return Err(InvalidDid::Character);
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for Did {
    type Error = InvalidDid;

    fn try_from(text: String) -> Result<Self, InvalidDid> {
        text.parse()
    }
}

impl From<Did> for String {
    fn from(did: Did) -> Self {
        did.0.as_ref().to_owned()
    }
}

impl AsRef<str> for Did {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Did {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Did {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_the_specification_accepts() {
        for text in ["did:plc:l3rouwludahu3ui3bt66mfvj", "did:web:localhost%3A1234", "did:method:val:two", "did:m:-.-"]
        {
            let did: Did = text.parse().expect("listed as valid");
            assert_eq!(did.as_str(), text);
        }
        let did: Did = "did:web:a.example:b".parse().expect("valid");
        assert_eq!((did.method(), did.identifier()), ("web", "a.example:b"));
    }

    #[test]
    fn refuses_by_reason() {
        assert_eq!("did:METHOD:val".parse::<Did>(), Err(InvalidDid::Form));
        assert_eq!("did:m1:val".parse::<Did>(), Err(InvalidDid::Form));
        assert_eq!("did:method:".parse::<Did>(), Err(InvalidDid::Form));
        assert_eq!("DID:method:val".parse::<Did>(), Err(InvalidDid::Form));
        assert_eq!("did:method:val/two".parse::<Did>(), Err(InvalidDid::Character));
        assert_eq!("did:method:val%".parse::<Did>(), Err(InvalidDid::Character));
        assert_eq!(format!("did:m:{}", "v".repeat(DID_BYTES_MAX)).parse::<Did>(), Err(InvalidDid::TooLong));
    }
}
