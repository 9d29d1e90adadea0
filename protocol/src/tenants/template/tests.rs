use std::collections::BTreeSet;

use super::*;
use crate::lexicon::Schemas;
use crate::lexicon::flags::{Flags, Holder, Visibility};

fn setting(tenant: &Did, slug: &Slug, then: impl FnOnce(&Setting<'_>)) {
    then(&Setting {
        tenant,
        name: "Hays Cactus Farm",
        slug,
        domain: "hays.example.com",
        business_type: "cactus-farm",
        created_at: Timestamp::from_millis(1_795_273_200_000),
    });
}

fn for_each(mut look: impl FnMut(Template, &Did, Vec<Seed>)) {
    let tenant: Did = "did:plc:yk4dd2qkboz2yv6tpubpc6co".parse().expect("valid");
    let slug: Slug = "hays".parse().expect("valid");
    setting(&tenant, &slug, |setting| {
        for template in Template::ALL {
            look(template, &tenant, template.seeds(setting));
        }
    });
}

fn names(seeds: &[Seed], collection: &str, field: &str) -> Vec<String> {
    let of = seeds.iter().filter(|seed| seed.path.collection.as_str() == collection);
    of.filter_map(|seed| seed.record.get(field)?.as_str().map(str::to_owned)).collect()
}

#[test]
fn every_record_is_what_its_lexicon_says_and_a_tenant_may_hold_it() {
    for_each(|template, _, seeds| {
        for Seed { path, record } in &seeds {
            let schema = Schemas::builtin().record(path.collection.as_str()).expect("a collection of ours");
            schema.validate(record).unwrap_or_else(|error| panic!("{}: {path}: {error}", template.name()));
            schema.validate_key(path.rkey.as_str()).expect("the key fits");
            let rules = Flags::builtin().collection(path.collection.as_str()).expect("has rules");
            assert!(rules.held_in.contains(&Holder::Tenant), "{path}");
        }
    });
}

#[test]
fn keys_are_unique_and_the_same_wish_gives_the_same_records() {
    for_each(|template, tenant, seeds| {
        let paths: BTreeSet<_> = seeds.iter().map(|seed| seed.path.to_string()).collect();
        assert_eq!(paths.len(), seeds.len(), "{}", template.name());
        let slug = "hays".parse().expect("valid");
        setting(tenant, &slug, |setting| assert_eq!(template.seeds(setting), seeds));
    });
}

#[test]
fn references_lead_to_records_that_come_before() {
    fn texts<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
        match value {
            Value::String(text) => found.push(text),
            Value::List(list) => list.iter().for_each(|item| texts(item, found)),
            Value::Map(map) => map.values().for_each(|item| texts(item, found)),
            _ => {}
        }
    }
    for_each(|_, tenant, seeds| {
        let mut known = BTreeSet::new();
        for Seed { path, record } in &seeds {
            let mut found = Vec::new();
            texts(record, &mut found);
            for uri in found.iter().filter(|text| text.starts_with("at://")) {
                assert!(known.contains(*uri), "{path} refers to {uri}");
            }
            known.insert(format!("at://{tenant}/{path}"));
        }
    });
}

#[test]
fn each_template_holds_what_the_table_says() {
    for_each(|template, _, seeds| {
        let count = |collection: &str| names(&seeds, collection, "createdAt").len();
        assert_eq!(count("co.kendev.tenants.profile"), 1);
        assert_eq!(names(&seeds, "co.kendev.spaces.space", "visibility"), ["public"]);
        let channels = names(&seeds, "co.kendev.spaces.channel", "name");
        assert!(channels.starts_with(&["general".to_owned()]) && !channels.contains(&"system".to_owned()));
        let is_public = |seed: &&Seed| {
            let rules = Flags::builtin().collection("co.kendev.spaces.channel").expect("has rules");
            rules.visibility(&seed.record, Timestamp::MAX) != Visibility::Permissioned
        };
        let of = seeds.iter().filter(|seed| seed.path.collection.as_str() == "co.kendev.spaces.channel");
        assert!(of.clone().all(|seed| is_public(&seed)), "a channel in the workspace is in no space");
        let pages = names(&seeds, "co.kendev.content.page", "slug");
        let forms = names(&seeds, "co.kendev.content.form", "name");
        if template == Template::Custom {
            assert!(pages.is_empty() && forms.is_empty());
            return;
        }
        assert!(pages.ends_with(&["home".to_owned(), "about".to_owned(), "contact".to_owned()]));
        let own = match template {
            Template::EcommerceStore => {
                assert_eq!((count("co.kendev.business.product"), count("co.kendev.content.category")), (3, 2));
                Some("Returns")
            }
            Template::ServiceProvider => {
                assert_eq!((count("co.kendev.business.organization"), count("co.kendev.business.venue")), (1, 1));
                Some("Quote")
            }
            Template::CreativeAgency => {
                assert_eq!((count("co.kendev.business.task"), count("co.kendev.business.campaign")), (5, 1));
                Some("Brief")
            }
            Template::SaasCompany => {
                assert!(channels.contains(&"support".to_owned()) && pages.contains(&"roadmap".to_owned()));
                Some("Demo")
            }
            Template::NonProfit => {
                assert_eq!(count("co.kendev.business.event"), 1);
                Some("Volunteer")
            }
            Template::BasicBusiness | Template::Custom => None,
        };
        assert_eq!(forms, own.into_iter().chain(["Contact"]).collect::<Vec<_>>());
    });
}

#[test]
fn nothing_that_is_a_draft_would_be_public() {
    for_each(|_, _, seeds| {
        for Seed { path, record } in &seeds {
            let rules = Flags::builtin().collection(path.collection.as_str()).expect("has rules");
            let visibility = rules.visibility(record, Timestamp::MAX);
            let is_draft = record.get("status").and_then(Value::as_str) == Some("draft");
            assert!(!is_draft || visibility == Visibility::Permissioned, "{path}");
        }
        let names: BTreeSet<_> = Template::ALL.into_iter().filter_map(|one| Template::from_name(one.name())).collect();
        assert_eq!(names.len(), 7);
    });
}
