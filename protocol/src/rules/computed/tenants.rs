//! Tenants: what their plan lets them have, what they have agreed on, and their spaces.

use super::{Draft, text};
use crate::business::revenue;
use crate::data::Value;
use crate::rules::{Refused, Standing};
use crate::tenants::{Feature, Resource};

/// The space's identity is that of its tenant, whose handle leads there and back.
pub(in crate::rules) fn space(draft: &mut Draft<'_>) -> Result<(), Refused> {
    draft.set(&["atProtocol", "did"], Value::String(draft.write.repo.to_string()));
    if let Some(handle) = &draft.facts.handle {
        draft.set(&["atProtocol", "handle"], Value::String(handle.to_string()));
    }
    Ok(())
}

/// What follows from the plan is what the plan gives (USE-03, USE-04), and an agreement is whole (REV-05, REV-06).
pub(in crate::rules) fn settings(draft: &mut Draft<'_>) -> Result<(), Refused> {
    if draft.is_told() {
        check_sharing(draft)?;
    }
    let Some(Standing { allowance, status }) = &draft.facts.standing else { return Ok(()) };
    draft.set(&["settings", "customBranding"], Value::Bool(allowance.has(Feature::Branding)));
    draft.set(&["subscription", "plan"], text(allowance.plan.settings_name()));
    draft.set(&["status"], text(status.public_name()));
    let limits = [
        ("maxUsers", Resource::Users),
        ("maxSpaces", Resource::Spaces),
        ("maxStorage", Resource::Storage),
        ("maxApiCalls", Resource::ApiCalls),
    ];
    for (name, resource) in limits {
        match allowance.limit(resource) {
            Some(limit) => draft.set(&["limits", name], Value::Integer(i64::try_from(limit).unwrap_or(i64::MAX))),
            None => draft.unset(&["limits", name]),
        }
    }
    Ok(())
}

fn check_sharing(draft: &Draft<'_>) -> Result<(), Refused> {
    let rate = draft.at(&["revenueSharing", "defaultRate"]).and_then(Value::as_integer);
    if rate.is_some_and(|rate| !(revenue::RATE_MIN..=revenue::RATE_MAX).contains(&rate)) {
        let path = "/revenueSharing/defaultRate".to_owned();
        return Err(Refused::Rate { path, least: revenue::RATE_MIN, most: revenue::RATE_MAX });
    }
    let agreed = matches!(draft.text_at(&["revenueSharing", "agreementType"]), Some("negotiated" | "performance"));
    let contract = draft.text_at(&["revenueSharing", "contractId"]).is_some_and(|id| !id.trim().is_empty());
    if agreed && !contract {
        return Err(Refused::NoContract { path: "/revenueSharing/contractId".to_owned() });
    }
    Ok(())
}

/// The operator's file on a tenant: when it was first active.
pub(in crate::rules) fn management(draft: &mut Draft<'_>) -> Result<(), Refused> {
    let active = draft.text("status") == Some("active");
    draft.since(&["provisioning", "provisionedAt"], active, false);
    Ok(())
}
