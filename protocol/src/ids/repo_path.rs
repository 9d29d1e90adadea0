//! Where a record lies within its repository.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::nsid::{InvalidNsid, Nsid};
use super::record_key::{InvalidRecordKey, RecordKey};

/// `<collection>/<record key>`, the key of the repository's tree.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepoPath {
    /// The collection, which is also the record's type.
    pub collection: Nsid,
    /// The record's name within it.
    pub rkey: RecordKey,
}

/// Why a string is no path of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRepoPath {
    /// Not two parts with a `/` between them.
    #[error("a record's path reads <collection>/<record key>")]
    Form,
    /// The first part is no NSID.
    #[error(transparent)]
    Collection(#[from] InvalidNsid),
    /// The second part is no record key.
    #[error(transparent)]
    RecordKey(#[from] InvalidRecordKey),
}

impl RepoPath {
    /// From its parts.
    #[must_use]
    pub const fn new(collection: Nsid, rkey: RecordKey) -> Self {
        Self { collection, rkey }
    }
}

impl FromStr for RepoPath {
    type Err = InvalidRepoPath;

    fn from_str(text: &str) -> Result<Self, InvalidRepoPath> {
        let (collection, rkey) = text.split_once('/').ok_or(InvalidRepoPath::Form)?;
        Ok(Self { collection: collection.parse()?, rkey: rkey.parse()? })
    }
}

impl TryFrom<String> for RepoPath {
    type Error = InvalidRepoPath;

    fn try_from(text: String) -> Result<Self, InvalidRepoPath> {
        text.parse()
    }
}

impl From<RepoPath> for String {
    fn from(path: RepoPath) -> Self {
        path.to_string()
    }
}

impl fmt::Display for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.collection, self.rkey)
    }
}

impl fmt::Debug for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_two_parts_of_their_own_kinds() {
        let path: RepoPath = "com.example.post/self".parse().expect("valid");
        assert_eq!((path.collection.as_str(), path.rkey.as_str()), ("com.example.post", "self"));
        assert_eq!(path.to_string(), "com.example.post/self");
        let error = |text: &str| text.parse::<RepoPath>().expect_err("invalid");
        assert_eq!(error("com.example.post"), InvalidRepoPath::Form);
        assert_eq!(error("example/self"), InvalidRepoPath::Collection(InvalidNsid::Segments));
        assert_eq!(error("com.example.post/a/b"), InvalidRepoPath::RecordKey(InvalidRecordKey::Character));
    }
}
