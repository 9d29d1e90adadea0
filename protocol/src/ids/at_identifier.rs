//! Who is meant: a DID or a handle.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::did::{Did, InvalidDid};
use super::handle::{Handle, InvalidHandle};

/// A DID or a handle, as in the parameter `repo` of most methods (lexicon format `at-identifier`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum AtIdentifier {
    /// A DID.
    Did(Did),
    /// A handle, still to be resolved.
    Handle(Handle),
}

/// Why a string is neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAtIdentifier {
    /// It starts as a DID and is none.
    #[error(transparent)]
    Did(#[from] InvalidDid),
    /// It is no handle either.
    #[error(transparent)]
    Handle(#[from] InvalidHandle),
}

impl FromStr for AtIdentifier {
    type Err = InvalidAtIdentifier;

    fn from_str(text: &str) -> Result<Self, InvalidAtIdentifier> {
        if text.starts_with("did:") { Ok(Self::Did(text.parse()?)) } else { Ok(Self::Handle(text.parse()?)) }
    }
}

impl TryFrom<String> for AtIdentifier {
    type Error = InvalidAtIdentifier;

    fn try_from(text: String) -> Result<Self, InvalidAtIdentifier> {
        text.parse()
    }
}

impl From<AtIdentifier> for String {
    fn from(id: AtIdentifier) -> Self {
        id.to_string()
    }
}

impl From<Did> for AtIdentifier {
    fn from(did: Did) -> Self {
        Self::Did(did)
    }
}

impl From<Handle> for AtIdentifier {
    fn from(handle: Handle) -> Self {
        Self::Handle(handle)
    }
}

impl fmt::Display for AtIdentifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Did(did) => did.fmt(f),
            Self::Handle(handle) => handle.fmt(f),
        }
    }
}

impl fmt::Debug for AtIdentifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interop::assert_syntax;

    #[test]
    fn follows_the_published_vectors() {
        assert_syntax("atidentifier", str::parse::<AtIdentifier>);
        assert_syntax("did", str::parse::<Did>);
    }

    #[test]
    fn a_broken_did_is_no_handle() {
        assert_eq!("did:thing".parse::<AtIdentifier>(), Err(InvalidAtIdentifier::Did(InvalidDid::Form)));
        assert_eq!("org".parse::<AtIdentifier>(), Err(InvalidAtIdentifier::Handle(InvalidHandle::OneLabel)));
        assert_eq!("a.b".parse(), Ok(AtIdentifier::Handle("a.b".parse().expect("valid"))));
    }
}
