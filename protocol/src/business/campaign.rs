//! Campaigns: whether one has spent more than it may (CMP-05). How well it works is among the figures of its view
//! ([`crate::rules::figures`]).

use crate::data::Value;

/// What a campaign may be told by hand of how it goes, until something outside tells it (`records.md` 7.9).
pub const METRICS: [&str; 6] = ["impressions", "clicks", "conversions", "leads", "sales", "revenue"];

/// Whether a campaign has spent more than its whole budget. One without a budget never has.
#[must_use]
pub fn is_overspent(campaign: &Value) -> bool {
    let part = |name: &str| campaign.get("budget")?.get(name)?.as_integer();
    part("totalBudget").is_some_and(|total| part("spentBudget").unwrap_or(0) > total)
}
