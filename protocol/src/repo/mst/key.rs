//! Keys of the tree and the layer each belongs on.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::ids::{RepoPath, is_record_key_byte};
use crate::limits::{MST_KEY_BYTES_MAX, MST_LAYERS_MAX};

/// `<collection>/<record key>`, as trees of others hold it: the two parts are checked for their characters alone, so
/// that a repository with a collection this node would not create can still be read. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MstKey(Arc<str>);

/// Why text is no key of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMstKey {
    /// Longer than [`MST_KEY_BYTES_MAX`].
    #[error("a key has at most {MST_KEY_BYTES_MAX} bytes")]
    TooLong,
    /// Not two parts with a `/` between them.
    #[error("a key reads <collection>/<record key>")]
    Form,
    /// A character outside the allowed set.
    #[error("a key holds only letters, digits and . - _ : ~ beside its one /")]
    Character,
    /// On a layer above [`MST_LAYERS_MAX`]: made by search, to make the tree tall.
    #[error("the key lies more than {MST_LAYERS_MAX} layers up")]
    TooTall,
}

impl MstKey {
    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The key and its layer. The layer costs a hash, so the two are made together.
    pub(super) fn with_layer(text: &str) -> Result<(Self, u8), InvalidMstKey> {
        if text.len() > MST_KEY_BYTES_MAX {
            return Err(InvalidMstKey::TooLong);
        }
        let (collection, rkey) = text.split_once('/').ok_or(InvalidMstKey::Form)?;
        if collection.is_empty() || rkey.is_empty() || rkey.contains('/') {
            return Err(InvalidMstKey::Form);
        }
        if !text.bytes().all(|b| is_record_key_byte(b) || b == b'/') {
            return Err(InvalidMstKey::Character);
        }
        let layer = layer(text.as_bytes());
        if layer > MST_LAYERS_MAX { Err(InvalidMstKey::TooTall) } else { Ok((Self(text.into()), layer)) }
    }

    pub(super) fn layer(&self) -> u8 {
        layer(self.as_bytes())
    }
}

/// The layer of a key: half the number of leading zero bits of its SHA-256, rounded down ("Repository", section "MST
/// Structure").
#[must_use]
pub fn layer(key: &[u8]) -> u8 {
    let digest = Sha256::digest(key);
    let zero_bytes = digest.iter().take_while(|byte| **byte == 0).count();
    let zero_bits = zero_bytes * 8 + digest.get(zero_bytes).map_or(0, |byte| byte.leading_zeros() as usize);
    u8::try_from(zero_bits / 2).unwrap_or(u8::MAX)
}

/// How many bytes two keys share at their start.
#[must_use]
pub fn common_prefix(left: &[u8], right: &[u8]) -> usize {
    left.iter().zip(right).take_while(|(left, right)| left == right).count()
}

impl FromStr for MstKey {
    type Err = InvalidMstKey;

    fn from_str(text: &str) -> Result<Self, InvalidMstKey> {
        Self::with_layer(text).map(|(key, _)| key)
    }
}

impl TryFrom<&RepoPath> for MstKey {
    type Error = InvalidMstKey;

    /// Fails for [`InvalidMstKey::TooTall`] alone.
    fn try_from(path: &RepoPath) -> Result<Self, InvalidMstKey> {
        path.to_string().parse()
    }
}

impl Borrow<str> for MstKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MstKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MstKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interop;

    #[test]
    fn follows_the_published_layers() {
        for case in interop::json("mst/key_heights.json") {
            let key = case["key"].as_str().expect("a string");
            assert_eq!(u64::from(layer(key.as_bytes())), case["height"], "{key}");
        }
        // The first character of each example is a letter for the order, the second the layer.
        for key in interop::lines("mst/example_keys.txt") {
            assert_eq!(
                u32::from(layer(key.as_bytes())),
                key.chars().nth(1).and_then(|c| c.to_digit(10)).expect("a digit")
            );
        }
    }

    #[test]
    fn follows_the_published_prefixes() {
        for case in interop::json("mst/common_prefix.json") {
            let text = |field: &str| case[field].as_str().expect("a string").as_bytes();
            assert_eq!(common_prefix(text("left"), text("right")) as u64, case["len"]);
        }
    }

    #[test]
    fn counts_pairs_of_zero_bits() {
        // Layers of the examples in the specification of the tree.
        assert_eq!(layer(b"2653ae71"), 0);
        assert_eq!(layer(b"blue"), 1);
        assert_eq!(layer(b"app.bsky.feed.post/454397e440ec"), 4);
        assert_eq!(layer(b"app.bsky.feed.post/9adeb165882c"), 8);
    }

    #[test]
    fn refuses_by_reason() {
        let error = |text: &str| text.parse::<MstKey>().expect_err("invalid");
        for text in ["", "a", "/", "a/", "/a", "a/b/c"] {
            assert_eq!(error(text), InvalidMstKey::Form, "{text}");
        }
        assert_eq!(error("a/b c"), InvalidMstKey::Character);
        assert_eq!(error("ä/b"), InvalidMstKey::Character);
        assert_eq!(error(&format!("a/{}", "b".repeat(1023))), InvalidMstKey::TooLong);
        assert!(format!("a/{}", "b".repeat(1022)).parse::<MstKey>().is_ok());
    }
}
