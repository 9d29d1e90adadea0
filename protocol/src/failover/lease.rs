//! How long a primary may still write: until those who have confirmed it could have replaced it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::quorum::contacts_needed;
use crate::ids::Did;
use crate::time::Timestamp;

/// What a primary knows of its backups' confirmations for one tenant in one epoch.
///
/// A backup confirms a message of the primary; what counts is when that message was sent, by the primary's own clock,
/// which is never later than when the backup heard it. So the clocks of the two need not agree, only run alike.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    length: Duration,
    needed: usize,
    confirmed: BTreeMap<Did, Timestamp>,
}

impl Lease {
    /// None yet: a primary that has just started has to be confirmed first. `silence` is what observers wait for; a
    /// lease is a fifth shorter, which is what two honest clocks may run apart in that time, and far more.
    #[must_use]
    pub fn new(hosts: usize, silence: Duration) -> Self {
        Self { length: silence * 4 / 5, needed: contacts_needed(hosts), confirmed: BTreeMap::new() }
    }

    /// `backup` has confirmed the message that was sent at `sent`.
    pub fn confirm(&mut self, backup: &Did, sent: Timestamp) {
        let newest = self.confirmed.entry(backup.clone()).or_insert(sent);
        *newest = (*newest).max(sent);
    }

    /// Backups that are none any more confirm nothing.
    pub fn retain(&mut self, backups: impl Fn(&Did) -> bool) {
        self.confirmed.retain(|backup, _| backups(backup));
    }

    /// Until when the primary may write; `None` while too few have confirmed it. Always for one without backups.
    #[must_use]
    pub fn until(&self) -> Option<Timestamp> {
        if self.needed == 0 {
            return Some(Timestamp::MAX);
        }
        let mut sent: Vec<_> = self.confirmed.values().copied().collect();
        sent.sort_unstable_by(|a, b| b.cmp(a));
        sent.get(self.needed - 1).map(|sent| *sent + self.length)
    }

    /// Whether the primary may write.
    #[must_use]
    pub fn holds(&self, now: Timestamp) -> bool {
        self.until().is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Timestamp {
        Timestamp::from_millis(second * 1000)
    }

    fn backup(name: &str) -> Did {
        format!("did:web:{name}.example").parse().expect("a DID")
    }

    #[test]
    fn it_lasts_from_when_the_message_was_sent() {
        let mut lease = Lease::new(3, Duration::from_secs(10));
        assert!(!lease.holds(at(0)), "a primary that has just started");
        lease.confirm(&backup("a"), at(5));
        assert!(lease.holds(at(12)) && !lease.holds(at(13)));
        lease.confirm(&backup("a"), at(3));
        assert!(lease.holds(at(12)), "an older message takes nothing away");
        lease.retain(|_| false);
        assert!(!lease.holds(at(6)));
        assert!(Lease::new(1, Duration::from_secs(10)).holds(at(1_000_000)));
    }

    #[test]
    fn of_four_backups_two_are_needed() {
        let mut lease = Lease::new(5, Duration::from_secs(10));
        lease.confirm(&backup("a"), at(5));
        assert!(!lease.holds(at(6)));
        lease.confirm(&backup("b"), at(1));
        assert!(lease.holds(at(8)) && !lease.holds(at(9)));
    }
}
