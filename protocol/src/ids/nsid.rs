//! Namespaced identifiers: AT Protocol "NSID" specification.

use std::sync::Arc;

use super::text::{is_dns_label, starts_with_letter, text_id};
use crate::limits::NSID_BYTES_MAX;

/// The name of a lexicon: a reversed domain and a name, for example `co.kendev.network.node`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nsid(Arc<str>);

/// Why a string is no NSID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidNsid {
    /// Longer than [`NSID_BYTES_MAX`].
    #[error("an NSID has at most {NSID_BYTES_MAX} bytes")]
    TooLong,
    /// Fewer than three segments.
    #[error("an NSID has at least three segments")]
    Segments,
    /// A segment that is no DNS label, or a first one that starts with a digit.
    #[error("each segment of an NSID has 1 to 63 letters, digits and inner hyphens; the first starts with a letter")]
    Segment,
    /// The last segment is no name.
    #[error("the last segment of an NSID is a name of 1 to 63 letters and digits that starts with a letter")]
    Name,
}

impl Nsid {
    /// The last segment.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit('.').next().unwrap_or_default()
    }

    /// The domain that governs it, in the usual order: `network.kendev.co` for `co.kendev.network.node`.
    #[must_use]
    pub fn authority(&self) -> String {
        let segments: Vec<&str> = self.0.split('.').rev().skip(1).collect();
        segments.join(".").to_ascii_lowercase()
    }
}

fn parse(text: &str) -> Result<Arc<str>, InvalidNsid> {
    if text.len() > NSID_BYTES_MAX {
        return Err(InvalidNsid::TooLong);
    }
    let (authority, name) = text.rsplit_once('.').ok_or(InvalidNsid::Segments)?;
    if !authority.contains('.') {
        return Err(InvalidNsid::Segments);
    }
    if !authority.split('.').all(is_dns_label) || !starts_with_letter(authority) {
        return Err(InvalidNsid::Segment);
    }
    let is_name = (1..=63).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric());
    if !is_name || !starts_with_letter(name) {
        return Err(InvalidNsid::Name);
    }
    Ok(text.into())
}

text_id!(Nsid, InvalidNsid, parse);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interop::assert_syntax;

    #[test]
    fn follows_the_published_vectors() {
        assert_syntax("nsid", str::parse::<Nsid>);
    }

    #[test]
    fn has_an_authority_and_a_name() {
        let nsid: Nsid = "co.kendev.network.node".parse().expect("valid");
        assert_eq!((nsid.authority().as_str(), nsid.name()), ("network.kendev.co", "node"));
    }

    #[test]
    fn refuses_by_reason() {
        let error = |text: &str| text.parse::<Nsid>().expect_err("invalid");
        assert_eq!(error("com"), InvalidNsid::Segments);
        assert_eq!(error("com.example"), InvalidNsid::Segments);
        assert_eq!(error("com..foo"), InvalidNsid::Segment);
        assert_eq!(error("1com.example.foo"), InvalidNsid::Segment);
        assert_eq!(error("com.example.3"), InvalidNsid::Name);
        assert_eq!(error("com.example.foo-bar"), InvalidNsid::Name);
        assert_eq!(error(&"a.".repeat(200)), InvalidNsid::TooLong);
    }
}
