//! What happens in a business, as records say it, and the events by which it is told (MSG-01, MSG-03). One table: a line
//! for each event that follows from what a record says.

use crate::business::CAMPAIGN;
use crate::business::campaign::is_overspent;
use crate::data::Value;
use crate::people::RECOGNITION;

/// The names of events that are told as messages of type system (MSG-03), and, as the last, what CMP-05 has to be told by.
pub const EVENTS: [&str; 29] = [
    "inventory.updated",
    "inventory.low",
    "payment.captured",
    "payment.failed",
    "payment.refunded",
    "order.placed",
    "order.shipped",
    "order.completed",
    "appointment.booked",
    "appointment.cancelled",
    "form.submitted",
    "lead.created",
    "lead.scored",
    "opportunity.created",
    "opportunity.won",
    "opportunity.lost",
    "member.joined",
    "member.left",
    "recognition.awarded",
    "guardian_angel.assigned",
    "token.confirmed",
    "agent.decision",
    "job.completed",
    "job.failed",
    "tenant.provisioned",
    "tenant.migrated",
    "node.degraded",
    "node.recovered",
    "campaign.overspent",
];

/// What makes an event of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// That there is one.
    Made,
    /// That a field has one of these values.
    Is(&'static str, &'static [&'static str]),
    /// That an object says when it happened: a step that is soon followed by the next is told all the same.
    Since(&'static str, &'static str),
    /// That the campaign has spent more than it has (CMP-05).
    Overspent,
}

/// A line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Happening {
    /// The collection of the record.
    pub collection: &'static str,
    /// What makes the event.
    pub when: When,
    /// Its name.
    pub event: &'static str,
    /// The department that it is for.
    pub department: &'static str,
}

const fn happening(collection: &'static str, when: When, event: &'static str, department: &'static str) -> Happening {
    Happening { collection, when, event, department }
}

const ORDER: &str = "co.kendev.business.order";
const APPOINTMENT: &str = "co.kendev.business.appointment";
const OPPORTUNITY: &str = "co.kendev.business.opportunity";
const JOB: &str = "co.kendev.agents.job";

/// The table.
pub const HAPPENINGS: &[Happening] = &[
    happening(ORDER, When::Made, "order.placed", "sales"),
    happening(ORDER, When::Since("paymentDetails", "paymentProcessedAt"), "payment.captured", "finance"),
    happening(ORDER, When::Is("paymentStatus", &["failed"]), "payment.failed", "finance"),
    happening(ORDER, When::Is("paymentStatus", &["refunded", "partially_refunded"]), "payment.refunded", "finance"),
    happening(ORDER, When::Since("fulfillment", "shippedAt"), "order.shipped", "operations"),
    happening(ORDER, When::Is("status", &["completed"]), "order.completed", "sales"),
    happening(APPOINTMENT, When::Made, "appointment.booked", "operations"),
    happening(APPOINTMENT, When::Is("status", &["cancelled"]), "appointment.cancelled", "operations"),
    happening("co.kendev.content.formSubmission", When::Made, "form.submitted", "marketing"),
    happening("co.kendev.business.lead", When::Made, "lead.created", "sales"),
    happening(OPPORTUNITY, When::Made, "opportunity.created", "sales"),
    happening(OPPORTUNITY, When::Is("stage", &["closed-won"]), "opportunity.won", "sales"),
    happening(OPPORTUNITY, When::Is("stage", &["closed-lost"]), "opportunity.lost", "sales"),
    happening(CAMPAIGN, When::Overspent, "campaign.overspent", "marketing"),
    happening("co.kendev.agents.insight", When::Made, "agent.decision", "operations"),
    happening(RECOGNITION, When::Made, "recognition.awarded", "people"),
    happening(JOB, When::Is("status", &["COMPLETED"]), "job.completed", "operations"),
    happening(JOB, When::Is("status", &["FAILED"]), "job.failed", "operations"),
];

/// Whether records of a collection make events.
#[must_use]
pub fn makes_events(collection: &str) -> bool {
    HAPPENINGS.iter().any(|line| line.collection == collection)
}

/// The events that follow from what a record says now, whether or not they were told before.
pub fn happenings<'r>(collection: &'r str, record: &'r Value) -> impl Iterator<Item = &'static Happening> + 'r {
    HAPPENINGS.iter().filter(move |line| line.collection == collection).filter(|line| match line.when {
        When::Made => true,
        When::Is(field, values) => {
            record.get(field).and_then(Value::as_str).is_some_and(|found| values.contains(&found))
        }
        When::Since(object, field) => record.get(object).and_then(|object| object.get(field)).is_some(),
        When::Overspent => is_overspent(record),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::data::record_from_json;
    use crate::lexicon::Schemas;
    use crate::lexicon::flags::Flags;

    #[test]
    fn every_line_is_of_a_collection_and_an_event_that_there_are() {
        for line in HAPPENINGS {
            assert!(EVENTS.contains(&line.event), "{}", line.event);
            assert!(Schemas::builtin().record(line.collection).is_some(), "{}", line.collection);
            assert!(Flags::builtin().collection(line.collection).is_some(), "{}", line.collection);
        }
    }

    #[test]
    fn a_record_makes_the_events_of_what_it_says() {
        let names = |record: serde_json::Value| {
            let record = record_from_json(&record).expect("a record");
            happenings(ORDER, &record).map(|line| line.event).collect::<Vec<_>>()
        };
        assert_eq!(names(json!({ "status": "pending", "paymentStatus": "pending" })), ["order.placed"]);
        let at = "2026-11-21T09:00:00.000Z";
        let paid = json!({ "status": "delivered", "paymentStatus": "captured",
            "paymentDetails": { "paymentProcessedAt": at }, "fulfillment": { "shippedAt": at } });
        assert_eq!(names(paid), ["order.placed", "payment.captured", "order.shipped"]);
        assert!(!makes_events("co.kendev.spaces.message"), "telling of an event makes none");
    }
}
