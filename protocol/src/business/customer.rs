//! Members of a business as its customers (CRM-01, CRM-02): what happened with each on the way to a purchase, and how
//! close a customer they are. There is one record for each person and business; how it is named, ADR 037 says.

use std::time::Duration;

use crate::business::{APPOINTMENT, FORM_SUBMISSION, ORDER};
use crate::data::{Map, Value};
use crate::ids::{Datetime, Did, RecordKey};
use crate::time::Timestamp;

/// Events that one record holds (CRM-01). The oldest make room.
pub const EVENTS_MAX: usize = 500;

/// The names of events.
const ORDER_CAPTURED: &str = "order.captured";
const APPOINTMENT_COMPLETED: &str = "appointment.completed";
const FORM_SUBMITTED: &str = "form.submitted";

/// From how many captured orders within [`VIP_WITHIN`] on somebody is a VIP (CRM-02).
const VIP_ORDERS: usize = 10;

/// Or from how much paid within that time, in cents of [`VIP_CURRENCY`]. There is no rate between currencies, so what was
/// paid in another one counts as an order alone.
const VIP_AMOUNT: i64 = 100_000;
const VIP_CURRENCY: &str = "USD";

/// Twelve months.
const VIP_WITHIN: Duration = Duration::from_hours(365 * 24);

/// The object of a record in which all of it is.
const CRM: &str = "crmData";

/// How close a customer somebody is (CRM-02).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// Nothing is known.
    Prospect,
    /// A lead has their account.
    Lead,
    /// They paid once.
    Customer,
    /// They paid often, or much.
    Vip,
}

impl Tier {
    /// Its name in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prospect => "prospect",
            Self::Lead => "lead",
            Self::Customer => "customer",
            Self::Vip => "vip",
        }
    }

    /// The tier of a name; `None` for a word that a business made up.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Prospect, Self::Lead, Self::Customer, Self::Vip].into_iter().find(|tier| tier.name() == name)
    }
}

/// A step on the way to a purchase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Which.
    pub name: &'static str,
    /// When.
    pub at: Timestamp,
    /// What was paid, in minor units, and the currency.
    pub value: Option<(i64, String)>,
    /// The URI of the record that says so. It makes the event once.
    pub subject: String,
}

/// What a record says of one person as a customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Of whom.
    pub person: Did,
    /// What happened, if something did.
    pub event: Option<Event>,
    /// Whether they paid, which makes a customer of them also before anything happened.
    pub paid: bool,
}

/// The collections whose records [`said`] reads.
pub const SAYING: [&str; 3] = [ORDER, APPOINTMENT, FORM_SUBMISSION];

/// What a record of the business, at `uri`, says of its customers: an order of who placed it, an appointment of those who
/// came, what was filled in of whoever filled it in. An appointment whose end is still to come was over when it was seen.
#[must_use]
pub fn said(collection: &str, uri: &str, record: &Value, now: Timestamp) -> Vec<Said> {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let person = |value: Option<&Value>| value.and_then(Value::as_str)?.parse::<Did>().ok();
    let event = |name, at: Option<&Value>, value| Event {
        name,
        at: moment(at).unwrap_or(now).min(now),
        value,
        subject: uri.to_owned(),
    };
    match collection {
        ORDER => {
            let captured = record.get("paymentDetails").and_then(|details| details.get("paymentProcessedAt"));
            let amount = record.get("totalAmount").and_then(Value::as_integer);
            let event = captured.map(|at| event(ORDER_CAPTURED, Some(at), amount.zip(text(record.get("currency")))));
            let person = person(record.get("customer"));
            person.map(|person| Said { person, paid: event.is_some(), event }).into_iter().collect()
        }
        APPOINTMENT => {
            let Some(Value::List(attendees)) = record.get("attendees") else { return vec![] };
            let pay = record.get("payment");
            let says = |field: &str| pay.and_then(|pay| pay.get(field));
            // Who of several paid is not said.
            let paid = attendees.len() == 1 && says("paymentStatus").and_then(Value::as_str) == Some("paid");
            let amount = says("amount").and_then(Value::as_integer).zip(text(says("currency"))).filter(|_| paid);
            let is_over = record.get("status").and_then(Value::as_str) == Some("completed");
            let event = is_over.then(|| event(APPOINTMENT_COMPLETED, record.get("endTime"), amount));
            let people = attendees.iter().filter_map(|attendee| person(Some(attendee)));
            people.map(|person| Said { person, event: event.clone(), paid }).collect()
        }
        FORM_SUBMISSION => {
            let event = Some(event(FORM_SUBMITTED, record.get("submittedAt"), None));
            let person = person(record.get("submitter"));
            person.map(|person| Said { person, event, paid: false }).into_iter().collect()
        }
        _ => vec![],
    }
}

/// The key of the record about a person: their DID, with a tilde for each percent sign, which keys may not have. `None`
/// for a DID that is longer than keys are.
#[must_use]
pub fn key(person: &Did) -> Option<RecordKey> {
    person.as_str().replace('%', "~").parse().ok()
}

/// The person whom a key names; `None` for a key that names nobody.
#[must_use]
pub fn person(key: &RecordKey) -> Option<Did> {
    key.as_str().replace('~', "%").parse().ok()
}

/// A record about a person of whom nothing is known yet.
#[must_use]
pub fn new_record(tenant: &Did, key: &RecordKey, now: Timestamp) -> Map {
    let membership = format!("at://{tenant}/co.kendev.spaces.membership/{key}");
    Map::from([
        ("membership".to_owned(), Value::String(membership)),
        ("createdAt".to_owned(), Value::String(now.to_string())),
    ])
}

/// Adds what happened to a record, each thing once however often it is told, and moves the last interaction on. What an
/// event brought is filled in when it is told later. Answers with the events that had to make room, the oldest first.
#[must_use = "what makes room goes into the audit log"]
pub fn add(record: &mut Map, mut events: Vec<Event>) -> Vec<Value> {
    events.sort_by_key(|event| event.at);
    // What would make room at once is not added.
    events.drain(..events.len().saturating_sub(EVENTS_MAX));
    let crm = crm_of(record);
    let had = match crm.get("conversionEvents") {
        Some(Value::List(had)) => had.clone(),
        _ => vec![],
    };
    let mut list: Vec<(bool, Value)> = had.into_iter().map(|event| (false, event)).collect();
    for event in events {
        let is_it = |known: &Value| {
            let says = |field: &str| known.get(field).and_then(Value::as_str);
            says("event") == Some(event.name) && says("subject") == Some(&event.subject)
        };
        match list.iter_mut().find(|(_, known)| is_it(known)) {
            Some((_, Value::Map(known))) => {
                if let (false, Some(value)) = (known.contains_key("value"), money(&event)) {
                    known.insert("value".to_owned(), value);
                }
            }
            Some(_) => {}
            // Before those of the same moment: of a list that is full, what is told again makes room first.
            None => {
                let place = list.partition_point(|(_, known)| moment(known.get("timestamp")) < Some(event.at));
                list.insert(place, (true, written(&event)));
            }
        }
    }
    let excess = list.len().saturating_sub(EVENTS_MAX);
    let gone = list.drain(..excess).filter(|(is_new, _)| !is_new).map(|(_, event)| event).collect();
    let newest = list.last().and_then(|(_, event)| moment(event.get("timestamp")));
    if let Some(newest) = newest.filter(|newest| moment(crm.get("lastInteraction")) < Some(*newest)) {
        crm.insert("lastInteraction".to_owned(), Value::String(newest.to_string()));
    }
    if !list.is_empty() {
        let list = list.into_iter().map(|(_, event)| event).collect();
        crm.insert("conversionEvents".to_owned(), Value::List(list));
    }
    gone
}

/// Whether anything was noted in a record: staff may have begun it.
#[must_use]
pub fn has_events(record: &Map) -> bool {
    matches!(record.get(CRM).and_then(|crm| crm.get("conversionEvents")), Some(Value::List(events)) if !events.is_empty())
}

/// Notes the score of the lead that has the person's account, or that there is no such lead.
pub fn set_score(record: &mut Map, score: Option<i64>) {
    match score {
        Some(score) => drop(crm_of(record).insert("leadScore".to_owned(), Value::Integer(score))),
        None => {
            if let Some(Value::Map(crm)) = record.get_mut(CRM) {
                crm.remove("leadScore");
            }
        }
    }
}

/// The score that stands in a record.
#[must_use]
pub fn score(record: &Map) -> Option<i64> {
    record.get(CRM)?.get("leadScore")?.as_integer()
}

/// Notes that the person paid, unless staff set their tier by hand.
pub fn note_paid(record: &mut Map) {
    let crm = crm_of(record);
    let tier = crm.get("customerTier").and_then(Value::as_str).and_then(Tier::from_name);
    if !crm.contains_key("tierSetBy") && tier < Some(Tier::Customer) {
        crm.insert("customerTier".to_owned(), Value::String(Tier::Customer.name().to_owned()));
    }
}

/// The tier that follows from what a record says (CRM-02). Who was a customer or a VIP, `before`, stays that: events make
/// room, and what was paid is not unpaid. Whoever is a lead or a prospect is what they are now.
#[must_use]
pub fn tier(crm: Option<&Value>, before: Option<Tier>) -> Tier {
    let events = match crm.and_then(|crm| crm.get("conversionEvents")) {
        Some(Value::List(events)) => events.as_slice(),
        _ => &[],
    };
    let is_lead = crm.is_some_and(|crm| crm.get("leadScore").is_some());
    let paid: Vec<_> = events.iter().filter_map(Paid::read).collect();
    let now = match (paid.is_empty(), is_lead) {
        (false, _) if is_vip(&paid) => Tier::Vip,
        (false, _) => Tier::Customer,
        (true, true) => Tier::Lead,
        (true, false) => Tier::Prospect,
    };
    before.filter(|before| *before >= Tier::Customer).map_or(now, |before| before.max(now))
}

/// What was paid.
#[derive(Clone, Copy)]
struct Paid {
    at: Timestamp,
    is_order: bool,
    /// In cents of [`VIP_CURRENCY`].
    amount: i64,
}

impl Paid {
    fn read(event: &Value) -> Option<Self> {
        let is_order = event.get("event").and_then(Value::as_str) == Some(ORDER_CAPTURED);
        let value = event.get("value");
        let amount = value.filter(|value| value.get("currency").and_then(Value::as_str) == Some(VIP_CURRENCY));
        let amount = amount.and_then(|value| value.get("amount")).and_then(Value::as_integer).unwrap_or(0);
        let at = moment(event.get("timestamp"))?;
        (is_order || value.is_some()).then_some(Self { at, is_order, amount })
    }
}

/// Whether there is a time of twelve months, ending with one of the payments, in which they are often or much enough. They
/// come in the order of their times.
fn is_vip(paid: &[Paid]) -> bool {
    (1..=paid.len()).any(|end| {
        let last = paid[end - 1].at;
        let within = paid[..end].iter().rev().take_while(|one| last.since(one.at) < VIP_WITHIN);
        let (orders, amount) = within.fold((0, 0_i64), |(orders, amount), one| {
            (orders + usize::from(one.is_order), amount.saturating_add(one.amount))
        });
        orders >= VIP_ORDERS || amount >= VIP_AMOUNT
    })
}

fn crm_of(record: &mut Map) -> &mut Map {
    let crm = record.entry(CRM.to_owned()).or_insert_with(|| Value::Map(Map::new()));
    if !matches!(crm, Value::Map(_)) {
        *crm = Value::Map(Map::new());
    }
    match crm {
        Value::Map(crm) => crm,
        _ => unreachable!("it was made one just now"),
    }
}

fn moment(value: Option<&Value>) -> Option<Timestamp> {
    value?.as_str()?.parse::<Datetime>().ok()?.timestamp()
}

fn money(event: &Event) -> Option<Value> {
    let (amount, currency) = event.value.as_ref()?;
    let money = [("amount", Value::Integer(*amount)), ("currency", Value::String(currency.clone()))];
    Some(Value::Map(money.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()))
}

fn written(event: &Event) -> Value {
    let text = |text: &str| Value::String(text.to_owned());
    let mut written = Map::from([
        ("event".to_owned(), text(event.name)),
        ("timestamp".to_owned(), text(&event.at.to_string())),
        ("subject".to_owned(), text(&event.subject)),
    ]);
    written.extend(money(event).map(|money| ("value".to_owned(), money)));
    Value::Map(written)
}

#[cfg(test)]
mod tests;
