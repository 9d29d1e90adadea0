//! Names of spaces, and of records in them (proposal 0016, "Addressing").

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::ids::{Did, InvalidDid, InvalidNsid, InvalidRecordKey, InvalidRepoPath, Nsid, RecordKey, RepoPath};
use crate::limits::SPACE_URI_BYTES_MAX;

/// What stands where a public URI has a collection. It has no dot, so it is no NSID.
const MARKER: &str = "space";

/// A space: `at://{authority}/space/{type}/{key}`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SpaceUri {
    /// Who decides about it, and signs its credentials.
    pub authority: Did,
    /// What kind of space it is.
    pub space_type: Nsid,
    /// Which one of its kind.
    pub key: RecordKey,
}

/// A record in a space: the URI of the space, then `/{author}/{collection}/{record key}`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SpaceRecordUri {
    /// The space.
    pub space: SpaceUri,
    /// Whose repository in it.
    pub author: Did,
    /// Where in that repository.
    pub path: RepoPath,
}

/// Why a string names no space, or no record in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSpaceUri {
    /// Longer than [`SPACE_URI_BYTES_MAX`].
    #[error("the URI of a space has at most {SPACE_URI_BYTES_MAX} bytes")]
    TooLong,
    /// Other parts than a space, or a record in one, has.
    #[error("a space is written at://<DID>/space/<type>/<key>, a record in it with /<DID>/<collection>/<key> behind")]
    Form,
    /// The authority or the author is no DID.
    #[error(transparent)]
    Did(#[from] InvalidDid),
    /// The type is no NSID.
    #[error("the type of a space is an NSID: {0}")]
    Type(#[from] InvalidNsid),
    /// The key has another form than a record key.
    #[error("the key of a space is of the form of a record key: {0}")]
    Key(#[from] InvalidRecordKey),
    /// What follows the author is no path of a record.
    #[error(transparent)]
    Path(#[from] InvalidRepoPath),
}

impl SpaceUri {
    /// A record of `author` in this space.
    #[must_use]
    pub fn record(&self, author: Did, path: RepoPath) -> SpaceRecordUri {
        SpaceRecordUri { space: self.clone(), author, path }
    }

    /// SHA-256 of the URI: a name of one length, for keys of tables and places in maps.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.to_string().as_bytes()).into()
    }
}

fn parts(text: &str) -> Result<Vec<&str>, InvalidSpaceUri> {
    if text.len() > SPACE_URI_BYTES_MAX {
        return Err(InvalidSpaceUri::TooLong);
    }
    Ok(text.strip_prefix("at://").ok_or(InvalidSpaceUri::Form)?.split('/').collect())
}

impl FromStr for SpaceUri {
    type Err = InvalidSpaceUri;

    fn from_str(text: &str) -> Result<Self, InvalidSpaceUri> {
        let [authority, MARKER, space_type, key] = parts(text)?[..] else { return Err(InvalidSpaceUri::Form) };
        Ok(Self { authority: authority.parse()?, space_type: space_type.parse()?, key: key.parse()? })
    }
}

impl FromStr for SpaceRecordUri {
    type Err = InvalidSpaceUri;

    fn from_str(text: &str) -> Result<Self, InvalidSpaceUri> {
        let [authority, MARKER, space_type, key, author, collection, rkey] = parts(text)?[..] else {
            return Err(InvalidSpaceUri::Form);
        };
        Ok(Self {
            space: SpaceUri { authority: authority.parse()?, space_type: space_type.parse()?, key: key.parse()? },
            author: author.parse()?,
            path: format!("{collection}/{rkey}").parse()?,
        })
    }
}

impl fmt::Display for SpaceUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at://{}/{MARKER}/{}/{}", self.authority, self.space_type, self.key)
    }
}

impl fmt::Display for SpaceRecordUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.space, self.author, self.path)
    }
}

macro_rules! text {
    ($($type:ty),*) => {$(
        impl TryFrom<String> for $type {
            type Error = InvalidSpaceUri;

            fn try_from(text: String) -> Result<Self, InvalidSpaceUri> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(uri: $type) -> Self {
                uri.to_string()
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    )*};
}

text!(SpaceUri, SpaceRecordUri);

#[cfg(test)]
mod tests {
    use super::*;

    const SPACE: &str = "at://did:plc:yk4dd2qkboz2yv6tpubpc6co/space/com.example.forum/self";

    #[test]
    fn a_space_and_a_record_in_it_are_told_apart() {
        let space: SpaceUri = SPACE.parse().expect("a space");
        assert_eq!(space.to_string(), SPACE);
        let text = format!("{SPACE}/did:web:bob.example/com.example.post/3jzfcijpj2z2a");
        let record: SpaceRecordUri = text.parse().expect("a record");
        assert_eq!(record.to_string(), text);
        assert_eq!(space.record(record.author.clone(), record.path.clone()), record);
        assert_eq!(text.parse::<SpaceUri>(), Err(InvalidSpaceUri::Form));
        assert_eq!(SPACE.parse::<SpaceRecordUri>(), Err(InvalidSpaceUri::Form));
    }

    #[test]
    fn whatever_is_not_one_is_refused_by_reason() {
        let error = |text: &str| text.parse::<SpaceUri>().expect_err("no space");
        assert_eq!(error("at://did:plc:abc/com.example.forum/self"), InvalidSpaceUri::Form);
        assert_eq!(error("at://did:plc:abc/space/com.example.forum"), InvalidSpaceUri::Form);
        assert_eq!(error("at://did:plc:abc/space/com.example.forum/self/"), InvalidSpaceUri::Form);
        assert_eq!(error("ats://did:plc:abc/space/com.example.forum/self"), InvalidSpaceUri::Form);
        assert!(matches!(error("at://alice.example/space/com.example.forum/self"), InvalidSpaceUri::Did(_)));
        assert!(matches!(error("at://did:plc:abc/space/forum/self"), InvalidSpaceUri::Type(_)));
        assert!(matches!(error("at://did:plc:abc/space/com.example.forum/.."), InvalidSpaceUri::Key(_)));
        assert_eq!(error(&format!("at://did:plc:{}", "a".repeat(9000))), InvalidSpaceUri::TooLong);
    }

    #[test]
    fn a_space_has_a_digest_of_its_own() {
        let space: SpaceUri = SPACE.parse().expect("a space");
        let other: SpaceUri = SPACE.replace("self", "other").parse().expect("a space");
        assert_ne!(space.digest(), other.digest());
        assert_eq!(space.digest(), SPACE.parse::<SpaceUri>().expect("a space").digest());
    }
}
