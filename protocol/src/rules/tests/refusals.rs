//! Bad input for every collection: what breaks the lexicon, claims what is the node's, refers into another tenant or
//! carries a secret is refused by name, with the path. Each record that is broken here is valid before.

use super::*;
use crate::lexicon::generate::{Generator, mutations};
use crate::lexicon::{Definition, Document, Rule as Broken, Violation};

/// The seed of the examples.
const SEED: u64 = 11;

/// A text that looks like a key.
fn secret() -> String {
    format!("sk_live_{}", "4eC39HqLyjWDarjtT1zdp7dc")
}

/// Why a record is not written, by whom of the two that look at it.
#[derive(Debug)]
enum Answer {
    Rules(Refused),
    Lexicon(Box<Violation>),
}

impl Answer {
    fn path(&self) -> String {
        match self {
            Self::Rules(refused) => path(refused).to_owned(),
            Self::Lexicon(violation) => violation.path.to_string(),
        }
    }
}

/// A record goes through the door by which the collection is written: the rules, and then the lexicon.
fn write(case: &Case, collection: &str, record: &Json, before: Option<&Json>) -> Result<Json, Answer> {
    let judged = case.judge(collection, record, before).map_err(Answer::Rules)?;
    let schema = Schemas::builtin().record(collection).expect("shipped");
    schema.validate(&judged).map_err(Answer::Lexicon)?;
    Ok(judged)
}

/// Whoever may write records of the collection, where they are kept.
pub(super) fn case(rules: &Collection) -> Case {
    let holder = if rules.held_in.contains(&Holder::Tenant) { Holder::Tenant } else { rules.held_in[0] };
    let place = if rules.class == Class::Public { Place::Public } else { Place::Permissioned };
    let by = match rules.writer {
        Writer::Holder => By::Client,
        Writer::Procedure => By::Procedure,
        Writer::Node => By::Node,
    };
    let mut case = Case::of(holder, place).by(by);
    case.facts.handle = "own.example".parse().ok();
    case
}

/// Whose records an example refers to.
fn scope_of(rules: &Collection) -> Did {
    if rules.held_in.contains(&Holder::Tenant) { did("own") } else { did("shop") }
}

/// Makes a generated record one that the rules let through: it stays within a tenant, its amounts add up, and, if it is
/// for a client, it leaves to the node what is the node's.
pub(super) fn example(collection: &str, rules: &Collection, mut record: Json, for_client: bool) -> Json {
    let scope = scope_of(rules);
    if record.get("tenant").is_some() {
        record["tenant"] = json!(scope);
    }
    let schema = Schemas::builtin().record(collection).expect("shipped");
    let found: Vec<_> =
        schema.references(&record).into_iter().map(|at| (at.path.to_string(), at.uri.to_owned())).collect();
    for (path, uri) in found {
        *record.pointer_mut(&path).expect("found there") = json!(within(&uri, &scope));
    }
    for (list, field, small) in [
        ("lines", "unitPrice", 100),
        ("lines", "quantity", 3),
        ("lines", "totalPrice", 300),
        ("lineItems", "unitPrice", 100),
    ] {
        let lines = record.get_mut(list).and_then(Json::as_array_mut).into_iter().flatten();
        lines.filter(|line| line.get(field).is_some()).for_each(|line| line[field] = small.into());
    }
    for amount in ["taxAmount", "shippingAmount", "discountAmount"] {
        if record.get(amount).is_some() {
            record[amount] = 0.into();
        }
    }
    if let Some(rate) = record.pointer_mut("/commission/customCommissionRate") {
        *rate = 1000.into();
    }
    if let Some(contract) = record.pointer_mut("/revenueSharing/contractId") {
        *contract = "c-1".into();
    }
    if collection == "co.kendev.content.form" {
        let fields = record.get_mut("fields").and_then(Json::as_array_mut).into_iter().flatten();
        for (index, field) in fields.enumerate() {
            field["id"] = format!("id{index}").into();
            field["name"] = format!("name{index}").into();
            for (object, part, means) in [
                ("validation", "pattern", json!("[a-z]+")),
                ("validation", "min", json!(1)),
                ("validation", "max", json!(9)),
                ("conditionalLogic", "showIf", json!("name0 = a")),
                ("conditionalLogic", "hideIf", json!("name0 != b and name0 = c")),
            ] {
                if let Some(place) = field.get_mut(object).and_then(|object| object.get_mut(part)) {
                    *place = means;
                }
            }
            if field["type"] == "select" {
                field["options"] = json!(["a", "b"]);
            }
        }
    }
    consistent(&mut record);
    if for_client {
        rules.node_written.iter().for_each(|field| take_away(&mut record, field));
    }
    record
}

/// Makes the fields of a generated record say together what can hold.
fn consistent(record: &mut Json) {
    let collection = record["$type"].as_str().unwrap_or_default().to_owned();
    let mut put = |pointer: &str, value: Json| {
        if let Some(place) = record.pointer_mut(pointer) {
            *place = value;
        }
    };
    for (pointer, value) in
        [("/pricing/basePrice", 1000), ("/pricing/salePrice", 900), ("/pricing/compareAtPrice", 1000)]
    {
        put(pointer, value.into());
    }
    put("/feedConfiguration/refreshInterval", 60.into());
    put("/dataRetention/retentionPeriod", 1.into());
    put("/dataRetention/deleteAfter", 1.into());
    for rich in ["/description", "/content"] {
        let is_rich = |value: &Json| value.is_object();
        if record.pointer(rich).is_some_and(is_rich) && collection != "co.kendev.spaces.message" {
            record[&rich[1..]]["text"] = "Hello.".into();
        }
    }
    for (list, name) in
        [("/pricing/variants", "sku"), ("/bayManagement/bays", "bayName"), ("/monetization/subscriptionTiers", "name")]
    {
        let items = record.pointer_mut(list).and_then(Json::as_array_mut).into_iter().flatten();
        items.enumerate().for_each(|(index, item)| item[name] = format!("n{index}").into());
    }
    let days = record.pointer_mut("/businessHours/schedule").and_then(Json::as_array_mut).into_iter().flatten();
    for day in days {
        (day["openTime"], day["closeTime"]) = (json!("09:00"), json!("17:00"));
    }
    let updates = record.pointer_mut("/progress/updates").and_then(Json::as_array_mut).into_iter().flatten();
    updates.for_each(|update| update["isPublic"] = true.into());
    let aliases = record.get_mut("domainAliases").and_then(Json::as_array_mut).into_iter().flatten();
    aliases.for_each(|alias| alias["isPrimary"] = false.into());
    match collection.as_str() {
        "co.kendev.business.product" if record.pointer("/pricing/subscription/interval").is_none() => {
            record["productType"] = "physical".into();
        }
        "co.kendev.business.opportunity" if record.pointer("/lossReason/reason").is_none() => {
            record["stage"] = "proposal".into();
        }
        "co.kendev.business.donation" if record.get("donor").is_some() => record["anonymous"] = false.into(),
        "co.kendev.people.offer" => {
            let paid = record.get("price").is_some();
            record["pricingType"] = if paid { "paid" } else { "free" }.into();
        }
        "co.kendev.tenants.profile" => record["domain"] = "own.example".into(),
        _ => {}
    }
}

/// A reference of the same kind into a tenant; where a reference may be of any kind, to a product.
fn within(uri: &str, tenant: &Did) -> String {
    let any = ["at://did:plc:x/", "at://a.example"].iter().any(|sample| uri.starts_with(sample));
    let path = uri.trim_start_matches("at://").split_once('/').map(|(_, path)| path).filter(|_| !any);
    format!("at://{tenant}/{}", path.unwrap_or("co.kendev.business.product/3kznmn7xqxl22"))
}

/// Takes a field away, in every element of the lists on the way.
pub(super) fn take_away(record: &mut Json, field: &FieldPath) {
    fn inner(value: &mut Json, steps: &[(&str, bool)]) {
        let (Some(((name, each), rest)), Some(map)) = (steps.split_first(), value.as_object_mut()) else { return };
        if rest.is_empty() {
            map.remove(*name);
        } else if let Some(value) = map.get_mut(*name) {
            match value.as_array_mut().filter(|_| *each) {
                Some(items) => items.iter_mut().for_each(|item| inner(item, rest)),
                None => inner(value, rest),
            }
        }
    }
    inner(record, &field.steps().collect::<Vec<_>>());
}

/// Puts a field where no list is on the way.
fn put(record: &mut Json, field: &FieldPath, value: Json) {
    let mut at = record;
    for (name, each) in field.steps() {
        assert!(!each, "{field} is in a list");
        at = at.as_object_mut().expect("a map").entry(name).or_insert_with(|| json!({}));
    }
    *at = value;
}

/// Calls `check` with every collection and a whole, valid record of it.
fn with_each(check: impl Fn(&str, &Collection, &Case, &Json)) {
    println!("seed {SEED}");
    let mut count = 0;
    for (collection, rules) in &Flags::builtin().collections {
        let record = example(collection, rules, Generator::whole(SEED).record(collection), true);
        let case = case(rules);
        let written = write(&case, collection, &record, None);
        assert!(written.is_ok(), "{collection}, seed {SEED}: {written:?} of {record:#}");
        check(collection, rules, &case, &record);
        count += 1;
    }
    assert_eq!(count, 84, "every collection of this network");
}

#[test]
fn what_breaks_the_lexicon_is_refused_at_its_place() {
    let (refused, bounds) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    with_each(|collection, _, case, record| {
        let mut record = record.clone();
        let is_asked = |rule: &Broken| {
            matches!(
                rule,
                Broken::Required
                    | Broken::Enum
                    | Broken::Minimum(_)
                    | Broken::Maximum(_)
                    | Broken::MaxBytes(_)
                    | Broken::MaxGraphemes(_)
                    | Broken::MinItems(_)
                    | Broken::MaxItems(_)
            )
        };
        let broken: Vec<_> = mutations(collection, &record).into_iter().filter(|one| is_asked(&one.rule)).collect();
        let Some(Definition::Record(document)) = Catalog::builtin().get(collection).and_then(Document::main) else {
            panic!("{collection} is no record")
        };
        for name in &document.object.required {
            let at = format!("/{name}");
            assert!(broken.iter().any(|one| one.path == at && one.rule == Broken::Required), "{collection}{at}");
        }
        for mutation in broken {
            let answer = mutation.judge(&mut record, |mutant| write(case, collection, mutant, None));
            let (at, rule) = (&mutation.path, &mutation.rule);
            match answer {
                // A list or text that is far too long makes the record as a whole too large, which is seen first.
                Err(Answer::Rules(Refused::TooLarge { bytes })) => assert!(bytes > LEXICON_RECORD_BYTES_MAX),
                Err(answer) => assert_eq!(answer.path(), *at, "{collection}, seed {SEED}: {rule} by {answer:?}"),
                Ok(_) => panic!("{collection}{at}, seed {SEED}: {rule} was broken, and nobody refused"),
            }
            refused.set(refused.get() + 1);
            bounds.set(bounds.get() + usize::from(*rule != Broken::Required));
        }
    });
    println!("{} broken records refused, {} of them beyond a bound", refused.get(), bounds.get());
    assert!(refused.get() > 2000 && bounds.get() > 1000, "the examples are whole");
}

#[test]
fn what_is_the_nodes_is_refused_or_kept_as_it_was() {
    let claims = std::cell::Cell::new(0);
    with_each(|collection, rules, case, record| {
        if rules.writer != Writer::Holder {
            let refused = case_by_client(rules).judge(collection, record, None);
            assert!(matches!(refused, Err(Refused::NotByClients(_))), "{collection}: {refused:?}");
            return;
        }
        let written = write(case, collection, record, None).expect("valid");
        let again = case.judge(collection, &written, Some(&written));
        assert_eq!(again.as_ref(), Ok(&written), "{collection}: what is read may be sent back, and is the same then");
        for field in &rules.node_written {
            let made_up = (0..100).find_map(|seed| {
                let other = example(collection, rules, Generator::whole(seed).record(collection), false);
                field.find(&other).first().map(|value| (*value).clone()).filter(|value| field.find(&written) != [value])
            });
            let made_up =
                made_up.unwrap_or_else(|| panic!("{collection} {field}: everything is what the node would write"));
            let expected = Refused::Computed { path: pointer(field) };
            let mut claimed = record.clone();
            put(&mut claimed, field, made_up.clone());
            assert_eq!(case.judge(collection, &claimed, None), Err(expected.clone()), "{collection} {field}");

            // What was there is kept when it is left out, with whatever is around it, unless a rule writes it anew; and
            // it is not changed to something else.
            let mut before = written.clone();
            put(&mut before, field, made_up.clone());
            let kept = case.judge(collection, record, Some(&before)).expect("left to the node");
            let anew =
                table::of(collection).is_some_and(|rule| rule.fill.is_some()) || field.to_string() == "updatedAt";
            assert!(anew || field.find(&kept) == [&made_up], "{collection} {field}: {kept:#}");
            assert!(
                case.judge(collection, &before, Some(&before)).is_ok() || anew,
                "{collection} {field}: what is read"
            );
            let mut forged = record.clone();
            put(&mut forged, field, json!("another value"));
            assert_eq!(case.judge(collection, &forged, Some(&before)), Err(expected), "{collection} {field}, changed");
            claims.set(claims.get() + 1);
        }
        for field in &rules.view_only {
            if field.steps().any(|(_, each)| each) {
                continue;
            }
            let mut claimed = record.clone();
            put(&mut claimed, field, json!(1));
            let expected = Refused::Computed { path: pointer(field) };
            assert_eq!(case.judge(collection, &claimed, None), Err(expected), "{collection} {field}");
            claims.set(claims.get() + 1);
        }
    });
    println!("{} claims refused", claims.get());
    assert!(claims.get() > 150, "only {} fields were claimed", claims.get());
}

fn case_by_client(rules: &Collection) -> Case {
    case(rules).by(By::Client)
}

#[test]
fn leaving_out_what_holds_a_field_of_the_nodes_does_not_take_it_away() {
    let private = private(tenant());
    let record = json!({ "createdAt": "2026-11-21T09:00:00.000Z" });
    let before = json!({ "createdAt": "2026-11-21T09:00:00.000Z", "subscription": { "status": "trialing" } });
    let written = private.judge("co.kendev.tenants.settings", &record, Some(&before)).expect("fits");
    assert_eq!(written["subscription"]["status"], "trialing");
}

/// Collections that people hold and whose records stay within the tenant that a field of theirs names.
const OF_A_TENANT: [&str; 3] =
    ["co.kendev.spaces.memberPreferences", "co.kendev.spaces.message", "co.kendev.spaces.readMark"];

#[test]
fn a_reference_into_another_tenant_is_refused_at_its_place() {
    let (crossed, free) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    with_each(|collection, rules, case, record| {
        let schema = Schemas::builtin().record(collection).expect("shipped");
        let found: Vec<_> =
            schema.references(record).into_iter().map(|at| (at.path.to_string(), at.uri.to_owned())).collect();
        for (at, uri) in found {
            let target =
                uri.rsplit('/').nth(1).and_then(|nsid| Flags::builtin().collection(nsid)).expect("one of ours");
            let of_tenants = target.held_in.contains(&Holder::Tenant)
                && target.held_in.iter().all(|holder| matches!(holder, Holder::Tenant | Holder::User));
            let is_scope = OF_A_TENANT.contains(&collection) && at == "/space";
            let is_bound = rules.held_in.contains(&Holder::Tenant)
                || record.get("tenant").is_some()
                || OF_A_TENANT.contains(&collection);
            let mut elsewhere = record.clone();
            *elsewhere.pointer_mut(&at).expect("found there") = json!(within(&uri, &did("other")));
            let judged = case.judge(collection, &elsewhere, None);
            if of_tenants && is_bound && !is_scope {
                let refused = judged.expect_err("leads into another tenant");
                assert!(
                    matches!(&refused, Refused::CrossTenant { path, .. } if *path == at),
                    "{collection}{at}, seed {SEED}: {refused}"
                );
                crossed.set(crossed.get() + 1);
            } else {
                free.set(free.get() + 1);
            }
        }
    });
    println!("{} references into another tenant refused, {} may lead anywhere", crossed.get(), free.get());
    assert!(crossed.get() > 60, "only {} references were tried", crossed.get());
}

#[test]
fn a_secret_is_refused_wherever_it_is() {
    let found = std::cell::Cell::new(0);
    with_each(|collection, _, case, record| {
        let mut record = record.clone();
        let mut places = vec![];
        texts(&record, String::new(), &mut places);
        for at in places.iter().filter(|at| *at != "/$type") {
            let whole = std::mem::replace(record.pointer_mut(at).expect("a text"), json!(secret()));
            let refused = case.judge(collection, &record, None).expect_err("a secret");
            assert!(
                matches!(&refused, Refused::Secret { path, .. } if path == at),
                "{collection}{at}, seed {SEED}: {refused}"
            );
            assert!(!refused.to_string().contains("4eC39"), "an error tells no secret");
            *record.pointer_mut(at).expect("a text") = whole;
            found.set(found.get() + 1);
        }
    });
    println!("{} secrets found", found.get());
    assert!(found.get() > 800, "only {} texts were tried", found.get());
}

/// Where the texts of a record are; a file's are the data model's own.
fn texts(value: &Json, at: String, found: &mut Vec<String>) {
    match value {
        Json::String(_) => found.push(at),
        Json::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                texts(item, format!("{at}/{index}"), found);
            }
        }
        Json::Object(map) if map.get("$type").is_some_and(|tag| tag == "blob") || map.contains_key("$link") => {}
        Json::Object(map) if map.contains_key("$bytes") => {}
        Json::Object(map) => {
            for (key, item) in map.iter().filter(|(key, _)| *key != "$type" || at.is_empty()) {
                texts(item, format!("{at}/{key}"), found);
            }
        }
        _ => {}
    }
}
