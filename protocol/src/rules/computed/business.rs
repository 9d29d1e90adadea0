//! What a business does besides selling: projects, tasks, campaigns, leads, opportunities, documents, places.

use unicode_segmentation::UnicodeSegmentation;

use super::{Draft, text};
use crate::business::campaign::is_overspent;
use crate::business::customer::{self, Tier};
use crate::business::lead::scoring;
use crate::data::Value;
use crate::rules::Refused;

/// OPP-01 and OPP-02.
pub(in crate::rules) fn opportunity(draft: &mut Draft<'_>) -> Result<(), Refused> {
    let stage = draft.text("stage").unwrap_or_default();
    let probability = match stage {
        "prospecting" => 10,
        "qualification" => 20,
        "needs-analysis" => 40,
        "proposal" => 60,
        "negotiation" => 80,
        "decision" => 90,
        "closed-won" => 100,
        _ => 0,
    };
    let closed = matches!(stage, "closed-won" | "closed-lost");
    draft.set(&["probability"], Value::Integer(probability));
    draft.since(&["dates", "actualCloseDate"], closed, true);
    Ok(())
}

/// TSK-01.
pub(in crate::rules) fn task(draft: &mut Draft<'_>) -> Result<(), Refused> {
    draft.first_author("reporter");
    let done = draft.text("status") == Some("done");
    draft.since(&["dates", "completedDate"], done, true);
    Ok(())
}

pub(in crate::rules) fn project(draft: &mut Draft<'_>) -> Result<(), Refused> {
    let completed = draft.text("status") == Some("completed");
    draft.since(&["dates", "actualEndDate"], completed, true);
    Ok(())
}

/// CMP-05: what has spent more than it has does not go on. Whoever raises the budget may let it go on again.
pub(in crate::rules) fn campaign(draft: &mut Draft<'_>) -> Result<(), Refused> {
    if draft.text("status") == Some("active") && is_overspent(draft.record) {
        draft.set(&["status"], text("paused"));
    }
    let active = draft.text("status") == Some("active");
    draft.since(&["dates", "launchDate"], active, false);
    Ok(())
}

/// The number of bays that are in use, so that it cannot contradict their list.
pub(in crate::rules) fn venue(draft: &mut Draft<'_>) -> Result<(), Refused> {
    let Some(management) = draft.record.get("bayManagement") else { return Ok(()) };
    let bays = match management.get("bays") {
        Some(Value::List(bays)) => bays.as_slice(),
        _ => &[],
    };
    let active = bays.iter().filter(|bay| bay.get("isActive") == Some(&Value::Bool(true))).count();
    draft.set(&["bayManagement", "totalBays"], Value::Integer(i64::try_from(active).unwrap_or(i64::MAX)));
    Ok(())
}

/// The longest full name, in characters (`records.md` 7.10).
const FULL_NAME_MAX: usize = 200;

/// LEA-01, LEA-03, LEA-04, LEA-07.
pub(in crate::rules) fn lead(draft: &mut Draft<'_>) -> Result<(), Refused> {
    // A lead that a form made may have one name, or none.
    let said = ["firstName", "lastName"].into_iter().filter_map(|name| draft.text(name));
    let names: Vec<_> = said.filter(|name| !name.is_empty()).collect();
    if names.is_empty() {
        draft.unset(&["fullName"]);
    } else {
        // Two names as long as names may be, and the space between them, are longer than the field.
        let full: String = names.join(" ").graphemes(true).take(FULL_NAME_MAX).collect();
        draft.set(&["fullName"], Value::String(full));
    }
    // What happened is in other records: whoever tells of it counts it, and a plain write keeps it.
    let behavior = draft.record.get("scoring").and_then(|scoring| scoring.get("behaviorScore"));
    let scoring = scoring(draft.record, behavior.and_then(Value::as_integer).unwrap_or(0));
    for (name, value) in scoring {
        draft.set(&["scoring", &name], value);
    }
    Ok(())
}

/// CRM-02: a tier that somebody writes stays and says who wrote it, until they take it away; every other follows from what
/// happened.
pub(in crate::rules) fn member_crm(draft: &mut Draft<'_>) -> Result<(), Refused> {
    const TIER: [&str; 2] = ["crmData", "customerTier"];
    const SET_BY: [&str; 2] = ["crmData", "tierSetBy"];
    let had = draft.had(&TIER);
    if draft.is_told() {
        match draft.at(&TIER) {
            None => draft.unset(&SET_BY),
            said if said == had.as_ref() => {}
            Some(_) => draft.set(&SET_BY, Value::String(draft.write.author.to_string())),
        }
    }
    if draft.at(&SET_BY).is_some() {
        return Ok(());
    }
    let followed = had.filter(|_| draft.had(&SET_BY).is_none());
    let before = followed.as_ref().into_iter().chain(draft.at(&TIER));
    let before = before.filter_map(|tier| Tier::from_name(tier.as_str()?)).max();
    let tier = customer::tier(draft.at(&["crmData"]), before);
    draft.set(&TIER, text(tier.name()));
    Ok(())
}

pub(in crate::rules) fn activity(draft: &mut Draft<'_>) -> Result<(), Refused> {
    draft.first_author("user");
    Ok(())
}

pub(in crate::rules) fn task_comment(draft: &mut Draft<'_>) -> Result<(), Refused> {
    draft.first_author("author");
    Ok(())
}

pub(in crate::rules) fn time_entry(draft: &mut Draft<'_>) -> Result<(), Refused> {
    draft.first_author("user");
    Ok(())
}

/// A document is of a new version when its file is another.
pub(in crate::rules) fn document(draft: &mut Draft<'_>) -> Result<(), Refused> {
    draft.initially(&["processing", "status"], text("none"));
    let had = draft.had(&["version"]).and_then(|version| version.as_integer());
    let version = match (had, draft.had(&["file"])) {
        (Some(version), file) if file.as_ref() == draft.at(&["file"]) => version,
        (had, _) => had.unwrap_or(0).saturating_add(1),
    };
    draft.set(&["version"], Value::Integer(version));
    Ok(())
}
