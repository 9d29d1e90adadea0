//! Agents: their jobs, what they find out, whom they talk to.

use super::{Draft, text};
use crate::data::Value;
use crate::rules::Refused;

/// JOB-01: when a job was first begun and when it came to an end, and who asked for it.
pub(in crate::rules) fn job(draft: &mut Draft<'_>) -> Result<(), Refused> {
    draft.initially(&["status"], text("PENDING"));
    draft.initially(&["attempts"], Value::Integer(0));
    draft.first_author("createdBy");
    let status = draft.text("status").unwrap_or_default().to_owned();
    draft.since(&["startedAt"], status == "IN_PROGRESS", false);
    draft.since(&["completedAt"], matches!(status.as_str(), "COMPLETED" | "FAILED" | "CANCELLED"), true);
    Ok(())
}

/// AGT-02: how sure an insight is, its type says.
pub(in crate::rules) fn insight(draft: &mut Draft<'_>) -> Result<(), Refused> {
    let confidence = match draft.text("type") {
        Some("stale_leads") => Some(9000),
        Some("low_content_output") => Some(8000),
        Some("task_backlog") => Some(8500),
        _ => None,
    };
    if let Some(confidence) = confidence {
        draft.set(&["confidence"], Value::Integer(confidence));
    }
    draft.since(&["runAt"], true, false);
    Ok(())
}

/// SLF-07: when the backup of its personality became what it is.
pub(in crate::rules) fn agent_settings(draft: &mut Draft<'_>) -> Result<(), Refused> {
    let backup = draft.at(&["personalityBackup"]);
    match (backup, draft.had(&["personalityBackup"])) {
        (None, _) => draft.unset(&["backedUpAt"]),
        (Some(now), Some(had)) if *now == had => draft.since(&["backedUpAt"], true, false),
        (Some(_), _) => {
            let now = draft.now();
            draft.set(&["backedUpAt"], now);
        }
    }
    Ok(())
}

pub(in crate::rules) fn web_chat_session(draft: &mut Draft<'_>) -> Result<(), Refused> {
    draft.initially(&["status"], text("open"));
    let closed = draft.text("status") == Some("closed");
    draft.since(&["startedAt"], true, false);
    draft.since(&["endedAt"], closed, false);
    Ok(())
}
