//! What the fields of a record say together, one field at a time: each record is taken as it stands, and refused by the
//! place that contradicts another.

use super::*;
use crate::lexicon::generate::Generator;

/// A whole record of a collection, with these fields in it.
fn whole(collection: &str, fields: &[(&str, Json)]) -> Json {
    let rules = Flags::builtin().collection(collection).expect("one of ours");
    let mut record = refusals::example(collection, rules, Generator::whole(11).record(collection), true);
    for (pointer, value) in fields {
        let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
        let parent = record.pointer_mut(parent).unwrap_or_else(|| panic!("{collection} has no {parent}"));
        match parent {
            Json::Array(items) => items[name.parse::<usize>().expect("an index")] = value.clone(),
            parent if value.is_null() => drop(parent.as_object_mut().expect("an object").remove(name)),
            parent => parent[name] = value.clone(),
        }
    }
    record
}

fn judged(collection: &str, record: &Json, before: Option<&Json>) -> Result<(), Refused> {
    let rules = Flags::builtin().collection(collection).expect("one of ours");
    let written = refusals::case(rules).judge(collection, record, before)?;
    Schemas::builtin().record(collection).expect("shipped").validate(&written).expect("fits its lexicon");
    Ok(())
}

/// Where a record contradicts itself; empty when it does not.
fn flaw_of(collection: &str, fields: &[(&str, Json)]) -> String {
    match judged(collection, &whole(collection, fields), None) {
        Ok(()) => String::new(),
        Err(Refused::Contradiction { path, .. }) => path,
        Err(other) => panic!("{collection} {fields:?}: {other}"),
    }
}

#[test]
fn prices_of_a_product_fit_together() {
    let flaw = |fields: &[(&str, Json)]| flaw_of("co.kendev.business.product", fields);
    let prices = |base: i64, sale: Option<i64>, compare: Option<i64>| {
        flaw(&[
            ("/pricing/basePrice", json!(base)),
            ("/pricing/salePrice", json!(sale)),
            ("/pricing/compareAtPrice", json!(compare)),
        ])
    };
    assert_eq!(prices(1000, Some(1000), Some(1000)), "");
    assert_eq!(prices(1000, Some(1001), None), "/pricing/salePrice");
    assert_eq!(prices(1000, Some(900), Some(900)), "", "at least what is asked, which is the sale price");
    assert_eq!(prices(1000, Some(900), Some(899)), "/pricing/compareAtPrice");
    assert_eq!(prices(1000, None, Some(999)), "/pricing/compareAtPrice");
    assert_eq!(prices(0, None, None), "");

    let kind = ("/productType", json!("subscription"));
    let interval = |value: Json| ("/pricing/subscription/interval", value);
    assert_eq!(flaw(&[kind.clone(), interval(json!("yearly"))]), "");
    assert_eq!(flaw(&[kind, interval(Json::Null)]), "/pricing/subscription/interval");
    assert_eq!(flaw(&[("/productType", json!("physical")), interval(Json::Null)]), "");

    let variants = |one: &str, other: &str| {
        let variant = |sku: &str| json!({ "name": "a size", "price": 1, "sku": sku });
        flaw(&[("/pricing/variants", json!([variant(one), variant(other)]))])
    };
    assert_eq!((variants("A-1", "A-2"), variants("A-1", "a-1")), (String::new(), "/pricing/variants/1/sku".to_owned()));
}

#[test]
fn what_is_lost_says_why_and_what_costs_something_says_how_much() {
    let lost = |reason: Json| {
        let fields = [("/stage", json!("closed-lost")), ("/lossReason/reason", reason)];
        flaw_of("co.kendev.business.opportunity", &fields)
    };
    assert_eq!((lost(json!("price")), lost(Json::Null), lost(json!(" "))), {
        let at = "/lossReason/reason".to_owned();
        (String::new(), at.clone(), at)
    });
    let without = [("/stage", json!("closed-won")), ("/lossReason", Json::Null)];
    assert_eq!(flaw_of("co.kendev.business.opportunity", &without), "");

    let price = json!({ "amount": 100, "currency": "EUR" });
    let offer = |kind: &str, price: &Json| {
        flaw_of("co.kendev.people.offer", &[("/pricingType", json!(kind)), ("/price", price.clone())])
    };
    assert_eq!((offer("paid", &price), offer("free", &Json::Null)), (String::new(), String::new()));
    assert_eq!((offer("paid", &Json::Null), offer("free", &price)), ("/price".to_owned(), "/price".to_owned()));
    assert_eq!(offer("subscription", &price), "", "others may do as they mean");

    let donation = |anonymous: bool, donor: Json| {
        flaw_of("co.kendev.business.donation", &[("/anonymous", json!(anonymous)), ("/donor", donor)])
    };
    let somebody = json!("did:web:somebody.example");
    assert_eq!((donation(true, Json::Null), donation(false, somebody.clone())), (String::new(), String::new()));
    assert_eq!(donation(true, somebody), "/donor");
}

#[test]
fn an_ask_that_was_fulfilled_stays_so_and_nobody_follows_themselves() {
    let ask = |status: &str| whole("co.kendev.people.ask", &[("/status", json!(status))]);
    let change = |from: &str, to: &str| judged("co.kendev.people.ask", &ask(to), Some(&ask(from))).is_ok();
    for to in ["open", "in_progress", "closed"] {
        assert!(!change("fulfilled", to), "fulfilled to {to}");
    }
    assert!(change("fulfilled", "fulfilled") && change("closed", "open") && change("open", "fulfilled"));

    let follow = |subject: Did| flaw_of("co.kendev.people.follow", &[("/subject", json!(subject))]);
    assert_eq!((follow(did("other")), follow(did("own"))), (String::new(), "/subject".to_owned()));
}

#[test]
fn names_within_a_list_are_apart_and_days_have_their_times() {
    let bay = |name: &str| json!({ "bayName": name, "bayType": "wash_station", "isActive": true });
    let bays = |one: &str, other: &str| {
        flaw_of("co.kendev.business.venue", &[("/bayManagement/bays", json!([bay(one), bay(other)]))])
    };
    assert_eq!((bays("1", "2"), bays("1", "1")), (String::new(), "/bayManagement/bays/1/bayName".to_owned()));
    let day = |day: Json| flaw_of("co.kendev.business.venue", &[("/businessHours/schedule", json!([day]))]);
    assert_eq!(day(json!({ "dayOfWeek": "monday", "isClosed": true })), "");
    assert_eq!(day(json!({ "dayOfWeek": "monday", "isClosed": false, "openTime": "09:00", "closeTime": "17:00" })), "");
    let open = json!({ "dayOfWeek": "monday", "isClosed": false, "openTime": "09:00" });
    assert_eq!(day(open), "/businessHours/schedule/0/closeTime");

    let tier = |name: &str| json!({ "name": name, "price": 1, "currency": "EUR" });
    let tiers = |one: &str, other: &str| {
        flaw_of("co.kendev.spaces.space", &[("/monetization/subscriptionTiers", json!([tier(one), tier(other)]))])
    };
    let same = "/monetization/subscriptionTiers/1/name";
    assert_eq!((tiers("free", "pro"), tiers("pro", "pro")), (String::new(), same.to_owned()));

    let parent = |slug: &str| {
        let own = format!("at://{}/co.kendev.content.category/pots", did("own"));
        flaw_of("co.kendev.content.category", &[("/slug", json!(slug)), ("/parent", json!(own))])
    };
    assert_eq!((parent("cups"), parent("pots")), (String::new(), "/parent".to_owned()));
}

#[test]
fn times_of_a_channel_fit_together() {
    let kept = |retention: Json, delete: Json| {
        let fields = [("/dataRetention/retentionPeriod", retention), ("/dataRetention/deleteAfter", delete)];
        flaw_of("co.kendev.spaces.channelSettings", &fields)
    };
    assert_eq!((kept(json!(30), json!(30)), kept(json!(30), Json::Null)), (String::new(), String::new()));
    assert_eq!(kept(json!(30), json!(29)), "/dataRetention/deleteAfter");
    assert_eq!(kept(Json::Null, json!(0)), "");
    let refreshed = |seconds: i64| {
        flaw_of("co.kendev.spaces.channelSettings", &[("/feedConfiguration/refreshInterval", json!(seconds))])
    };
    assert_eq!((refreshed(60), refreshed(59)), (String::new(), "/feedConfiguration/refreshInterval".to_owned()));
}

#[test]
fn what_is_not_public_is_not_in_a_public_record() {
    let update = |public: Json| {
        let update = json!({ "title": "An update", "isPublic": public });
        flaw_of("co.kendev.content.roadmapFeature", &[("/progress/updates", json!([update]))])
    };
    assert_eq!((update(json!(true)), update(json!(false))), (String::new(), "/progress/updates/0".to_owned()));
}

#[test]
fn rich_text_says_something() {
    for (collection, field) in [
        ("co.kendev.content.post", "/content"),
        ("co.kendev.content.page", "/content"),
        ("co.kendev.people.offer", "/description"),
    ] {
        assert_eq!(flaw_of(collection, &[(field, json!({}))]), field, "{collection}");
        assert_eq!(flaw_of(collection, &[(field, json!({ "text": "" }))]), "", "{collection}");
        assert_eq!(flaw_of(collection, &[(field, json!({ "blocks": [] }))]), "", "{collection}");
    }
}

#[test]
fn the_domain_of_a_tenant_is_its_handle_and_its_short_name_stays() {
    const PROFILE: &str = "co.kendev.tenants.profile";
    let profile = |domain: &str, slug: &str| whole(PROFILE, &[("/domain", json!(domain)), ("/slug", json!(slug))]);
    let before = profile("before.example", "shop");
    let change = |domain: &str, slug: &str| match judged(PROFILE, &profile(domain, slug), Some(&before)) {
        Ok(()) => String::new(),
        Err(refused) => path(&refused).to_owned(),
    };
    assert_eq!(change("before.example", "shop"), "");
    assert_eq!(change("own.example", "shop"), "", "the handle has changed");
    assert_eq!(change("bank.example", "shop"), "/domain");
    assert_eq!(change("before.example", "bank"), "/slug");
    assert_eq!(flaw_of(PROFILE, &[("/domain", json!("bank.example"))]), "/domain", "where there was none");

    let alias = |domain: &str, primary: bool| json!({ "domain": domain, "type": "custom", "isActive": true, "isPrimary": primary });
    let aliases = |list: Json| flaw_of(PROFILE, &[("/domainAliases", list)]);
    assert_eq!(aliases(json!([alias("own.example", true), alias("other.example", false)])), "");
    assert_eq!(aliases(json!([alias("other.example", true)])), "/domainAliases/0/domain");
    let both = json!([alias("own.example", true), alias("own.example", true)]);
    assert_eq!(aliases(both), "/domainAliases/1/isPrimary");
}

#[test]
fn the_node_writes_on_what_was_there() {
    let rules = Flags::builtin().collection("co.kendev.business.opportunity").expect("one of ours");
    let lost =
        whole("co.kendev.business.opportunity", &[("/stage", json!("closed-lost")), ("/lossReason", Json::Null)]);
    assert!(refusals::case(rules).by(By::Node).judge("co.kendev.business.opportunity", &lost, None).is_ok());
    let broken = whole(
        "co.kendev.business.opportunity",
        &[("/stage", json!("closed-lost")), ("/lossReason", Json::Null), ("/value", json!({}))],
    );
    let judged = refusals::case(rules).judge("co.kendev.business.opportunity", &broken, None);
    assert!(judged.is_ok(), "what does not fit its lexicon is refused by that: {judged:?}");
}
