//! URIs of any scheme in records (lexicon format `uri`): syntax alone.

use std::sync::Arc;

use super::text::{starts_with_letter, text_id};
use crate::limits::URI_BYTES_MAX;

/// A URI (RFC 3986) of any scheme, for example `https://example.com/` or a DID.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uri(Arc<str>);

/// Why a string is no URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUri {
    /// Longer than [`URI_BYTES_MAX`].
    #[error("a URI has at most {URI_BYTES_MAX} bytes")]
    TooLong,
    /// No scheme in front.
    #[error("a URI starts with a scheme: a letter, then letters, digits, + - . and a colon")]
    Scheme,
    /// Nothing after the scheme, or something that is not printable ASCII.
    #[error("a URI goes on after its scheme, in printable ASCII without spaces")]
    Rest,
}

const SCHEME_BYTES_MAX: usize = 80;

impl Uri {
    /// The scheme, before the first colon.
    #[must_use]
    pub fn scheme(&self) -> &str {
        self.0.split(':').next().unwrap_or_default()
    }
}

fn parse(text: &str) -> Result<Arc<str>, InvalidUri> {
    if text.len() > URI_BYTES_MAX {
        return Err(InvalidUri::TooLong);
    }
    let (scheme, rest) = text.split_once(':').ok_or(InvalidUri::Scheme)?;
    let is_scheme = scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    if !is_scheme || !starts_with_letter(scheme) || scheme.len() > SCHEME_BYTES_MAX {
        return Err(InvalidUri::Scheme);
    }
    if rest.is_empty() || !rest.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(InvalidUri::Rest);
    }
    Ok(text.into())
}

text_id!(Uri, InvalidUri, parse);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interop::assert_syntax;

    #[test]
    fn follows_the_published_vectors() {
        assert_syntax("uri", str::parse::<Uri>);
    }

    #[test]
    fn refuses_by_reason() {
        let error = |text: &str| text.parse::<Uri>().expect_err("invalid");
        assert_eq!(error("example.com"), InvalidUri::Scheme);
        assert_eq!(error("1http://example.com"), InvalidUri::Scheme);
        assert_eq!(error("http:"), InvalidUri::Rest);
        assert_eq!(error("https://example.com/a b"), InvalidUri::Rest);
        assert_eq!(error(&format!("https://example.com/{}", "x".repeat(8200))), InvalidUri::TooLong);
    }
}
