//! What a tenant has used in a month, and whether there is room for more: `current + more <= limit` (USE-02).

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Datelike, Utc};
use serde::{Deserialize, Serialize};

use super::plan::{Allowance, Plan, Resource};
use crate::time::Timestamp;

/// A calendar month in UTC, as its year times a hundred and its number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Month(u32);

impl Month {
    /// The month of a moment.
    #[must_use]
    pub fn of(moment: Timestamp) -> Self {
        let millis = i64::try_from(moment.as_millis()).unwrap_or(i64::MAX);
        let date = DateTime::<Utc>::from_timestamp_millis(millis).unwrap_or_default();
        Self(u32::try_from(date.year()).unwrap_or(0) * 100 + date.month())
    }

    /// The number under which rows are kept: 202611 for November 2026.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }

    /// The month before.
    #[must_use]
    pub const fn previous(self) -> Self {
        if self.0 % 100 > 1 { Self(self.0 - 1) } else { Self((self.0 / 100).saturating_sub(1) * 100 + 12) }
    }

    /// The month with this number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        (1..=12).contains(&(number % 100)).then_some(Self(number))
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.0 / 100, self.0 % 100)
    }
}

/// Something that is about to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// What.
    pub resource: Resource,
    /// How much more.
    pub more: u64,
    /// How much there is now, for what is not counted by the month: whoever keeps the things knows.
    pub now: u64,
}

impl Use {
    /// One more of what is counted by the month.
    #[must_use]
    pub const fn one(resource: Resource) -> Self {
        Self { resource, more: 1, now: 0 }
    }

    /// One more of what there are `now` already.
    #[must_use]
    pub const fn beside(resource: Resource, now: u64) -> Self {
        Self { resource, more: 1, now }
    }
}

/// A limit that stands in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the plan {} allows {limit} {}{}; {used} are used, {more} more are asked for",
    plan.name(), resource.name(), if resource.is_monthly() { " a month" } else { "" }
)]
pub struct LimitReached {
    /// Of what.
    pub resource: Resource,
    /// The most.
    pub limit: u64,
    /// What is used.
    pub used: u64,
    /// What was asked for beyond that.
    pub more: u64,
    /// Under which plan.
    pub plan: Plan,
}

/// What was used in one month.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// The month.
    pub month: Month,
    /// How much of what is counted by the month.
    #[serde(default)]
    pub counts: BTreeMap<Resource, u64>,
    /// Storage in MB, the highest of the month.
    #[serde(default)]
    pub storage_mb: u64,
}

impl Usage {
    /// Nothing yet.
    #[must_use]
    pub fn new(month: Month) -> Self {
        Self { month, ..Self::default() }
    }

    /// How much was used.
    #[must_use]
    pub fn of(&self, resource: Resource) -> u64 {
        self.counts.get(&resource).copied().unwrap_or(0)
    }

    /// Whether there is room.
    ///
    /// # Errors
    /// [`LimitReached`], with the figures.
    pub fn check(&self, allowance: &Allowance, wish: Use) -> Result<(), LimitReached> {
        let Use { resource, more, now } = wish;
        let used = if resource.is_monthly() { self.of(resource) } else { now };
        match allowance.limit(resource) {
            Some(limit) if used.checked_add(more).is_none_or(|sum| sum > limit) => {
                Err(LimitReached { resource, limit, used, more, plan: allowance.plan })
            }
            _ => Ok(()),
        }
    }

    /// Counts a use if there is room; what is not counted by the month is only checked.
    ///
    /// # Errors
    /// [`LimitReached`], and nothing is counted.
    pub fn take(&mut self, allowance: &Allowance, wish: Use) -> Result<(), LimitReached> {
        self.check(allowance, wish)?;
        if wish.resource.is_monthly() {
            let count = self.counts.entry(wish.resource).or_default();
            *count = count.saturating_add(wish.more);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn january_follows_december() {
        let month = |number| Month::from_number(number).expect("a month");
        assert_eq!((month(202_611).previous(), month(202_601).previous()), (month(202_610), month(202_512)));
    }

    #[test]
    fn months_are_those_of_the_calendar_in_utc() {
        let month = |millis| Month::of(Timestamp::from_millis(millis)).to_string();
        assert_eq!(month(0), "1970-01");
        assert_eq!(month(1_795_996_799_999), "2026-11");
        assert_eq!(month(1_796_083_200_000), "2026-12");
        assert_eq!(Month::from_number(202_613), None);
        assert!(Month::of(Timestamp::from_millis(0)) < Month::of(Timestamp::MAX));
    }

    #[test]
    fn the_tenth_task_of_a_free_plan_passes_and_the_next_does_not() {
        let free = Allowance::of(Plan::Free);
        let mut usage = Usage::new(Month::of(Timestamp::EPOCH));
        for _ in 0..9 {
            usage.take(&free, Use::one(Resource::Tasks)).expect("room");
        }
        let two = Use { resource: Resource::Tasks, more: 2, now: 0 };
        assert_eq!(usage.take(&free, two).expect_err("one is left").used, 9);
        usage.take(&free, Use::one(Resource::Tasks)).expect("the tenth");
        let refused = usage.take(&free, Use::one(Resource::Tasks)).expect_err("the eleventh");
        assert_eq!((refused.used, refused.limit, refused.more), (10, 10, 1));
        assert_eq!(refused.to_string(), "the plan free allows 10 tasks a month; 10 are used, 1 more are asked for");
        assert_eq!(usage.of(Resource::Tasks), 10, "what was refused does not count");
    }

    #[test]
    fn what_is_there_counts_for_what_is_not_counted_by_the_month() {
        let free = Allowance::of(Plan::Free);
        let mut usage = Usage::new(Month::of(Timestamp::EPOCH));
        assert!(usage.take(&free, Use::beside(Resource::Spaces, 2)).is_ok());
        assert!(usage.take(&free, Use::beside(Resource::Spaces, 3)).is_err());
        assert!(usage.counts.is_empty());
        let overflow = Use { resource: Resource::Spaces, more: 1, now: u64::MAX };
        assert!(usage.check(&free, overflow).is_err());
    }
}
