//! How many are enough. All numbers follow from how many nodes host the tenant, the primary among them.

/// Backups that have to find the primary silent: a majority of the hosting nodes, which never has the primary in it.
/// Where two nodes host the tenant it is the one backup, and owner or witness besides (`network.md` 4.5).
#[must_use]
pub const fn observers_needed(hosts: usize) -> usize {
    if hosts == 2 { 1 } else { hosts / 2 + 1 }
}

/// Backups of which a primary has to be confirmed, and standbys that have to hold a write before it counts as
/// replicated: any [`observers_needed`] backups have one of them. Zero for a tenant without backups.
#[must_use]
pub const fn contacts_needed(hosts: usize) -> usize {
    let backups = hosts.saturating_sub(1);
    (backups + 1).saturating_sub(observers_needed(hosts))
}

/// Shares that put the pre-signed identity operation together, of one for each backup: a majority of them.
#[must_use]
pub const fn shares_needed(backups: usize) -> usize {
    backups / 2 + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::BACKUPS_MAX;

    #[test]
    fn every_set_of_observers_has_one_who_confirmed() {
        for hosts in 2..=BACKUPS_MAX + 1 {
            let backups = hosts - 1;
            assert!(contacts_needed(hosts) >= 1 && contacts_needed(hosts) <= backups, "{hosts}");
            assert!(observers_needed(hosts) + contacts_needed(hosts) > backups, "{hosts}");
            assert!(shares_needed(backups) <= backups, "{hosts}");
        }
        assert_eq!(contacts_needed(1), 0, "a tenant without backups needs nobody");
        assert_eq!([3, 4, 5, 7].map(contacts_needed), [1, 1, 2, 3]);
    }
}
