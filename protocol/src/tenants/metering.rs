//! What a write uses of a tenant's plan, and which features it takes (USE-02 to USE-04).
//!
//! A record is looked at as it was and as it will be, so that what counts is the step: a post that is put into the
//! schedule counts once, however often it is changed there. What was counted in a month stays counted: taking a task
//! away gives nothing back.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::plan::{Allowance, Feature, Plan, Resource};
use crate::data::Value;
use crate::ids::Datetime;
use crate::time::Timestamp;

/// A record that somebody is about to write for a tenant.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'a> {
    /// The collection.
    pub collection: &'a str,
    /// What is there now.
    pub before: Option<&'a Value>,
    /// What will be there.
    pub after: &'a Value,
}

/// What writes use together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bill {
    /// How much more of each resource; none of it is zero.
    pub uses: BTreeMap<Resource, u64>,
    /// The features that have to be there.
    pub features: BTreeSet<Feature>,
}

/// A feature that the plan has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the plan {} has no {}; the smallest plan that has it is {}", plan.name(), feature.name(), needed.name())]
pub struct FeatureDisabled {
    /// Which.
    pub feature: Feature,
    /// Under which plan.
    pub plan: Plan,
    /// The smallest plan that has it.
    pub needed: Plan,
}

impl Bill {
    /// What one write uses.
    #[must_use]
    pub fn of(draft: Draft<'_>, now: Timestamp) -> Self {
        let mut bill = Self::default();
        let Draft { collection, before, after } = draft;
        bill.features.extend(feature(collection));
        if takes_branding(draft) {
            bill.features.insert(Feature::Branding);
        }
        let is_new = u64::from(before.is_none());
        match collection {
            "co.kendev.spaces.space" => bill.add(Resource::Spaces, is_new),
            "co.kendev.business.product" => bill.add(Resource::Products, is_new),
            "co.kendev.business.task" => bill.add(Resource::Tasks, is_new),
            "co.kendev.agents.job" => {
                bill.add(Resource::Tasks, is_new);
                bill.add_ordered(before, after);
            }
            "co.kendev.content.post" => {
                let was = before.is_some_and(|before| is_scheduled(before, now));
                bill.add(Resource::Posts, u64::from(!was && is_scheduled(after, now)));
            }
            "co.kendev.content.postSettings" => {
                let had = before.map(platforms).unwrap_or_default();
                bill.add(Resource::Posts, platforms(after).difference(&had).count() as u64);
            }
            "co.kendev.business.campaign" => {
                let was = before.is_some_and(is_mailing);
                bill.add(Resource::Emails, u64::from(!was && is_mailing(after)));
            }
            _ => {}
        }
        bill
    }

    /// Adds what another write uses.
    pub fn merge(&mut self, other: Self) {
        for (resource, more) in other.uses {
            self.add(resource, more);
        }
        self.features.extend(other.features);
    }

    fn add(&mut self, resource: Resource, more: u64) {
        if more > 0 {
            let uses = self.uses.entry(resource).or_default();
            *uses = uses.saturating_add(more);
        }
    }

    /// What a job orders beside the work: one that turns from one kind into another is counted as what it becomes.
    fn add_ordered(&mut self, before: Option<&Value>, after: &Value) {
        let kind = text(after, "taskType");
        if before.and_then(|before| text(before, "taskType")) == kind {
            return;
        }
        match kind {
            Some("social_media_post") => self.add(Resource::Posts, 1),
            Some("email_campaign") => self.add(Resource::Emails, 1),
            _ => {}
        }
    }

    /// Whether the tenant has the features.
    ///
    /// # Errors
    /// [`FeatureDisabled`], the first that it has not.
    pub fn check_features(&self, allowance: &Allowance) -> Result<(), FeatureDisabled> {
        self.features.iter().try_for_each(|feature| allowance.check(*feature))
    }
}

impl Allowance {
    /// Whether the feature is there.
    ///
    /// # Errors
    /// [`FeatureDisabled`].
    pub fn check(&self, feature: Feature) -> Result<(), FeatureDisabled> {
        if self.has(feature) {
            return Ok(());
        }
        Err(FeatureDisabled { feature, plan: self.plan, needed: feature.smallest_plan() })
    }
}

/// The feature to which the records of a collection belong; `None` for those of every plan.
#[must_use]
pub fn feature(collection: &str) -> Option<Feature> {
    match collection {
        "co.kendev.business.lead"
        | "co.kendev.business.contact"
        | "co.kendev.business.opportunity"
        | "co.kendev.business.activity"
        | "co.kendev.spaces.memberCrm" => Some(Feature::Crm),
        "co.kendev.business.product" | "co.kendev.business.productSettings" | "co.kendev.business.order" => {
            Some(Feature::Ecommerce)
        }
        "co.kendev.business.project"
        | "co.kendev.business.task"
        | "co.kendev.business.taskComment"
        | "co.kendev.business.timeEntry" => Some(Feature::Projects),
        _ => None,
    }
}

/// Whether a write gives the tenant or a space of it a look of its own that it did not have: what is there stays.
fn takes_branding(draft: Draft<'_>) -> bool {
    let field = match draft.collection {
        "co.kendev.tenants.profile" => "branding",
        "co.kendev.spaces.space" => "theme",
        _ => return false,
    };
    let look = draft.after.get(field);
    look.is_some() && look != draft.before.and_then(|before| before.get(field))
}

fn text<'v>(record: &'v Value, field: &str) -> Option<&'v str> {
    record.get(field).and_then(Value::as_str)
}

/// Whether a post waits for its time: it says so, or its time is still to come.
fn is_scheduled(post: &Value, now: Timestamp) -> bool {
    match text(post, "status") {
        Some("scheduled") => true,
        Some("published") => {
            let at = text(post, "publishedAt").and_then(|at| at.parse::<Datetime>().ok());
            at.and_then(|at| at.timestamp()).is_some_and(|at| at > now)
        }
        _ => false,
    }
}

/// The platforms on which a post is to appear besides.
fn platforms(settings: &Value) -> BTreeSet<&str> {
    let Some(syndication) = settings.get("syndication") else { return BTreeSet::new() };
    let named = ["facebook", "instagram", "twitter", "linkedin"];
    let named = named.into_iter().filter(|name| syndication.get(name) == Some(&Value::Bool(true)));
    let custom = match syndication.get("customPlatforms") {
        Some(Value::List(custom)) => custom.as_slice(),
        _ => &[],
    };
    named.chain(custom.iter().filter_map(Value::as_str)).collect()
}

/// Whether a campaign sends mail, now or at its time.
fn is_mailing(campaign: &Value) -> bool {
    text(campaign, "type") == Some("email")
        && matches!(text(campaign, "status"), Some("scheduled" | "active" | "paused"))
}

impl fmt::Display for Bill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let uses = self.uses.iter().map(|(resource, more)| format!("{more} {}", resource.name()));
        f.write_str(&uses.collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::data::from_json;

    const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);

    fn bill(collection: &str, before: Option<&Json>, after: &Json) -> Bill {
        let value = |json: &Json| from_json(json).expect("of the data model");
        let (before, after) = (before.map(value), value(after));
        Bill::of(Draft { collection, before: before.as_ref(), after: &after }, NOW)
    }

    fn uses(collection: &str, before: Option<&Json>, after: &Json) -> Vec<(Resource, u64)> {
        bill(collection, before, after).uses.into_iter().collect()
    }

    #[test]
    fn tasks_and_jobs_count_when_they_are_made() {
        let task = json!({ "title": "Sweep", "status": "todo" });
        assert_eq!(uses("co.kendev.business.task", None, &task), [(Resource::Tasks, 1)]);
        assert_eq!(uses("co.kendev.business.task", Some(&task), &json!({ "status": "done" })), []);
        let job = |kind: &str| json!({ "taskType": kind });
        assert_eq!(uses("co.kendev.agents.job", None, &job("lead_followup")), [(Resource::Tasks, 1)]);
        let post = uses("co.kendev.agents.job", None, &job("social_media_post"));
        assert_eq!(post, [(Resource::Tasks, 1), (Resource::Posts, 1)]);
        let mail = uses("co.kendev.agents.job", None, &job("email_campaign"));
        assert_eq!(mail, [(Resource::Tasks, 1), (Resource::Emails, 1)]);
        let turned = uses("co.kendev.agents.job", Some(&job("ai_generation")), &job("email_campaign"));
        assert_eq!(turned, [(Resource::Emails, 1)], "a job does not pass for another kind");
    }

    #[test]
    fn a_post_counts_when_it_is_scheduled_and_for_each_platform() {
        let post = |status: &str, at: &str| json!({ "status": status, "publishedAt": at });
        let (soon, past) = ("2030-01-01T00:00:00.000Z", "2020-01-01T00:00:00.000Z");
        let collection = "co.kendev.content.post";
        assert_eq!(uses(collection, None, &post("draft", soon)), []);
        assert_eq!(uses(collection, None, &post("published", past)), [], "out at once, and nowhere else");
        assert_eq!(uses(collection, None, &post("published", soon)), [(Resource::Posts, 1)]);
        assert_eq!(uses(collection, Some(&post("draft", soon)), &post("scheduled", soon)), [(Resource::Posts, 1)]);
        assert_eq!(uses(collection, Some(&post("scheduled", soon)), &post("scheduled", soon)), [], "once");

        let settings = |syndication: Json| json!({ "syndication": syndication });
        let two = settings(json!({ "facebook": true, "twitter": false, "customPlatforms": ["mastodon"] }));
        let collection = "co.kendev.content.postSettings";
        assert_eq!(uses(collection, None, &two), [(Resource::Posts, 2)]);
        let three =
            settings(json!({ "facebook": true, "linkedin": true, "customPlatforms": ["mastodon", "mastodon"] }));
        assert_eq!(uses(collection, Some(&two), &three), [(Resource::Posts, 1)]);
        assert_eq!(uses(collection, Some(&three), &two), []);
    }

    #[test]
    fn a_campaign_of_mails_counts_when_it_starts() {
        let campaign = |kind: &str, status: &str| json!({ "type": kind, "status": status });
        let collection = "co.kendev.business.campaign";
        assert_eq!(uses(collection, None, &campaign("email", "draft")), []);
        let started = uses(collection, Some(&campaign("email", "draft")), &campaign("email", "active"));
        assert_eq!(started, [(Resource::Emails, 1)]);
        assert_eq!(uses(collection, Some(&campaign("email", "paused")), &campaign("email", "active")), []);
        assert_eq!(uses(collection, None, &campaign("ads", "active")), []);
        let again = uses(collection, Some(&campaign("email", "completed")), &campaign("email", "scheduled"));
        assert_eq!(again, [(Resource::Emails, 1)]);
    }

    #[test]
    fn writes_of_one_request_add_up() {
        let mut bill = bill("co.kendev.business.task", None, &json!({}));
        bill.merge(super::tests::bill("co.kendev.agents.job", None, &json!({ "taskType": "report_generation" })));
        bill.merge(super::tests::bill("com.example.note", None, &json!({})));
        assert_eq!(bill.to_string(), "2 tasks");
        assert_eq!(bill.features, [Feature::Projects].into());
    }

    #[test]
    fn a_feature_is_there_by_plan_or_by_contract() {
        let product = bill("co.kendev.business.product", None, &json!({}));
        let free = Allowance::of(Plan::Free);
        let refused = product.check_features(&free).expect_err("not with free");
        assert_eq!(
            refused.to_string(),
            "the plan free has no ecommerce; the smallest plan that has it is professional"
        );
        assert!(product.check_features(&Allowance::of(Plan::Professional)).is_ok());
        let agreed = Allowance { features: [Feature::Ecommerce].into(), ..free.clone() };
        assert!(product.check_features(&agreed).is_ok());
        assert!(bill("co.kendev.business.task", None, &json!({})).check_features(&free).is_ok());
    }

    #[test]
    fn a_look_of_ones_own_is_a_feature_and_what_is_there_stays() {
        let (plain, red) =
            (json!({ "name": "Shop" }), json!({ "name": "Shop", "branding": { "primaryColor": "#ff0000" } }));
        let free = Allowance::of(Plan::Free);
        let check = |before: Option<&Json>, after: &Json| {
            bill("co.kendev.tenants.profile", before, after).check_features(&free).is_ok()
        };
        assert!(check(None, &plain) && check(Some(&red), &red) && check(Some(&red), &plain));
        assert!(!check(None, &red) && !check(Some(&plain), &red));
    }
}
