//! Which snapshots are kept: the newest few, and the newest of each of the last days, weeks and months.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::time::Timestamp;

const DAY_MS: u64 = 86_400_000;

/// A rule, written like `"last 3, daily 7, weekly 4, monthly 12"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// The newest so many.
    pub last: u32,
    /// The newest of each of so many days on which there is one.
    pub daily: u32,
    /// The newest of each of so many weeks.
    pub weekly: u32,
    /// The newest of each of so many times 30 days.
    pub monthly: u32,
}

impl Default for Keep {
    fn default() -> Self {
        Self { last: 3, daily: 7, weekly: 4, monthly: 12 }
    }
}

/// Not a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a rule for what to keep reads like \"last 3, daily 7, weekly 4, monthly 12\" and keeps at least one; {0:?} does not"
)]
pub struct NoKeepRule(String);

impl FromStr for Keep {
    type Err = NoKeepRule;

    fn from_str(text: &str) -> Result<Self, NoKeepRule> {
        let not = || NoKeepRule(text.to_owned());
        let mut keep = Self { last: 0, daily: 0, weekly: 0, monthly: 0 };
        let mut seen = BTreeSet::new();
        for part in text.split(',') {
            let (word, number) = part.trim().split_once(' ').ok_or_else(not)?;
            let number: u32 = number.trim().parse().map_err(|_| not())?;
            let place = match word {
                "last" => &mut keep.last,
                "daily" => &mut keep.daily,
                "weekly" => &mut keep.weekly,
                "monthly" => &mut keep.monthly,
                _ => return Err(not()),
            };
            if !seen.insert(word) {
                return Err(not());
            }
            *place = number;
        }
        // A rule under which the snapshot just made is dropped again is a mistake.
        if keep == (Self { last: 0, daily: 0, weekly: 0, monthly: 0 }) { Err(not()) } else { Ok(keep) }
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { last, daily, weekly, monthly } = self;
        write!(f, "last {last}, daily {daily}, weekly {weekly}, monthly {monthly}")
    }
}

impl Keep {
    /// The numbers of the snapshots to keep, of those with these numbers and times. The newest is always among them.
    #[must_use]
    pub fn choose(&self, snapshots: &[(u64, Timestamp)]) -> BTreeSet<u64> {
        let mut newest_first = snapshots.to_vec();
        newest_first.sort_unstable_by_key(|(number, _)| std::cmp::Reverse(*number));
        let last = newest_first.iter().take(usize::try_from(self.last.max(1)).unwrap_or(usize::MAX));
        let mut kept: BTreeSet<u64> = last.map(|(number, _)| *number).collect();
        for (count, days) in [(self.daily, 1), (self.weekly, 7), (self.monthly, 30)] {
            let mut periods = BTreeSet::new();
            for (number, at) in &newest_first {
                let period = at.as_millis() / (DAY_MS * days);
                if periods.len() >= usize::try_from(count).unwrap_or(usize::MAX) {
                    break;
                }
                if periods.insert(period) {
                    kept.insert(*number);
                }
            }
        }
        kept
    }
}
