//! Figures: what the node knows of a record that stands in no record and is computed when somebody asks for it
//! (`records.md` 1.2 and 12, "view only").
//!
//! A figure follows from the record and from what was counted in others ([`Counts`]); which collection has which, the
//! table says ([`super::Rule::figures`]). What cannot be computed is absent, as is what divides by nothing or by what was
//! not counted: no figure pretends to be a measurement.
//!
//! Nothing counts how often pages, posts and products are seen, for a node serves no pages to visitors; nor who
//! comes to events, nor what was posted elsewhere. Which figures nothing computes stands by name in the list `UNCOUNTED`
//! of this room's tests.

use super::table;
use crate::data::{Map, Value};
use crate::people::karma::is_angel;

/// Computes the figures of one collection's records, as an object that lies beside the record in its view.
pub type Figures = fn(&Value, &Counts) -> Map;

/// What was counted in other records. What was not, or not to its end, is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The tasks of a project.
    pub tasks: Option<u64>,
    /// Those of them that are done.
    pub tasks_done: Option<u64>,
    /// The votes of a roadmap feature, with their weights.
    pub votes: Option<u64>,
    /// How often a form was filled in.
    pub submissions: Option<u64>,
    /// How long the last hundred who filled it in took on average, in seconds, as far as that is known of any.
    pub completion_seconds: Option<u64>,
    /// How often a form was asked for by people who are not the business's own, since that is counted.
    pub views: Option<u64>,
    /// How often it was filled in since then.
    pub views_answered: Option<u64>,
    /// The karma of a person, in the business in which it is asked for.
    pub karma: Option<u64>,
    /// Minutes that were entered for a task, or for all tasks of a project.
    pub minutes: Option<u64>,
}

/// The figures of a record; empty for a collection that has none.
#[must_use]
pub fn figures(collection: &str, record: &Value, counts: &Counts) -> Map {
    table::of(collection).and_then(|rule| rule.figures).map(|figures| figures(record, counts)).unwrap_or_default()
}

/// One hundred per cent, in basis points.
const WHOLE: i64 = 10_000;

/// CMP-01 to CMP-04. Rates beyond one hundred per cent are of figures that contradict each other, and absent.
pub(super) fn campaign(record: &Value, _: &Counts) -> Map {
    let metric = |name: &str| record.get("metrics")?.get(name)?.as_integer();
    let spent = record.get("budget").and_then(|budget| budget.get("spentBudget")).and_then(Value::as_integer);
    let spent = Some(spent.unwrap_or(0));
    let rate = |part, whole| share(part, whole, WHOLE).filter(|rate| *rate <= WHOLE);
    object(
        "metrics",
        [
            ("clickThroughRate", rate(metric("clicks"), metric("impressions"))),
            ("conversionRate", rate(metric("conversions"), metric("clicks"))),
            ("returnOnAdSpend", share(metric("revenue"), spent, 100)),
            ("costPerLead", rounded(spent, metric("leads"))),
        ],
    )
}

/// PRJ-01.
pub(super) fn project(record: &Value, counts: &Counts) -> Map {
    let completed = record.get("status").and_then(Value::as_str) == Some("completed");
    let (total, done) = (whole(counts.tasks), whole(counts.tasks_done));
    let percentage = if completed { Some(100) } else { percentage(done, total) };
    object(
        "progress",
        [
            ("completionPercentage", percentage),
            ("tasksTotal", total),
            ("tasksCompleted", done),
            ("minutesActual", whole(counts.minutes)),
        ],
    )
}

/// TSK-01: the sum of the time entries.
pub(super) fn task(_: &Value, counts: &Counts) -> Map {
    object("timeTracking", [("actualMinutes", whole(counts.minutes))])
}

/// RMP-01 and RMP-04.
pub(super) fn roadmap_feature(record: &Value, counts: &Counts) -> Map {
    let milestones = match record.get("progress").and_then(|progress| progress.get("milestones")) {
        Some(Value::List(milestones)) => milestones.as_slice(),
        _ => &[],
    };
    let done = milestones.iter().filter(|one| one.get("completed") == Some(&Value::Bool(true))).count();
    let percentage = percentage(whole(Some(done as u64)), whole(Some(milestones.len() as u64)));
    let mut figures = object("voting", [("votes", whole(counts.votes))]);
    figures.extend(object("progress", [("completionPercentage", percentage)]));
    figures
}

/// FRM-03. By how many a form was begun nobody counts. The rate is of what was counted together: submissions are deleted
/// in time, and some were there before views were counted. Where more answer a form than ask for it, a page has kept the
/// questions, and what was counted says nothing about them all.
pub(super) fn form_settings(_: &Value, counts: &Counts) -> Map {
    let (views, answered) = (whole(counts.views), whole(counts.views_answered));
    object(
        "analytics",
        [
            ("views", views),
            ("submissions", whole(counts.submissions)),
            ("conversionRate", share(answered, views, WHOLE).filter(|rate| *rate <= WHOLE)),
            ("averageCompletionTime", whole(counts.completion_seconds)),
        ],
    )
}

/// KAR-01 and KAR-03. Who is told of it is for whoever answers (KAR-04).
pub(super) fn profile(_: &Value, counts: &Counts) -> Map {
    let mut figures = object("karma", [("score", whole(counts.karma))]);
    if let (Some(Value::Map(karma)), Some(score)) = (figures.get_mut("karma"), counts.karma) {
        karma.insert("guardianAngelStatus".to_owned(), Value::Bool(is_angel(score)));
    }
    figures
}

/// Of `part` in `whole` as many hundredths as are done, 0 where there is nothing to do (PRJ-01, RMP-04).
fn percentage(part: Option<i64>, whole: Option<i64>) -> Option<i64> {
    if whole == Some(0) { Some(0) } else { share(part, whole, 100) }
}

/// `scale` times `part` by `whole`, rounded down.
fn share(part: Option<i64>, whole: Option<i64>, scale: i64) -> Option<i64> {
    let (part, whole) = (part?, whole.filter(|whole| *whole > 0)?);
    i64::try_from(i128::from(part) * i128::from(scale) / i128::from(whole)).ok()
}

/// `part` by `whole`, rounded half up.
fn rounded(part: Option<i64>, whole: Option<i64>) -> Option<i64> {
    let (part, whole) = (i128::from(part?), i128::from(whole.filter(|whole| *whole > 0)?));
    i64::try_from((2 * part + whole) / (2 * whole)).ok()
}

fn whole(count: Option<u64>) -> Option<i64> {
    count.and_then(|count| i64::try_from(count).ok())
}

/// An object of those figures that there are, under its name; nothing without any.
fn object<const N: usize>(name: &str, figures: [(&str, Option<i64>); N]) -> Map {
    let known = figures.into_iter().filter_map(|(name, figure)| Some((name.to_owned(), Value::Integer(figure?))));
    let known: Map = known.collect();
    if known.is_empty() { Map::new() } else { Map::from([(name.to_owned(), Value::Map(known))]) }
}
