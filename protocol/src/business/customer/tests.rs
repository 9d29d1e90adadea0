use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::data::{record_from_json, to_json};

const DAY: Duration = Duration::from_hours(24);

fn value(json: &Json) -> Value {
    record_from_json(json).expect("data")
}

fn map(json: &Json) -> Map {
    match value(json) {
        Value::Map(map) => map,
        other => panic!("{other:?} is no map"),
    }
}

fn did(name: &str) -> Did {
    format!("did:web:{name}.test").parse().expect("a DID")
}

fn day(days: u32) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000) + DAY * days
}

fn order(number: usize, at: Timestamp, value: Option<(i64, &str)>) -> Event {
    let value = value.map(|(amount, currency)| (amount, currency.to_owned()));
    Event { name: ORDER_CAPTURED, at, value, subject: format!("at://did:web:shop.test/{ORDER}/{number}") }
}

fn events(record: &Map) -> Vec<Json> {
    let events = to_json(&Value::Map(record.clone()))["crmData"]["conversionEvents"].take();
    events.as_array().cloned().unwrap_or_default()
}

fn tier_of(record: &Map) -> Tier {
    tier(record.get("crmData"), None)
}

/// The tier after these events.
fn after(events: impl IntoIterator<Item = Event>) -> Tier {
    let mut record = Map::new();
    assert!(add(&mut record, events.into_iter().collect()).is_empty());
    tier_of(&record)
}

#[test]
fn records_say_what_happened_with_whom() {
    let now = day(100);
    let uri = "at://did:web:shop.test/a/b";
    let order = |more: Json| {
        let mut order = json!({ "customer": "did:web:bea.test", "totalAmount": 999, "currency": "USD" });
        order.as_object_mut().expect("a map").extend(more.as_object().expect("a map").clone());
        said(ORDER, uri, &value(&order), now)
    };
    let placed = order(json!({}));
    assert_eq!(placed, [Said { person: did("bea"), event: None, paid: false }], "nothing was paid");
    let paid = order(json!({ "paymentDetails": { "paymentProcessedAt": day(3).to_string() } }));
    let event =
        Event { name: ORDER_CAPTURED, at: day(3), value: Some((999, "USD".to_owned())), subject: uri.to_owned() };
    assert_eq!(paid, [Said { person: did("bea"), event: Some(event), paid: true }]);

    let appointment = |status: &str, paid: &str, attendees: &[&str]| {
        let record = json!({ "organizer": "did:web:olga.test", "attendees": attendees, "status": status,
            "endTime": day(400).to_string(), "payment": { "amount": 500, "currency": "EUR", "paymentStatus": paid } });
        said(APPOINTMENT, uri, &value(&record), now)
    };
    let (bea, cyd) = ("did:web:bea.test", "did:web:cyd.test");
    let brief = |said: &[Said]| -> Vec<_> {
        let event = |said: &Said| said.event.as_ref().map(|event| (event.at, event.value.clone()));
        said.iter().map(|said| (said.person.clone(), event(said), said.paid)).collect()
    };
    let five = Some((500, "EUR".to_owned()));
    assert_eq!(brief(&appointment("confirmed", "paid", &[bea])), [(did("bea"), None, true)]);
    assert_eq!(brief(&appointment("completed", "pending", &[bea])), [(did("bea"), Some((now, None)), false)]);
    assert_eq!(brief(&appointment("completed", "paid", &[bea])), [(did("bea"), Some((now, five)), true)]);
    let both = [(did("bea"), Some((now, None)), false), (did("cyd"), Some((now, None)), false)];
    assert_eq!(brief(&appointment("completed", "paid", &[bea, cyd])), both, "who of the two paid is not said");

    let filled_in = |submitter: Json| {
        let record = json!({ "submitter": submitter, "submittedAt": day(5).to_string() });
        said(FORM_SUBMISSION, uri, &value(&record), now)
    };
    assert_eq!(brief(&filled_in(json!(bea))), [(did("bea"), Some((day(5), None)), false)]);
    assert!(filled_in(Json::Null).is_empty(), "who did not say who they are is nobody");
    assert!(said("co.kendev.business.lead", uri, &value(&json!({ "user": bea })), now).is_empty());
}

#[test]
fn a_key_names_one_person() {
    for text in ["did:plc:ewvi7nxzyoun6zhxrhs64oiz", "did:web:shop.test", "did:web:localhost%3A8080"] {
        let whose: Did = text.parse().expect("a DID");
        let key = key(&whose).expect("short enough");
        assert_eq!(person(&key), Some(whose), "{key}");
    }
    assert_eq!(person(&"3kznmn7xqxl22".parse().expect("a key")), None);
    let long: Did = format!("did:web:{}.test", "a".repeat(600)).parse().expect("a DID");
    assert_eq!(key(&long), None);
}

#[test]
fn what_is_told_again_is_there_once_and_what_it_brought_is_filled_in() {
    let mut record = Map::new();
    let _gone = add(&mut record, vec![order(2, day(2), Some((5, "USD"))), order(1, day(1), None)]);
    assert!(has_events(&record) && !has_events(&map(&json!({ "crmData": { "notes": "tall" } }))));
    assert_eq!(record["crmData"].get("lastInteraction").and_then(Value::as_str), Some(&*day(2).to_string()));
    let once = record.clone();
    let _gone = add(&mut record, vec![order(2, day(9), Some((7, "USD"))), order(1, day(1), None)]);
    assert_eq!(record, once, "each once, as it was told first");
    let _gone = add(&mut record, vec![order(1, day(1), Some((3, "EUR")))]);
    let told: Vec<_> = events(&record).into_iter().map(|event| event["value"]["amount"].clone()).collect();
    assert_eq!(told, [json!(3), json!(5)], "in the order of their times");
}

#[test]
fn the_oldest_make_room() {
    let mut record = Map::new();
    let all = (0..EVENTS_MAX + 3).map(|number| order(number, day(u32::try_from(number).expect("few")), None));
    assert!(add(&mut record, all.collect()).is_empty(), "what never stood there did not go from there");
    assert_eq!(events(&record).len(), EVENTS_MAX);
    assert!(events(&record)[0]["subject"].as_str().expect("a text").ends_with("/3"));
    let gone = add(&mut record, vec![order(900, day(900), None), order(901, day(901), None)]);
    let gone: Vec<_> = gone.iter().map(|event| event.get("subject").and_then(Value::as_str).expect("said")).collect();
    assert!(matches!(gone.as_slice(), [three, four] if three.ends_with("/3") && four.ends_with("/4")), "{gone:?}");
    let full = record.clone();
    assert!(add(&mut record, vec![order(4, day(4), None)]).is_empty(), "what made room does so once");
    assert_eq!(record, full);
}

#[test]
fn a_tier_follows_from_what_happened() {
    let mut record = Map::new();
    assert_eq!(tier_of(&record), Tier::Prospect);
    set_score(&mut record, Some(0));
    assert_eq!((score(&record), tier_of(&record)), (Some(0), Tier::Lead));
    set_score(&mut record, None);
    assert_eq!((score(&record), tier_of(&record)), (None, Tier::Prospect), "the lead has another account now");
    let form = Event { name: FORM_SUBMITTED, ..order(1, day(1), None) };
    assert_eq!(after([form]), Tier::Prospect);
    assert_eq!(after([order(1, day(1), None)]), Tier::Customer);
    let met = |value| Event { name: APPOINTMENT_COMPLETED, ..order(1, day(1), value) };
    assert_eq!((after([met(None)]), after([met(Some((1, "EUR")))])), (Tier::Prospect, Tier::Customer));

    let orders =
        |count: u32, days: u32| after((0..count).map(|number| order(number as usize, day(number * days), None)));
    assert_eq!((orders(9, 1), orders(10, 40)), (Tier::Customer, Tier::Vip), "ten, and the tenth after 360 days");
    assert_eq!(orders(10, 41), Tier::Customer, "the tenth after 369 days");
    let spent =
        |cents, currency| after([order(1, day(0), Some((50_000, "USD"))), order(2, day(9), Some((cents, currency)))]);
    assert_eq!(spent(50_000, "USD"), Tier::Vip);
    assert_eq!((spent(49_999, "USD"), spent(50_000, "EUR")), (Tier::Customer, Tier::Customer));
    let apart = after([order(1, day(0), Some((50_000, "USD"))), order(2, day(365), Some((50_000, "USD")))]);
    assert_eq!(apart, Tier::Customer, "more than twelve months lie between");
}

#[test]
fn who_paid_stays_a_customer_unless_staff_say_otherwise() {
    for before in [Tier::Prospect, Tier::Lead] {
        assert_eq!(tier(None, Some(before)), Tier::Prospect, "what one is no more");
    }
    for before in [Tier::Customer, Tier::Vip] {
        assert_eq!(tier(None, Some(before)), before);
    }
    let paid = |crm: Json| {
        let mut record = map(&json!({ "crmData": crm }));
        note_paid(&mut record);
        to_json(&record["crmData"])["customerTier"].clone()
    };
    assert_eq!(paid(json!({})), "customer");
    assert_eq!(paid(json!({ "customerTier": "lead" })), "customer");
    assert_eq!(paid(json!({ "customerTier": "vip" })), "vip");
    assert_eq!(paid(json!({ "customerTier": "lead", "tierSetBy": "did:web:olga.test" })), "lead");
}

fn some_event() -> impl Strategy<Value = Event> {
    let name = prop::sample::select(vec![ORDER_CAPTURED, APPOINTMENT_COMPLETED, FORM_SUBMITTED]);
    let value = prop::option::of((0..60_000_i64, prop::sample::select(vec!["USD", "EUR"])));
    (name, 0..800_u32, value, 0..40_usize)
        .prop_map(|(name, at, value, number)| Event { name, ..order(number, day(at), value) })
}

proptest! {
    /// Whatever is told, in whichever order and however often: the list stays in order and within its bound, nothing is
    /// there twice, and nobody falls back from having paid.
    #[test]
    fn a_record_stays_whole(told in prop::collection::vec(prop::collection::vec(some_event(), 0..5), 0..20)) {
        let mut record = Map::new();
        let mut before = None;
        for events_of_step in told {
            let _gone = add(&mut record, events_of_step.clone());
            let once = record.clone();
            let _gone = add(&mut record, events_of_step);
            prop_assert_eq!(&record, &once);
            let now = tier(record.get("crmData"), before);
            prop_assert!(before.is_none_or(|before: Tier| before < Tier::Customer || now >= before));
            before = Some(now);
            let list = events(&record);
            prop_assert!(list.len() <= EVENTS_MAX);
            prop_assert!(list.is_sorted_by_key(|event| event["timestamp"].as_str().map(str::to_owned)));
            let mut names: Vec<_> = list.iter().map(|event| (event["event"].to_string(), event["subject"].to_string())).collect();
            names.sort();
            names.dedup();
            prop_assert_eq!(names.len(), list.len());
        }
    }
}
