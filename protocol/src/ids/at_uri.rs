//! `at://` URIs: AT Protocol "AT URI Scheme" specification, in the form that lexicons allow.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::at_identifier::{AtIdentifier, InvalidAtIdentifier};
use super::nsid::{InvalidNsid, Nsid};
use super::record_key::{InvalidRecordKey, RecordKey};
use super::repo_path::RepoPath;
use crate::limits::AT_URI_BYTES_MAX;

/// A repository, one of its collections, or one of its records. Neither query nor fragment: lexicons allow none.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AtUri {
    authority: AtIdentifier,
    collection: Option<Nsid>,
    rkey: Option<RecordKey>,
}

/// Why a string is no AT URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAtUri {
    /// Longer than [`AT_URI_BYTES_MAX`].
    #[error("an AT URI has at most {AT_URI_BYTES_MAX} bytes")]
    TooLong,
    /// No `at://` in front.
    #[error("an AT URI starts with at://")]
    Scheme,
    /// The authority is neither DID nor handle.
    #[error("the authority of an AT URI is a DID or a handle: {0}")]
    Authority(#[from] InvalidAtIdentifier),
    /// The collection is no NSID.
    #[error("the collection of an AT URI is an NSID: {0}")]
    Collection(#[from] InvalidNsid),
    /// The record key is none.
    #[error("the last part of an AT URI is a record key: {0}")]
    RecordKey(#[from] InvalidRecordKey),
}

impl AtUri {
    /// The URI of a record.
    #[must_use]
    pub fn record(authority: impl Into<AtIdentifier>, path: RepoPath) -> Self {
        Self { authority: authority.into(), collection: Some(path.collection), rkey: Some(path.rkey) }
    }

    /// Whose repository.
    #[must_use]
    pub const fn authority(&self) -> &AtIdentifier {
        &self.authority
    }

    /// The collection, if it names one.
    #[must_use]
    pub const fn collection(&self) -> Option<&Nsid> {
        self.collection.as_ref()
    }

    /// The record key, if it names a record.
    #[must_use]
    pub const fn rkey(&self) -> Option<&RecordKey> {
        self.rkey.as_ref()
    }

    /// The path within the repository, if it names a record.
    #[must_use]
    pub fn path(&self) -> Option<RepoPath> {
        Some(RepoPath::new(self.collection.clone()?, self.rkey.clone()?))
    }
}

impl FromStr for AtUri {
    type Err = InvalidAtUri;

    fn from_str(text: &str) -> Result<Self, InvalidAtUri> {
        if text.len() > AT_URI_BYTES_MAX {
            return Err(InvalidAtUri::TooLong);
        }
        let mut parts = text.strip_prefix("at://").ok_or(InvalidAtUri::Scheme)?.splitn(3, '/');
        let authority = parts.next().unwrap_or_default().parse()?;
        let collection = parts.next().map(str::parse).transpose()?;
        // Whatever follows a third slash is part of the key here, and refused there.
        let rkey = parts.next().map(str::parse).transpose()?;
        Ok(Self { authority, collection, rkey })
    }
}

impl TryFrom<String> for AtUri {
    type Error = InvalidAtUri;

    fn try_from(text: String) -> Result<Self, InvalidAtUri> {
        text.parse()
    }
}

impl From<AtUri> for String {
    fn from(uri: AtUri) -> Self {
        uri.to_string()
    }
}

impl fmt::Display for AtUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at://{}", self.authority)?;
        if let Some(collection) = &self.collection {
            write!(f, "/{collection}")?;
        }
        if let Some(rkey) = &self.rkey {
            write!(f, "/{rkey}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for AtUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::interop::assert_syntax;

    #[test]
    fn follows_the_published_vectors() {
        assert_syntax("aturi", str::parse::<AtUri>);
    }

    #[test]
    fn has_up_to_three_parts() {
        let uri: AtUri = "at://did:plc:asdf123/com.example.post/self".parse().expect("valid");
        assert_eq!(uri.path(), Some("com.example.post/self".parse().expect("valid")));
        assert_eq!(uri.to_string(), "at://did:plc:asdf123/com.example.post/self");
        let uri: AtUri = "at://Alice.Example".parse().expect("valid");
        assert_eq!((uri.to_string().as_str(), uri.path()), ("at://alice.example", None));
    }

    #[test]
    fn refuses_by_reason() {
        let error = |text: &str| text.parse::<AtUri>().expect_err("invalid");
        assert_eq!(error("AT://did:plc:asdf123"), InvalidAtUri::Scheme);
        assert!(matches!(error("at://did:plc:asdf123#"), InvalidAtUri::Authority(_)));
        assert!(matches!(error("at://did:plc:asdf123/"), InvalidAtUri::Collection(_)));
        assert!(matches!(error("at://did:plc:asdf123/a.b.c/"), InvalidAtUri::RecordKey(_)));
        assert!(matches!(error("at://did:plc:asdf123/a.b.c/d/e"), InvalidAtUri::RecordKey(_)));
        assert_eq!(error(&format!("at://{}", "o".repeat(8200))), InvalidAtUri::TooLong);
    }

    proptest! {
        #[test]
        fn whatever_parses_prints_and_parses_again(text in "(at://)?[a-z:./#?%~ -]{0,40}|\\PC{0,60}") {
            if let Ok(uri) = text.parse::<AtUri>() {
                prop_assert_eq!(uri.to_string().parse(), Ok(uri));
            }
        }
    }
}
