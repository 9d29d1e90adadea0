//! What the fields of a record say together, and how a record may follow the one before it: what a lexicon cannot hold
//! against each other. A record that does not fit its lexicon is refused by that, so these look at records that do.

use std::collections::BTreeSet;

use super::{Facts, Write};
use crate::data::Value;

/// What a record says that cannot hold, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// A JSON pointer.
    pub path: String,
    /// Why not.
    pub why: &'static str,
}

/// A record that is about to be written.
pub struct Subject<'a> {
    pub(super) write: &'a Write<'a>,
    pub(super) record: &'a Value,
    /// What is there now.
    pub(super) before: Option<&'a Value>,
    pub(super) facts: &'a Facts,
}

/// Looks for what cannot hold.
pub type Check = fn(&Subject<'_>) -> Option<Flaw>;

fn flaw(path: impl Into<String>, why: &'static str) -> Option<Flaw> {
    Some(Flaw { path: path.into(), why })
}

fn at<'v>(record: &'v Value, names: &[&str]) -> Option<&'v Value> {
    names.iter().try_fold(record, |value, name| value.get(name))
}

fn text<'v>(record: &'v Value, names: &[&str]) -> Option<&'v str> {
    at(record, names)?.as_str()
}

fn integer(record: &Value, names: &[&str]) -> Option<i64> {
    at(record, names)?.as_integer()
}

fn list<'v>(record: &'v Value, names: &[&str]) -> &'v [Value] {
    match at(record, names) {
        Some(Value::List(items)) => items,
        _ => &[],
    }
}

fn is(record: &Value, name: &str) -> bool {
    record.get(name) == Some(&Value::Bool(true))
}

/// The first element of a list whose `name` another one before it has, in whatever case if `folded`.
fn repeated(items: &[Value], name: &str, folded: bool) -> Option<usize> {
    let mut seen = BTreeSet::new();
    items.iter().position(|item| {
        let said = item.get(name).and_then(Value::as_str);
        said.is_some_and(|said| !seen.insert(if folded { said.to_lowercase() } else { said.to_owned() }))
    })
}

/// `records.md` 7.1.
pub(super) fn product(subject: &Subject<'_>) -> Option<Flaw> {
    let record = subject.record;
    let price = |name: &str| integer(record, &["pricing", name]);
    let (base, sale, compare) = (price("basePrice"), price("salePrice"), price("compareAtPrice"));
    if sale > base {
        return flaw("/pricing/salePrice", "a sale price is at most the base price");
    }
    if compare.is_some_and(|compare| Some(compare) < sale.or(base)) {
        return flaw("/pricing/compareAtPrice", "the price to compare with is at least what is asked now");
    }
    let interval = at(record, &["pricing", "subscription", "interval"]);
    if text(record, &["productType"]) == Some("subscription") && interval.is_none() {
        return flaw("/pricing/subscription/interval", "a subscription says how often it is paid");
    }
    let index = repeated(list(record, &["pricing", "variants"]), "sku", true)?;
    flaw(format!("/pricing/variants/{index}/sku"), "another variant has the same")
}

/// OPP-02.
pub(super) fn opportunity(subject: &Subject<'_>) -> Option<Flaw> {
    let record = subject.record;
    let lost = text(record, &["stage"]) == Some("closed-lost");
    let reason = text(record, &["lossReason", "reason"]).is_some_and(|reason| !reason.trim().is_empty());
    if lost && !reason { flaw("/lossReason/reason", "an opportunity that is lost says why") } else { None }
}

/// Whoever gives without a name is named nowhere (`records.md` 7.14).
pub(super) fn donation(subject: &Subject<'_>) -> Option<Flaw> {
    let record = subject.record;
    let named = is(record, "anonymous") && record.get("donor").is_some();
    if named { flaw("/donor", "an anonymous donation names no donor") } else { None }
}

/// `records.md` 7.5.
pub(super) fn venue(subject: &Subject<'_>) -> Option<Flaw> {
    let record = subject.record;
    for (index, day) in list(record, &["businessHours", "schedule"]).iter().enumerate() {
        let missing = ["openTime", "closeTime"].into_iter().find(|time| day.get(time).is_none());
        if let Some(time) = missing.filter(|_| !is(day, "isClosed")) {
            return flaw(format!("/businessHours/schedule/{index}/{time}"), "a day that is not closed has both times");
        }
    }
    let index = repeated(list(record, &["bayManagement", "bays"]), "bayName", false)?;
    flaw(format!("/bayManagement/bays/{index}/bayName"), "another bay has the same")
}

/// `records.md` 8.4: a category is named by its slug.
pub(super) fn category(subject: &Subject<'_>) -> Option<Flaw> {
    let record = subject.record;
    let parent = text(record, &["parent"]).and_then(|uri| uri.rsplit('/').next());
    let own = parent.is_some() && parent == text(record, &["slug"]);
    if own { flaw("/parent", "a category is not below itself") } else { None }
}

/// What is not public belongs into the half that super admins read (`records.md` 8.7).
pub(super) fn roadmap_feature(subject: &Subject<'_>) -> Option<Flaw> {
    let record = subject.record;
    let updates = list(record, &["progress", "updates"]);
    let index = updates.iter().position(|update| update.get("isPublic") == Some(&Value::Bool(false)))?;
    flaw(format!("/progress/updates/{index}"), "what is not public goes into the technical part of the feature")
}

/// OFF-01.
pub(super) fn offer(subject: &Subject<'_>) -> Option<Flaw> {
    let record = subject.record;
    match (text(record, &["pricingType"]), record.get("price")) {
        (Some("paid"), None) => flaw("/price", "an offer that is paid has a price"),
        (Some("free"), Some(_)) => flaw("/price", "an offer that is free has no price"),
        _ => without_words(record, "description"),
    }
}

/// ASK-01.
pub(super) fn ask(subject: &Subject<'_>) -> Option<Flaw> {
    let record = subject.record;
    let was = subject.before.and_then(|before| text(before, &["status"]));
    let reopened = was == Some("fulfilled") && text(record, &["status"]) != was;
    if reopened { flaw("/status", "an ask that was fulfilled stays so; write another one") } else { None }
}

/// FOL-01.
pub(super) fn follow(subject: &Subject<'_>) -> Option<Flaw> {
    let record = subject.record;
    let own = text(record, &["subject"]) == Some(subject.write.repo.as_str());
    if own { flaw("/subject", "nobody follows themselves") } else { None }
}

/// Posts and pages.
pub(super) fn has_content(subject: &Subject<'_>) -> Option<Flaw> {
    let record = subject.record;
    without_words(record, "content")
}

/// Rich text has words, or blocks (`records.md` 3).
fn without_words(record: &Value, field: &str) -> Option<Flaw> {
    let rich = record.get(field)?;
    let empty = rich.get("text").is_none() && rich.get("blocks").is_none();
    if empty { flaw(format!("/{field}"), "rich text has a text or blocks") } else { None }
}

/// `records.md` 4.1.
pub(super) fn space(subject: &Subject<'_>) -> Option<Flaw> {
    let record = subject.record;
    let index = repeated(list(record, &["monetization", "subscriptionTiers"]), "name", false)?;
    flaw(format!("/monetization/subscriptionTiers/{index}/name"), "another tier has the same")
}

/// The least time between two looks at a feed, in seconds (`records.md` 4.2).
const REFRESH_SECONDS_MIN: i64 = 60;

/// CHN-02, `records.md` 4.2.
pub(super) fn channel_settings(subject: &Subject<'_>) -> Option<Flaw> {
    let record = subject.record;
    let kept = |name: &str| integer(record, &["dataRetention", name]);
    if kept("deleteAfter").is_some_and(|delete| Some(delete) < kept("retentionPeriod")) {
        return flaw("/dataRetention/deleteAfter", "nothing is deleted before the time for which it has to be kept");
    }
    let interval = integer(record, &["feedConfiguration", "refreshInterval"]);
    let too_often = interval.is_some_and(|interval| interval < REFRESH_SECONDS_MIN);
    if too_often {
        flaw("/feedConfiguration/refreshInterval", "a feed is looked at once a minute at most")
    } else {
        None
    }
}

/// `records.md` 5.1, TEN-02: a tenant's domain is its handle, which is proven. It stays what it is by a plain write, and the
/// short name does.
pub(super) fn tenant_profile(subject: &Subject<'_>) -> Option<Flaw> {
    let (record, before) = (subject.record, subject.before);
    let handle = subject.facts.handle.as_ref().map(|handle| handle.as_str().to_lowercase());
    let domain = text(record, &["domain"]);
    let was = |name: &str| before.and_then(|before| text(before, &[name]));
    if domain != was("domain") && domain.map(str::to_lowercase) != handle {
        return flaw("/domain", "the domain of a tenant is its handle, and changes with it alone");
    }
    if was("slug").is_some() && text(record, &["slug"]) != was("slug") {
        return flaw("/slug", "the short name of a tenant stays as it is");
    }
    let aliases = list(record, &["domainAliases"]);
    let mut primary = aliases.iter().enumerate().filter(|(_, alias)| is(alias, "isPrimary"));
    let (first, second) = (primary.next(), primary.next());
    if let Some((index, alias)) = first
        && text(alias, &["domain"]) != domain
    {
        return flaw(format!("/domainAliases/{index}/domain"), "the primary alias is the domain of the tenant");
    }
    let (index, _) = second?;
    flaw(format!("/domainAliases/{index}/isPrimary"), "one alias alone is the primary one")
}
