//! What a URL to call has to be, as far as it says itself. Where its name leads is looked at whenever it is called.

use crate::limits::WEBHOOK_URL_BYTES_MAX;

/// What is wrong with a URL to call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetFlaw {
    /// Longer than [`WEBHOOK_URL_BYTES_MAX`].
    #[error("a URL to call has at most {WEBHOOK_URL_BYTES_MAX} bytes")]
    TooLong,
    /// Not https, and not http to this machine.
    #[error("calls go to https URLs")]
    Scheme,
    /// No host.
    #[error("the URL names no host")]
    Host,
    /// A password would be in a record, and in lists.
    #[error("a URL to call has no user and no password: what is called knows the signature")]
    Login,
    /// It has blanks, control characters, a fragment, or others than ASCII.
    #[error("the URL has characters that no URL to call has")]
    Characters,
}

/// What is wrong with a URL to call, if anything is. `http` is for receivers on the same machine, while they are made: a node
/// calls them where its operator runs it for that.
#[must_use]
pub fn target_flaw(url: &str) -> Option<TargetFlaw> {
    if url.len() > WEBHOOK_URL_BYTES_MAX {
        return Some(TargetFlaw::TooLong);
    }
    if !url.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'#' | b'\\')) {
        return Some(TargetFlaw::Characters);
    }
    let Some((scheme, rest)) = url.split_once("://") else { return Some(TargetFlaw::Scheme) };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if authority.contains('@') {
        return Some(TargetFlaw::Login);
    }
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    if host.is_empty() {
        return Some(TargetFlaw::Host);
    }
    let is_here = host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    let fits = match scheme {
        "https" => true,
        "http" => is_here,
        _ => false,
    };
    (!fits).then_some(TargetFlaw::Scheme)
}
