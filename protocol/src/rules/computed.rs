//! Fields that the node computes: from the record itself, from what was there before, and from who writes when.
//!
//! What takes more than that (stock, payments, scores over activities) is written by the procedures that know it; a
//! plain write keeps what is there.

use super::{Facts, Refused, Write, pointer};
use crate::business::lead::scoring;
use crate::business::revenue;
use crate::data::{Map, Value};
use crate::lexicon::flags::{Collection, FieldPath};
use crate::rules::By;

/// Fills in what one collection's records compute.
pub type Fill = fn(&mut Draft<'_>) -> Result<(), Refused>;

/// A record on its way.
pub struct Draft<'a> {
    record: &'a mut Value,
    before: Option<&'a Value>,
    write: &'a Write<'a>,
    facts: &'a Facts,
}

/// The field that every record has (`records.md` 1.4).
const UPDATED_AT: &str = "updatedAt";

/// Refuses computed fields that a client made up, and writes the true ones.
pub(super) fn complete(
    write: &Write<'_>,
    rules: &Collection,
    record: &mut Value,
    before: Option<&Value>,
    facts: &Facts,
) -> Result<(), Refused> {
    if let Some(field) = rules.view_only.iter().find(|field| !field.find(record).is_empty()) {
        return Err(Refused::Computed { path: pointer(field) });
    }
    let claimed = record.clone();
    if write.by == By::Client {
        for field in &rules.node_written {
            restore(record, before, field);
        }
    }
    let mut draft = Draft { record, before, write, facts };
    if let Some(fill) = super::table::of(write.collection.as_str()).and_then(|rule| rule.fill) {
        fill(&mut draft)?;
    }
    draft.touch();
    if write.by != By::Client {
        return Ok(());
    }
    let made_up = rules.node_written.iter().find(|field| {
        let claimed = field.find(&claimed);
        let is_before = before.is_some_and(|before| claimed == field.find(before));
        !claimed.is_empty() && !is_before && claimed != field.find(&*record)
    });
    made_up.map_or(Ok(()), |field| Err(Refused::Computed { path: pointer(field) }))
}

/// Puts a field back to what it was before; what was not there is taken away.
fn restore(record: &mut Value, before: Option<&Value>, field: &FieldPath) {
    let steps: Vec<_> = field.steps().collect();
    remove(record, &steps);
    if steps.iter().any(|(_, each)| *each) {
        return;
    }
    let old = before.map(|before| field.find(before)).unwrap_or_default();
    if let [old] = old.as_slice() {
        let names: Vec<_> = steps.iter().map(|(name, _)| *name).collect();
        set(record, &names, (*old).clone(), false);
    }
}

fn remove(value: &mut Value, steps: &[(&str, bool)]) {
    let (Some(((name, each), rest)), Value::Map(map)) = (steps.split_first(), value) else { return };
    match (rest.is_empty(), *each) {
        (true, _) => drop(map.remove(*name)),
        (false, false) => {
            if let Some(inner) = map.get_mut(*name) {
                remove(inner, rest);
            }
        }
        (false, true) => {
            if let Some(Value::List(items)) = map.get_mut(*name) {
                items.iter_mut().for_each(|item| remove(item, rest));
            }
        }
    }
}

/// Sets a field. Maps on the way are made if `make` says so; without, a field with no place is not set.
fn set(value: &mut Value, names: &[&str], new: Value, make: bool) {
    let (Some((name, rest)), Value::Map(map)) = (names.split_first(), value) else { return };
    if rest.is_empty() {
        map.insert((*name).to_owned(), new);
        return;
    }
    if make && !map.contains_key(*name) {
        map.insert((*name).to_owned(), Value::Map(Map::new()));
    }
    if let Some(inner) = map.get_mut(*name) {
        set(inner, rest, new, make);
    }
}

impl Draft<'_> {
    fn text(&self, name: &str) -> Option<&str> {
        self.record.get(name)?.as_str()
    }

    fn integer(&self, name: &str) -> i64 {
        self.record.get(name).and_then(Value::as_integer).unwrap_or(0)
    }

    fn had(&self, names: &[&str]) -> Option<Value> {
        names.iter().try_fold(self.before?, |value, name| value.get(name)).cloned()
    }

    fn set(&mut self, names: &[&str], new: Value) {
        set(self.record, names, new, true);
    }

    fn unset(&mut self, names: &[&str]) {
        let steps: Vec<_> = names.iter().map(|name| (*name, false)).collect();
        remove(self.record, &steps);
    }

    fn now(&self) -> Value {
        Value::String(self.write.now.to_string())
    }

    /// Sets a moment when `holds` begins to hold and keeps it from then on; takes it away when it no longer holds and
    /// `forgets`.
    fn since(&mut self, names: &[&str], holds: bool, forgets: bool) {
        match (holds, self.had(names)) {
            (true, had) => {
                let moment = had.unwrap_or_else(|| self.now());
                self.set(names, moment);
            }
            (false, Some(had)) if !forgets => self.set(names, had),
            (false, _) => self.unset(names),
        }
    }

    /// Sets whoever wrote the record first.
    fn first_author(&mut self, name: &str) {
        let author = self.had(&[name]).unwrap_or_else(|| Value::String(self.write.author.to_string()));
        self.set(&[name], author);
    }

    /// A record that was changed says when; one that is as it was keeps what it says, so that it stays the same record.
    fn touch(&mut self) {
        let Some(before) = self.before else { return };
        let without = |value: &Value| {
            let mut value = value.clone();
            remove(&mut value, &[(UPDATED_AT, false)]);
            value
        };
        if without(self.record) == without(before) {
            match before.get(UPDATED_AT) {
                Some(had) => self.set(&[UPDATED_AT], had.clone()),
                None => self.unset(&[UPDATED_AT]),
            }
        } else {
            let now = self.now();
            self.set(&[UPDATED_AT], now);
        }
    }
}

/// The space's identity is that of its tenant, whose handle leads there and back.
pub(super) fn space(draft: &mut Draft<'_>) -> Result<(), Refused> {
    draft.set(&["atProtocol", "did"], Value::String(draft.write.repo.to_string()));
    if let Some(handle) = &draft.facts.handle {
        draft.set(&["atProtocol", "handle"], Value::String(handle.to_string()));
    }
    Ok(())
}

/// `records.md` 11.1: the early type follows from the later one.
pub(super) fn product(draft: &mut Draft<'_>) -> Result<(), Refused> {
    let kind = match draft.text("productType") {
        Some("ai_print_demand" | "physical") => Some("physical"),
        Some("consultation_solo" | "group_event") => Some("booking"),
        Some("livekit_stream" | "digital_download" | "course_training") => Some("digital"),
        Some("subscription") => Some("subscription"),
        Some("business_service" | "automation") => Some("service"),
        _ => None,
    };
    if let Some(kind) = kind {
        draft.set(&["type"], Value::String(kind.to_owned()));
    }
    let published = matches!(draft.text("status"), Some("active" | "out_of_stock"));
    draft.since(&["publishedAt"], published, false);
    Ok(())
}

/// ORD-01: line totals, subtotal, total. Then what follows from where the order stands: when it got there, and how it is
/// shared out (REV-01 to REV-04).
pub(super) fn order(draft: &mut Draft<'_>) -> Result<(), Refused> {
    order_sums(draft)?;
    let says = |draft: &Draft<'_>, words: &[&str]| draft.text("status").is_some_and(|status| words.contains(&status));
    let how = |draft: &Draft<'_>| {
        let how = draft.record.get("fulfillment").and_then(|how| how.get("status"));
        how.and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    draft.since(&["placedAt"], true, false);
    let (completed, cancelled) = (says(draft, &["completed"]), says(draft, &["cancelled"]));
    draft.since(&["completedAt"], completed, false);
    draft.since(&["cancelledAt"], cancelled, false);
    let (shipped, delivered) = (how(draft) == "shipped", how(draft) == "delivered");
    draft.since(&["fulfillment", "shippedAt"], shipped, false);
    draft.since(&["fulfillment", "deliveredAt"], delivered, false);
    order_shares(draft);
    Ok(())
}

fn order_sums(draft: &mut Draft<'_>) -> Result<(), Refused> {
    let too_large = |path: &str| Refused::Amount { path: path.to_owned() };
    let mut subtotal = 0_i64;
    if let Value::Map(map) = &mut *draft.record
        && let Some(Value::List(lines)) = map.get_mut("lineItems")
    {
        for (index, line) in lines.iter_mut().enumerate() {
            let part = |name: &str| line.get(name).and_then(Value::as_integer).unwrap_or(0);
            let path = format!("/lineItems/{index}/totalPrice");
            let total = part("quantity").checked_mul(part("unitPrice")).ok_or_else(|| too_large(&path))?;
            subtotal = subtotal.checked_add(total).ok_or_else(|| too_large("/subtotal"))?;
            set(line, &["totalPrice"], Value::Integer(total), false);
        }
    }
    let discount = draft.integer("discountAmount");
    if discount > subtotal {
        return Err(too_large("/discountAmount"));
    }
    let further = draft.integer("taxAmount").checked_add(draft.integer("shippingAmount"));
    let total = further.and_then(|further| (subtotal - discount).checked_add(further));
    draft.set(&["subtotal"], Value::Integer(subtotal));
    draft.set(&["totalAmount"], Value::Integer(total.ok_or_else(|| too_large("/totalAmount"))?));
    Ok(())
}

/// What is shared out is the order without tax and sending, less what was given back; it is known once it is paid.
fn order_shares(draft: &mut Draft<'_>) {
    let shared = draft.record.get("revenueDistribution").and_then(|shared| shared.get("base"));
    let base = match shared.and_then(Value::as_integer) {
        Some(base) => base,
        None if draft.text("paymentStatus") == Some("captured") => {
            let now = draft.now();
            draft.set(&["paymentDetails", "paymentProcessedAt"], now);
            draft.integer("subtotal") - draft.integer("discountAmount")
        }
        None => return,
    };
    let split = revenue::split(base);
    let parts = [
        ("base", base),
        ("aiPartner", split.ai_partner),
        ("humanPartner", split.human_partner),
        ("platformOperations", split.platform_operations),
        ("justiceFund", split.justice_fund),
    ];
    for (name, part) in parts {
        draft.set(&["revenueDistribution", name], Value::Integer(part));
    }
    draft.set(&["revenueDistribution", "baseKind"], Value::String("order_net".to_owned()));
    if draft.had(&["revenueDistribution", "base"]) != Some(Value::Integer(base)) {
        let now = draft.now();
        draft.set(&["revenueDistribution", "calculatedAt"], now);
    }
    let rate = draft.record.get("commission").and_then(|commission| commission.get("rate"));
    if let Some(rate) = rate.and_then(Value::as_integer) {
        draft.set(&["commission", "amount"], Value::Integer(revenue::take(base, rate)));
    }
}

/// OPP-01 and OPP-02.
pub(super) fn opportunity(draft: &mut Draft<'_>) -> Result<(), Refused> {
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
pub(super) fn task(draft: &mut Draft<'_>) -> Result<(), Refused> {
    draft.first_author("reporter");
    let done = draft.text("status") == Some("done");
    draft.since(&["dates", "completedDate"], done, true);
    Ok(())
}

pub(super) fn project(draft: &mut Draft<'_>) -> Result<(), Refused> {
    let completed = draft.text("status") == Some("completed");
    draft.since(&["dates", "actualEndDate"], completed, true);
    Ok(())
}

pub(super) fn campaign(draft: &mut Draft<'_>) -> Result<(), Refused> {
    let active = draft.text("status") == Some("active");
    draft.since(&["dates", "launchDate"], active, false);
    Ok(())
}

pub(super) fn roadmap_feature(draft: &mut Draft<'_>) -> Result<(), Refused> {
    let completed = draft.text("status") == Some("completed");
    draft.since(&["timeline", "actualCompletion"], completed, true);
    Ok(())
}

/// The number of bays that are in use, so that it cannot contradict their list.
pub(super) fn venue(draft: &mut Draft<'_>) -> Result<(), Refused> {
    let Some(management) = draft.record.get("bayManagement") else { return Ok(()) };
    let bays = match management.get("bays") {
        Some(Value::List(bays)) => bays.as_slice(),
        _ => &[],
    };
    let active = bays.iter().filter(|bay| bay.get("isActive") == Some(&Value::Bool(true))).count();
    draft.set(&["bayManagement", "totalBays"], Value::Integer(i64::try_from(active).unwrap_or(i64::MAX)));
    Ok(())
}

/// LEA-01, LEA-03, LEA-04, LEA-07.
pub(super) fn lead(draft: &mut Draft<'_>) -> Result<(), Refused> {
    let names: Vec<_> = ["firstName", "lastName"].into_iter().filter_map(|name| draft.text(name)).collect();
    if names.is_empty() {
        draft.unset(&["fullName"]);
    } else {
        let full = names.join(" ");
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

/// The file's own digest: its CID says it already, in a form that people compare.
pub(super) fn media(draft: &mut Draft<'_>) -> Result<(), Refused> {
    if let Some(cid) = draft.record.get("file").and_then(|file| file.get("ref")).and_then(Value::as_link) {
        let hex = cid.digest().iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
        draft.set(&["checksum"], Value::String(hex));
    }
    Ok(())
}

pub(super) fn activity(draft: &mut Draft<'_>) -> Result<(), Refused> {
    draft.first_author("user");
    Ok(())
}

pub(super) fn task_comment(draft: &mut Draft<'_>) -> Result<(), Refused> {
    draft.first_author("author");
    Ok(())
}

pub(super) fn time_entry(draft: &mut Draft<'_>) -> Result<(), Refused> {
    draft.first_author("user");
    Ok(())
}

pub(super) fn course(draft: &mut Draft<'_>) -> Result<(), Refused> {
    draft.set(&["creator"], Value::String(draft.write.repo.to_string()));
    Ok(())
}

pub(super) fn connection(draft: &mut Draft<'_>) -> Result<(), Refused> {
    draft.set(&["from"], Value::String(draft.write.repo.to_string()));
    Ok(())
}
