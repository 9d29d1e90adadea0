//! Names that operators choose: the network's id and the node's own name.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::limits::{NETWORK_ID_BYTES_MAX, NODE_NAME_BYTES_MAX};

/// Which network a node belongs to, for example `home-dev`. Messages of another network are refused.
///
/// Ids that end in `-dev` are development networks, the only ones nodes of type `development` join
/// (`network.md` 2.4).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NetworkId(Arc<str>);

/// A node's name on its network (`nodeId`, `records.md` 6.1), for example `genesis-node-001`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeName(Arc<str>);

/// Why a string is no name of either kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// Empty or longer than the bound given.
    #[error("a name has 1 to {max} bytes")]
    Length {
        /// The bound, in bytes.
        max: usize,
    },
    /// Anything but `^[a-z0-9](-?[a-z0-9])*$`.
    #[error("a name holds lower-case letters and digits, with single hyphens between them")]
    Character,
}

impl NetworkId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is a development network.
    #[must_use]
    pub fn is_development(&self) -> bool {
        self.0.ends_with("-dev")
    }
}

impl NodeName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check(text: &str, max: usize) -> Result<(), InvalidName> {
    if text.is_empty() || text.len() > max {
        return Err(InvalidName::Length { max });
    }
    let hyphens_single = !text.starts_with('-') && !text.ends_with('-') && !text.contains("--");
    if hyphens_single && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        Ok(())
    } else {
        Err(InvalidName::Character)
    }
}

macro_rules! name {
    ($type:ident, $max:expr) => {
        impl FromStr for $type {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                check(text, $max)?;
                Ok(Self(text.into()))
            }
        }

        impl TryFrom<String> for $type {
            type Error = InvalidName;

            fn try_from(text: String) -> Result<Self, InvalidName> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(NetworkId, NETWORK_ID_BYTES_MAX);
name!(NodeName, NODE_NAME_BYTES_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_pattern_of_the_record() {
        for text in ["a", "0", "genesis-node-001", "us-east-1"] {
            assert!(text.parse::<NodeName>().is_ok(), "{text}");
        }
        for text in ["-a", "a-", "a--b", "A", "a_b", "ä", "a b"] {
            assert_eq!(text.parse::<NodeName>(), Err(InvalidName::Character), "{text}");
        }
        assert_eq!("".parse::<NodeName>(), Err(InvalidName::Length { max: NODE_NAME_BYTES_MAX }));
        assert!("n".repeat(64).parse::<NodeName>().is_ok());
        assert!("n".repeat(65).parse::<NodeName>().is_err());
    }

    #[test]
    fn development_networks_are_told_by_their_suffix() {
        assert!("home-dev".parse::<NetworkId>().expect("valid").is_development());
        assert!(!"developers".parse::<NetworkId>().expect("valid").is_development());
    }
}
