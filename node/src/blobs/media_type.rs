//! Which media type a blob has: what its first bytes show, or else what its author says.

use infer::{Infer, MatcherType};

/// First bytes of a blob that are looked at. The signatures that are known lie within.
pub(super) const HEAD_BYTES: usize = 8 * 1024;

/// The type of a blob about which nothing is known.
const UNKNOWN: &str = "application/octet-stream";

/// Longest media type that is taken, in bytes: the bound of RFC 6838 section 4.2 for each half, and parameters.
const MEDIA_TYPE_BYTES_MAX: usize = 320;

/// The media type of a blob that begins with `head`; `None` when `declared` is none. Kinds of text cannot be told
/// apart by looking, so there the author is believed.
pub(super) fn media_type(declared: Option<&str>, head: &[u8]) -> Option<String> {
    let declared = declared.map(str::trim).filter(|declared| !declared.is_empty() && *declared != "*/*");
    if declared.is_some_and(|declared| !is_media_type(declared)) {
        return None;
    }
    let seen = Infer::new().get(head).filter(|seen| seen.matcher_type() != MatcherType::Text);
    Some(seen.map(|seen| seen.mime_type()).or(declared).unwrap_or(UNKNOWN).to_owned())
}

/// `type/subtype`, with whatever parameters behind it (RFC 9110 section 8.3.1).
fn is_media_type(text: &str) -> bool {
    let token = |text: &str| {
        let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        !text.is_empty() && text.bytes().all(is_token)
    };
    let essence = text.split(';').next().unwrap_or_default().trim_end();
    text.len() <= MEDIA_TYPE_BYTES_MAX
        && text.bytes().all(|b| (b' '..=b'~').contains(&b))
        && essence.split_once('/').is_some_and(|(kind, subtype)| token(kind) && token(subtype) && kind != "*")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";

    #[test]
    fn what_is_seen_wins_over_what_is_said() {
        let png = |declared| media_type(declared, PNG);
        for declared in [None, Some("*/*"), Some(""), Some("image/png"), Some("text/html")] {
            assert_eq!(png(declared).as_deref(), Some("image/png"), "{declared:?}");
        }
    }

    #[test]
    fn what_cannot_be_seen_is_believed() {
        let text = |declared| media_type(declared, b"<?xml version=\"1.0\"?><svg/>");
        assert_eq!(text(Some("image/svg+xml")).as_deref(), Some("image/svg+xml"));
        assert_eq!(text(Some("text/plain; charset=utf-8")).as_deref(), Some("text/plain; charset=utf-8"));
        assert_eq!(text(None).as_deref(), Some(UNKNOWN));
        assert_eq!(media_type(Some("a/b"), b"").as_deref(), Some("a/b"));
    }

    #[test]
    fn what_is_no_media_type_is_refused() {
        for declared in ["image", "/png", "image/", "*/png", "a b/c", "image/png\u{e9}", "image/p\u{0}ng"] {
            assert_eq!(media_type(Some(declared), PNG), None, "{declared:?}");
        }
        assert_eq!(media_type(Some(&format!("a/{}", "b".repeat(400))), PNG), None);
    }
}
