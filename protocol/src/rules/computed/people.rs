//! Between people: connections, recognitions, points.

use super::{Draft, text};
use crate::data::Value;
use crate::people::karma;
use crate::rules::Refused;

/// CON-01: whoever makes it is its beginning; a connection that is completed was accepted.
pub(in crate::rules) fn connection(draft: &mut Draft<'_>) -> Result<(), Refused> {
    draft.set(&["from"], Value::String(draft.write.repo.to_string()));
    draft.initially(&["status"], text("initiated"));
    let status = draft.text("status").unwrap_or_default().to_owned();
    draft.since(&["acceptedAt"], matches!(status.as_str(), "accepted" | "completed"), false);
    draft.since(&["completedAt"], status == "completed", false);
    draft.since(&["declinedAt"], status == "declined", false);
    Ok(())
}

/// KAR-02. One that says what is odd about it counts nothing.
pub(in crate::rules) fn recognition(draft: &mut Draft<'_>) -> Result<(), Refused> {
    let worth = draft.text("type").and_then(karma::points).filter(|_| draft.text("anomaly").is_none());
    let points = worth.and_then(|points| i64::try_from(points).ok()).unwrap_or(0);
    draft.set(&["points"], Value::Integer(points));
    draft.first_author("awardedBy");
    draft.since(&["awardedAt"], true, false);
    Ok(())
}

/// PTS-01. An entry that takes points back, or that a recognition brought, says itself how many.
pub(in crate::rules) fn points_entry(draft: &mut Draft<'_>) -> Result<(), Refused> {
    let row = match draft.text("action") {
        Some("respond_ask" | "beta_test") => Some((15, "giving")),
        Some("complete_help") => Some((25, "giving")),
        Some("helpful_rating") => Some((20, "giving")),
        Some("give_feedback") => Some((10, "giving")),
        Some("ask_responded") => Some((5, "receiving")),
        Some("add_offer") => Some((10, "building")),
        Some("complete_onboarding") => Some((25, "community")),
        _ => None,
    };
    if let Some((points, category)) = row {
        draft.initially(&["points"], Value::Integer(points));
        draft.set(&["category"], text(category));
    }
    draft.since(&["at"], true, false);
    Ok(())
}
