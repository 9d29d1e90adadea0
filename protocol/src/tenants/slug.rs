//! The short name of a tenant, which becomes a label of its handle.

use std::sync::Arc;

use crate::lexicon::TextCheck;
use crate::limits::TENANT_SLUG_BYTES_MAX;

/// Lower-case letters and digits with single hyphens between them, at most [`TENANT_SLUG_BYTES_MAX`] bytes: what is
/// both a slug (`co.kendev.defs#slug`) and a label of a host name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slug(Arc<str>);

/// Why a text is no short name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a tenant's short name has 1 to {TENANT_SLUG_BYTES_MAX} lower-case letters and digits, with single hyphens between"
)]
pub struct InvalidSlug;

impl Slug {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Slug {
    type Err = InvalidSlug;

    fn from_str(text: &str) -> Result<Self, InvalidSlug> {
        let fits = text.len() <= TENANT_SLUG_BYTES_MAX && TextCheck::Slug.accepts(text);
        if fits { Ok(Self(text.into())) } else { Err(InvalidSlug) }
    }
}

impl TryFrom<String> for Slug {
    type Error = InvalidSlug;

    fn try_from(text: String) -> Result<Self, InvalidSlug> {
        text.parse()
    }
}

impl serde::Serialize for Slug {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Slug {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl std::fmt::Display for Slug {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::fmt::Debug for Slug {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_name_is_a_label() {
        for text in ["a", "hays-cactus-farm", "7up", &"x".repeat(TENANT_SLUG_BYTES_MAX)] {
            assert!(text.parse::<Slug>().is_ok(), "{text}");
        }
        for text in ["", "-a", "a-", "a--b", "A", "a.b", "a_b", "ä", &"x".repeat(TENANT_SLUG_BYTES_MAX + 1)] {
            assert_eq!(text.parse::<Slug>(), Err(InvalidSlug), "{text}");
        }
    }
}
