//! Files, forms, courses and the roadmap.

use std::time::Duration;

use super::{Draft, referred, text};
use crate::data::Value;
use crate::forms::{self, FORM};
use crate::ids::{AtUri, Datetime, RepoPath};
use crate::lexicon::Schemas;
use crate::rules::Refused;
use crate::time::Timestamp;
use crate::webhooks::target_flaw;

/// The collection of features of the roadmap.
const FEATURE: &str = "co.kendev.content.roadmapFeature";

/// RMP-04: when the feature was completed.
pub(in crate::rules) fn roadmap_feature(draft: &mut Draft<'_>) -> Result<(), Refused> {
    let completed = draft.text("status") == Some("completed");
    draft.since(&["timeline", "actualCompletion"], completed, true);
    Ok(())
}

/// The feature that is voted for.
pub(in crate::rules) fn feature_of(record: &Value) -> Vec<String> {
    record.get("feature").and_then(Value::as_str).map(str::to_owned).into_iter().collect()
}

/// RMP-01: a vote is cast while the feature takes votes; taken back it may be at any time. A feature that nobody can be asked
/// about now refuses nothing: whoever holds it knows whether it takes votes when they count.
pub(in crate::rules) fn roadmap_vote(draft: &mut Draft<'_>) -> Result<(), Refused> {
    let refused = |why| Err(Refused::Vote { path: "/feature".to_owned(), why });
    let Some(uri) = draft.text("feature").filter(|_| draft.is_told()) else { return Ok(()) };
    if uri.parse::<AtUri>().ok().and_then(|uri| uri.path()).is_none_or(|path| path.collection.as_str() != FEATURE) {
        return refused("a vote is for a feature of a roadmap");
    }
    let Some(known) = draft.facts.others.get(uri) else { return Ok(()) };
    let Some(feature) = known else { return refused("there is no such feature") };
    let allows = feature.get("voting").and_then(|voting| voting.get("allowVoting")) == Some(&Value::Bool(true));
    match feature.get("status").and_then(Value::as_str) {
        Some("completed" | "cancelled") => {
            refused("the feature is completed or cancelled, and takes no votes any more")
        }
        _ if !allows => refused("the feature takes no votes"),
        _ => Ok(()),
    }
}

/// The file's own digest: its CID says it already, in a form that people compare.
pub(in crate::rules) fn media(draft: &mut Draft<'_>) -> Result<(), Refused> {
    if let Some(cid) = draft.record.get("file").and_then(|file| file.get("ref")).and_then(Value::as_link) {
        let hex = cid.digest().iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
        draft.set(&["checksum"], Value::String(hex));
    }
    Ok(())
}

pub(in crate::rules) fn course(draft: &mut Draft<'_>) -> Result<(), Refused> {
    draft.set(&["creator"], Value::String(draft.write.repo.to_string()));
    Ok(())
}

/// FRM-01: what a form asks can be meant. One that does not fit its lexicon is refused by that.
pub(in crate::rules) fn form(draft: &mut Draft<'_>) -> Result<(), Refused> {
    let fits = || Schemas::builtin().record(FORM).is_some_and(|schema| schema.validate(&*draft.record).is_ok());
    if !draft.is_told() || !fits() {
        return Ok(());
    }
    forms::flaw(draft.record).map_or(Ok(()), |(path, why)| Err(Refused::Question { path, why }))
}

/// FRM-02: what is called with the answers is a URL that can be. Where it leads is looked at when it is called.
pub(in crate::rules) fn form_settings(draft: &mut Draft<'_>) -> Result<(), Refused> {
    let action = draft.record.get("submitAction");
    let says = |field: &str| action.and_then(|action| action.get(field)).and_then(Value::as_str);
    let url = says("destination").filter(|_| says("type") == Some("webhook") && draft.is_told());
    let path = || "/submitAction/destination".to_owned();
    url.and_then(target_flaw).map_or(Ok(()), |why| Err(Refused::Target { path: path(), why }))
}

/// The form that was filled in.
pub(in crate::rules) fn form_of(record: &Value) -> Vec<RepoPath> {
    referred(record, "form", FORM).into_iter().collect()
}

/// FRM-04: as long as the form says that answers are kept.
pub(in crate::rules) fn form_submission(draft: &mut Draft<'_>) -> Result<(), Refused> {
    const DAY: u64 = 24 * 3600;
    draft.since(&["submittedAt"], true, false);
    match (draft.text("status"), draft.text("assignedTo").is_some()) {
        (None, false) => draft.set(&["status"], text("received")),
        (None | Some("received"), true) => draft.set(&["status"], text("assigned")),
        _ => {}
    }
    let path = referred(draft.record, "form", FORM);
    let kept = draft.known(path.as_ref()).and_then(|form| form.get("compliance")?.get("dataRetention")?.as_integer());
    let submitted = draft.text("submittedAt").and_then(|at| at.parse::<Datetime>().ok()?.timestamp());
    if let (Some(days), Some(at)) = (kept.and_then(|days| u64::try_from(days).ok()), submitted)
        && draft.had(&["deleteAfter"]).is_none()
    {
        let kept = Duration::from_secs(days.saturating_mul(DAY));
        let kept = u64::try_from(kept.as_millis()).unwrap_or(u64::MAX);
        // Later than any date that can be written is never.
        if let Some(until) = at.as_millis().checked_add(kept).filter(|until| *until < YEAR_9999) {
            draft.set(&["deleteAfter"], Value::String(Timestamp::from_millis(until).to_string()));
        }
    }
    Ok(())
}

/// The first millisecond of the year 9999: times have four digits for their year.
const YEAR_9999: u64 = 253_370_764_800_000;
