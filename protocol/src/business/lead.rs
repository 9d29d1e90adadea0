//! How promising a lead is (LEA-01 to LEA-04 and LEA-07): from what the lead did, and from what is known of them.

use crate::data::{Map, Value};

/// Most points of either half of a score.
const HALF: i64 = 50;

/// Something that a lead did, or that was done about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activity<'a> {
    /// Of which kind.
    pub kind: &'a str,
    /// What came of it.
    pub outcome: Option<&'a str>,
    /// How long ago, in days.
    pub age_days: u64,
}

/// Points for what happened (LEA-02), from 0 to 50.
#[must_use]
pub fn behavior<'a>(activities: impl IntoIterator<Item = Activity<'a>>) -> i64 {
    let points = activities.into_iter().map(|activity| {
        let points = match activity.kind {
            "meeting" => 15,
            "form-submission" => 12,
            "call" => 8,
            "content-download" => 6,
            "email" => 4,
            "website-visit" | "social" => 2,
            _ => 0,
        };
        match (activity.outcome, activity.age_days) {
            (Some("negative" | "no-response"), _) | (_, 91..) => 0,
            (_, 31..) => points / 2,
            _ => points,
        }
    });
    points.sum::<i64>().min(HALF)
}

/// Points for what happened, of two parts of it.
#[must_use]
pub const fn sum(one: i64, other: i64) -> i64 {
    let sum = one.saturating_add(other);
    if sum < HALF { sum } else { HALF }
}

/// Points for who the lead is (LEA-03), from 0 to 50: by the criteria that the business set, or else by what is known.
#[must_use]
pub fn demographic(lead: &Value) -> i64 {
    let criteria = lead.get("scoring").and_then(|scoring| scoring.get("qualificationCriteria"));
    if let Some(Value::List(criteria)) = criteria
        && !criteria.is_empty()
    {
        let weight = |criterion: &Value| criterion.get("weight").and_then(Value::as_integer).unwrap_or(0);
        let all: i64 = criteria.iter().map(weight).sum();
        let met = criteria.iter().filter(|criterion| criterion.get("met") == Some(&Value::Bool(true)));
        let met: i64 = met.map(weight).sum();
        return if all > 0 { HALF * met / all } else { 0 };
    }
    let has = |field: &str| lead.get(field).and_then(Value::as_str).is_some_and(|text| !text.trim().is_empty());
    let budget = lead.get("interests").and_then(|interests| interests.get("budget"));
    let says = |field: &str| budget.and_then(|budget| budget.get(field)).and_then(Value::as_str).unwrap_or_default();
    let range = match says("range") {
        "under-1k" => 2,
        "1k-5k" => 5,
        "5k-10k" => 8,
        "10k-25k" => 11,
        "25k-50k" => 13,
        "over-50k" => 15,
        _ => 0,
    };
    let timeframe = match says("timeframe") {
        "immediate" => 10,
        "1-month" => 8,
        "3-months" => 6,
        "6-months" => 4,
        "1-year" => 2,
        _ => 0,
    };
    let known = [("company", 10), ("jobTitle", 10), ("phone", 5)];
    range + timeframe + known.into_iter().filter(|(field, _)| has(field)).map(|(_, points)| points).sum::<i64>()
}

/// How warm a score is (LEA-04).
#[must_use]
pub const fn level(score: i64) -> &'static str {
    match score {
        70.. => "hot",
        40..70 => "warm",
        _ => "cold",
    }
}

/// How likely the lead becomes a customer, in basis points (LEA-07): a rule of thumb, and no model.
#[must_use]
pub fn prediction(lead: &Value) -> i64 {
    let says = |field: &str| lead.get(field).and_then(Value::as_str).unwrap_or_default();
    let parts = [
        (says("priority") == "high", 2000),
        (!says("company").trim().is_empty(), 1000),
        (!says("lastActivityAt").is_empty(), 1500),
        (matches!(says("source"), "referral" | "partner"), 500),
    ];
    5000 + parts.into_iter().filter(|(holds, _)| *holds).map(|(_, points)| points).sum::<i64>()
}

/// Whether two e-mail addresses are one (LEA-06).
#[must_use]
pub fn is_same_email(one: &str, other: &str) -> bool {
    one.trim().to_lowercase() == other.trim().to_lowercase()
}

/// What the scoring of a lead says, from its record and the points for what happened.
#[must_use]
pub fn scoring(lead: &Value, behavior: i64) -> Map {
    let (behavior, demographic) = (behavior.clamp(0, HALF), demographic(lead));
    let score = behavior + demographic;
    Map::from([
        ("behaviorScore".to_owned(), Value::Integer(behavior)),
        ("demographicScore".to_owned(), Value::Integer(demographic)),
        ("score".to_owned(), Value::Integer(score)),
        ("engagementLevel".to_owned(), Value::String(level(score).to_owned())),
        ("conversionPrediction".to_owned(), Value::Integer(prediction(lead))),
    ])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::data::record_from_json;

    fn lead(record: serde_json::Value) -> Value {
        record_from_json(&record).expect("a record")
    }

    #[test]
    fn what_happened_counts_as_the_rules_say() {
        let activity = |kind, outcome, age_days| Activity { kind, outcome, age_days };
        let done = [
            activity("meeting", Some("positive"), 5),
            activity("call", None, 5),
            activity("call", Some("no-response"), 5),
            activity("form-submission", None, 40),
        ];
        assert_eq!(behavior(done), 15 + 8 + 6);
        assert_eq!(behavior([activity("meeting", None, 91)]), 0);
        assert_eq!(behavior([activity("meeting", None, 0); 9]), 50);
    }

    #[test]
    fn who_it_is_counts_as_the_rules_say() {
        let criterion = |met: bool, weight: i64| json!({ "criterion": "c", "met": met, "weight": weight });
        let by_criteria = json!({ "company": "x", "scoring": { "qualificationCriteria":
            [criterion(true, 10), criterion(false, 5), criterion(true, 5)] } });
        assert_eq!(demographic(&lead(by_criteria)), 37);
        let all = json!({ "company": "x", "jobTitle": "y", "phone": "1",
            "interests": { "budget": { "range": "over-50k", "timeframe": "immediate" } } });
        assert_eq!(demographic(&lead(all)), 50);
        assert_eq!(demographic(&lead(json!({ "company": " " }))), 0);
        assert_eq!((level(39), level(40), level(69), level(70)), ("cold", "warm", "warm", "hot"));
    }

    #[test]
    fn the_prediction_is_as_the_rules_say() {
        let known = json!({ "priority": "high", "company": "x", "source": "website",
            "lastActivityAt": "2026-11-21T09:00:00.000Z" });
        assert_eq!(prediction(&lead(known)), 9500);
        assert_eq!(prediction(&lead(json!({}))), 5000);
    }
}
