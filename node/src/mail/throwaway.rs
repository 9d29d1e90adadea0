//! Addresses that their owners throw away: whoever signs up with one is soon without the codes that an account needs.

use std::collections::HashSet;
use std::sync::LazyLock;

/// What the list of such domains holds though nobody gets mail there to throw away: people try hosts out with it.
const EXCEPTIONS: [&str; 1] = ["test.com"];

static DOMAINS: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    let mut domains: HashSet<_> = mailchecker::blacklist().into_iter().collect();
    for exception in EXCEPTIONS {
        domains.remove(exception);
    }
    domains
});

/// Whether an address is one of a service that gives out mailboxes for minutes.
#[must_use]
pub fn is_throwaway(address: &str) -> bool {
    let domain = address.rsplit_once('@').map_or(address, |(_, domain)| domain).to_ascii_lowercase();
    let mut rest = Some(domain.as_str());
    while let Some(suffix) = rest {
        if DOMAINS.contains(suffix) {
            return true;
        }
        rest = suffix.split_once('.').map(|(_, parent)| parent);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mailboxes_for_minutes_are_told_from_those_that_last() {
        for address in ["a@mailinator.com", "a@MAILINATOR.com", "a@sub.mailinator.com", "a@disposeamail.com"] {
            assert!(is_throwaway(address), "{address}");
        }
        for address in ["a@gmail.com", "a@example.org", "a@test.com", "a@mail.test", "mailinator.com@example.org"] {
            assert!(!is_throwaway(address), "{address}");
        }
    }
}
