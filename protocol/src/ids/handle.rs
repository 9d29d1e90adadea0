//! Handles: AT Protocol "Handle" specification.

use std::sync::Arc;

use super::text::{is_dns_label, starts_with_letter, text_id};
use crate::limits::HANDLE_BYTES_MAX;

/// A syntactically valid handle, in lower case: handles compare without regard to case, so one spelling is kept.
///
/// Whether it resolves, and to which DID, is another question.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle(Arc<str>);

/// Why a string is no handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHandle {
    /// Longer than [`HANDLE_BYTES_MAX`].
    #[error("a handle has at most {HANDLE_BYTES_MAX} bytes")]
    TooLong,
    /// Fewer than two labels.
    #[error("a handle is a domain name of at least two labels")]
    OneLabel,
    /// A label that DNS does not allow.
    #[error("each label of a handle has 1 to 63 letters, digits and inner hyphens")]
    Label,
    /// The last label starts with no letter, as an IP address would.
    #[error("the last label of a handle starts with a letter")]
    TopLevel,
}

/// Top-level domains that never lead to an account on the public network.
const RESERVED: [&str; 8] = ["alt", "arpa", "example", "internal", "invalid", "local", "localhost", "onion"];

impl Handle {
    /// What an interface shows in place of a handle that does not resolve both ways. Never a real handle.
    #[must_use]
    pub fn invalid() -> Self {
        Self("handle.invalid".into())
    }

    /// The last label.
    #[must_use]
    pub fn top_level(&self) -> &str {
        self.0.rsplit('.').next().unwrap_or_default()
    }

    /// Whether the top-level domain is reserved, so that no account may register the handle. `.test` is for
    /// development networks and is not counted here.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        RESERVED.contains(&self.top_level())
    }
}

fn parse(text: &str) -> Result<Arc<str>, InvalidHandle> {
    if text.len() > HANDLE_BYTES_MAX {
        return Err(InvalidHandle::TooLong);
    }
    if !text.split('.').all(is_dns_label) {
        return Err(InvalidHandle::Label);
    }
    let (_, top_level) = text.rsplit_once('.').ok_or(InvalidHandle::OneLabel)?;
    if !starts_with_letter(top_level) {
        return Err(InvalidHandle::TopLevel);
    }
    Ok(text.to_ascii_lowercase().into())
}

text_id!(Handle, InvalidHandle, parse);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interop::assert_syntax;

    #[test]
    fn follows_the_published_vectors() {
        assert_syntax("handle", str::parse::<Handle>);
    }

    #[test]
    fn keeps_one_spelling() {
        let handle: Handle = "Alice.Example.COM".parse().expect("valid");
        assert_eq!(handle.as_str(), "alice.example.com");
        assert_eq!(handle, "alice.example.com".parse().expect("valid"));
    }

    #[test]
    fn refuses_by_reason() {
        let error = |text: &str| text.parse::<Handle>().expect_err("invalid");
        assert_eq!(error("org"), InvalidHandle::OneLabel);
        assert_eq!(error("127.0.0.1"), InvalidHandle::TopLevel);
        assert_eq!(error("a..b"), InvalidHandle::Label);
        assert_eq!(error("-a.b"), InvalidHandle::Label);
        assert_eq!(error("bücher.test"), InvalidHandle::Label);
        assert_eq!(error(&format!("{}test", "a.".repeat(125))), InvalidHandle::TooLong);
    }

    #[test]
    fn knows_reserved_domains() {
        assert!("a.local".parse::<Handle>().expect("valid").is_reserved());
        assert!(Handle::invalid().is_reserved());
        assert!(!"a.test".parse::<Handle>().expect("valid").is_reserved());
    }
}
