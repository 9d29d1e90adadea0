mod consistency;
mod figures;
mod formulas;
mod node_written;
mod refusals;

use serde_json::{Value as Json, json};

use super::*;
use crate::data::{from_json, to_json};
use crate::lexicon::Catalog;
use crate::tenants::{Slug, Template, template::Setting};

const NOW: Timestamp = Timestamp::from_millis(1_795_273_200_000);

fn did(name: &str) -> Did {
    format!("did:web:{name}.example").parse().expect("valid")
}

struct Case {
    repo: Did,
    holder: Holder,
    place: Place,
    by: By,
    facts: Facts,
}

impl Case {
    fn of(holder: Holder, place: Place) -> Self {
        Self { repo: did("own"), holder, place, by: By::Client, facts: Facts::default() }
    }

    fn knowing(mut self, uri: &str, public: bool) -> Self {
        self.facts.public.insert(uri.to_owned(), public);
        self
    }

    fn by(self, by: By) -> Self {
        Self { by, ..self }
    }

    fn judge(&self, collection: &str, record: &Json, before: Option<&Json>) -> Result<Json, Refused> {
        let collection: Nsid = collection.parse().expect("valid");
        let (mut record, before) = (value(record), before.map(value));
        let author = did("author");
        let (repo, holder, place, by) = (&self.repo, self.holder, self.place, self.by);
        let write = Write { repo, holder, author: &author, collection: &collection, place, by, now: NOW };
        judge(&write, &mut record, before.as_ref(), &self.facts)?;
        Ok(to_json(&record))
    }
}

fn value(json: &Json) -> Value {
    from_json(json).expect("of the data model")
}

fn tenant() -> Case {
    Case::of(Holder::Tenant, Place::Public)
}

fn person() -> Case {
    Case::of(Holder::User, Place::Public)
}

fn private(case: Case) -> Case {
    Case { place: Place::Permissioned, ..case }
}

fn path(refused: &Refused) -> &str {
    match refused {
        Refused::NotPublic { path, .. }
        | Refused::VisibilityUnknown { path, .. }
        | Refused::CrossTenant { path, .. }
        | Refused::PrivateReference { path }
        | Refused::Computed { path }
        | Refused::Contradiction { path, .. }
        | Refused::Taken { path, .. }
        | Refused::Amount { path }
        | Refused::Rate { path, .. }
        | Refused::LowRate { path, .. }
        | Refused::NoContract { path }
        | Refused::Vote { path, .. }
        | Refused::Question { path, .. }
        | Refused::Target { path, .. }
        | Refused::Sent { path }
        | Refused::Secret { path, .. } => path,
        Refused::OtherTenant { .. } => "/tenant",
        Refused::HeldIn { .. } | Refused::NotByClients(_) | Refused::TooLarge { .. } => "",
    }
}

#[test]
fn a_record_has_at_most_a_quarter_of_a_mebibyte() {
    let record = |more: usize| json!({ "more": "x".repeat(more) });
    let judged = tenant().judge("co.kendev.content.category", &record(0x1_0000), None).expect("small enough");
    let around = cbor::length(&value(&judged)) - 0x1_0000;
    let most = LEXICON_RECORD_BYTES_MAX - around;
    for case in [tenant(), private(tenant())] {
        assert!(case.judge("co.kendev.content.category", &record(most), None).is_ok());
        let refused = case.judge("co.kendev.content.category", &record(most + 1), None);
        assert_eq!(refused, Err(Refused::TooLarge { bytes: LEXICON_RECORD_BYTES_MAX + 1 }));
    }
    let of_others = record(LEXICON_RECORD_BYTES_MAX * 2);
    assert!(person().judge("com.example.note", &of_others, None).is_ok());
}

#[test]
fn other_networks_records_are_none_of_our_business() {
    let record = json!({ "text": "sk_live_4eC39HqLyjWDarjtT1zdp7dc", "updatedAt": "whenever" });
    assert_eq!(person().judge("app.bsky.feed.post", &record, None), Ok(record));
}

#[test]
fn records_are_held_by_whom_their_collection_says() {
    let form = json!({ "tenant": did("own") });
    let refused = person().judge("co.kendev.content.form", &form, None).expect_err("a tenant's");
    assert_eq!(refused.to_string(), "records of co.kendev.content.form are held by a tenant, not by a person");
    assert!(tenant().judge("co.kendev.content.form", &form, None).is_ok());
    let other = json!({ "tenant": did("other") });
    assert_eq!(
        tenant().judge("co.kendev.content.form", &other, None),
        Err(Refused::OtherTenant { holder: did("own") })
    );
    assert!(tenant().judge("co.kendev.people.follow", &json!({}), None).is_ok(), "a tenant is an account as well");
    assert!(person().judge("co.kendev.content.tool", &json!({}), None).is_err());
    assert!(Case::of(Holder::Node, Place::Public).judge("co.kendev.content.tool", &json!({}), None).is_ok());
}

#[test]
fn what_is_permissioned_stays_out_of_public_repositories() {
    for collection in ["co.kendev.business.lead", "co.kendev.business.project", "co.kendev.spaces.channelSettings"] {
        let refused = tenant().judge(collection, &json!({}), None).expect_err("permissioned");
        assert!(matches!(&refused, Refused::NotPublic { path, .. } if path.is_empty()), "{refused}");
        assert!(private(tenant()).judge(collection, &json!({}), None).is_ok(), "{collection}");
    }
    for (collection, record, at) in [
        ("co.kendev.spaces.space", json!({ "visibility": "private" }), "/visibility"),
        (
            "co.kendev.spaces.channel",
            json!({ "accessControl": { "visibility": "restricted" } }),
            "/accessControl/visibility",
        ),
        ("co.kendev.spaces.channel", json!({ "accessControl": { "visibility": "public" } }), "/space"),
        ("co.kendev.content.post", json!({ "status": "draft" }), "/status"),
        (
            "co.kendev.content.post",
            json!({ "status": "published", "publishedAt": "2099-01-01T00:00:00Z" }),
            "/publishedAt",
        ),
        ("co.kendev.business.event", json!({}), "/isPublic"),
    ] {
        let refused = tenant().judge(collection, &record, None).expect_err("private");
        assert!(matches!(refused, Refused::NotPublic { .. }), "{collection}: {refused}");
        assert_eq!(path(&refused), at, "{collection}");
        assert!(private(tenant()).judge(collection, &record, None).is_ok(), "{collection}");
    }
}

#[test]
fn what_follows_another_record_is_public_when_that_one_is_known_to_be() {
    let space = "at://did:web:shop.example/co.kendev.spaces.space/3kabc";
    let message = json!({ "space": space, "content": { "type": "text", "text": "hello" }, "messageType": "user" });
    let collection: Nsid = "co.kendev.spaces.message".parse().expect("valid");
    let (own, by) = (did("own"), By::Client);
    let write =
        |place| Write { repo: &own, holder: Holder::User, author: &own, collection: &collection, place, by, now: NOW };
    assert_eq!(asks(&write(Place::Public), &value(&message)), [space]);
    assert!(asks(&write(Place::Permissioned), &value(&message)).is_empty());

    let judge = |case: Case| case.judge("co.kendev.spaces.message", &message, None);
    assert!(matches!(judge(person()), Err(Refused::VisibilityUnknown { path, .. }) if path == "/space"));
    assert!(matches!(judge(person().knowing(space, false)), Err(Refused::NotPublic { path, .. }) if path == "/space"));
    assert!(judge(person().knowing(space, true)).is_ok());
    assert!(judge(private(person())).is_ok());

    let channel = "at://did:web:shop.example/co.kendev.spaces.channel/3kabd";
    let mut within = message.clone();
    within["channel"] = channel.into();
    let case = person().knowing(space, true);
    assert!(case.judge("co.kendev.spaces.message", &within, None).is_err());
    assert!(case.knowing(channel, true).judge("co.kendev.spaces.message", &within, None).is_ok());

    let subject = "at://did:web:author.example/co.kendev.spaces.message/3kabe";
    let reaction = json!({ "subject": { "uri": subject, "cid": "c" }, "emoji": "+" });
    assert!(person().knowing(subject, true).judge("co.kendev.spaces.reaction", &reaction, None).is_ok());
    assert!(person().knowing(subject, false).judge("co.kendev.spaces.reaction", &reaction, None).is_err());
}

#[test]
fn what_is_decided_elsewhere_follows_the_table() {
    let listing = json!({ "title": "An agent" });
    assert!(person().judge("co.kendev.agents.listing", &listing, None).is_err(), "nobody approved it");
    let mut approved = person();
    approved.facts.elsewhere = Some(true);
    assert!(approved.judge("co.kendev.agents.listing", &listing, None).is_ok());
    let mut hidden = person();
    assert!(hidden.judge("co.kendev.people.profile", &json!({}), None).is_ok());
    hidden.facts.elsewhere = Some(false);
    assert!(hidden.judge("co.kendev.people.profile", &json!({}), None).is_err());
    assert!(tenant().judge("co.kendev.content.media", &json!({}), None).is_ok());
    let undecided: Vec<_> = Flags::builtin()
        .collections
        .iter()
        .filter(|(_, rules)| rules.elsewhere.is_some())
        .filter(|(nsid, _)| table::of(nsid).is_none_or(|rule| rule.elsewhere.is_none()))
        .map(|(nsid, _)| nsid)
        .collect();
    assert!(undecided.is_empty(), "decided elsewhere, and nobody says where: {undecided:?}");
}

#[test]
fn references_stay_within_the_tenant() {
    let (own, other) = ("at://did:web:own.example", "at://did:web:other.example");
    let task = |project: &str| json!({ "$type": "co.kendev.business.task", "tenant": did("own"), "project": format!("{project}/co.kendev.business.project/3k") });
    assert!(private(tenant()).judge("co.kendev.business.task", &task(own), None).is_ok());
    let refused = private(tenant()).judge("co.kendev.business.task", &task(other), None).expect_err("another's");
    assert!(matches!(&refused, Refused::CrossTenant { path, .. } if path == "/project"), "{refused}");
    let by_handle = private(tenant()).judge("co.kendev.business.task", &task("at://own.example"), None);
    assert!(matches!(by_handle, Err(Refused::CrossTenant { .. })), "a handle may lead elsewhere tomorrow");

    let space = format!("{other}/co.kendev.spaces.space/3k");
    let message = |channel: &str| {
        json!({
            "$type": "co.kendev.spaces.message",
            "space": space,
            "channel": format!("{channel}/co.kendev.spaces.channel/3k"),
            "content": { "type": "text", "text": "hi" },
        })
    };
    let in_space = private(person());
    assert!(in_space.judge("co.kendev.spaces.message", &message(other), None).is_ok(), "any tenant's space");
    let third = "at://did:web:third.example";
    let refused = in_space.judge("co.kendev.spaces.message", &message(third), None).expect_err("another's channel");
    assert_eq!(path(&refused), "/channel");
    let mut with_picture = message(other);
    with_picture["attachments"] = json!([format!("{own}/co.kendev.content.media/3k")]);
    assert!(in_space.judge("co.kendev.spaces.message", &with_picture, None).is_ok(), "one's own picture");
    with_picture["attachments"] = json!([format!("{third}/co.kendev.content.media/3k")]);
    assert!(in_space.judge("co.kendev.spaces.message", &with_picture, None).is_err());

    let ask = json!({ "$type": "co.kendev.people.offer", "product": format!("{other}/co.kendev.business.product/3k"), "status": "active" });
    assert!(person().judge("co.kendev.people.offer", &ask, None).is_ok(), "people offer what they like");
}

#[test]
fn a_public_record_names_nobody_elses_private_one() {
    let message = json!({
        "$type": "co.kendev.spaces.message",
        "space": "at://did:web:shop.example/co.kendev.spaces.space/3k",
        "content": {
            "type": "system",
            "systemData": { "event": "order.placed", "subject": "at://did:web:shop.example/co.kendev.business.order/1" },
        },
    });
    let case = person().knowing("at://did:web:shop.example/co.kendev.spaces.space/3k", true);
    let refused = case.judge("co.kendev.spaces.message", &message, None).expect_err("an order is private");
    assert!(
        matches!(&refused, Refused::PrivateReference { path } if path == "/content/systemData/subject"),
        "{refused}"
    );
}

#[test]
fn computed_fields_are_the_nodes() {
    let product = |more: Json| {
        let mut product = json!({ "tenant": did("own"), "status": "active", "productType": "automation" });
        product.as_object_mut().expect("a map").extend(more.as_object().cloned().unwrap_or_default());
        product
    };
    let judge = |record: &Json, before: Option<&Json>| tenant().judge("co.kendev.business.product", record, before);
    let written = judge(&product(json!({})), None).expect("fits");
    assert_eq!((&written["type"], &written["publishedAt"]), (&json!("service"), &json!(NOW.to_string())));
    assert!(written.get("updatedAt").is_none(), "nothing was changed yet");
    assert!(judge(&product(json!({ "type": "service" })), None).is_ok(), "what the node would write");
    for (field, made_up) in
        [("type", "physical"), ("publishedAt", "2020-01-01T00:00:00Z"), ("updatedAt", "2020-01-01T00:00:00Z")]
    {
        let refused = judge(&product(json!({ (field): made_up })), None).expect_err("made up");
        assert_eq!(refused, Refused::Computed { path: format!("/{field}") });
    }
    let view = json!({ "analytics": { "views": 3 } });
    assert_eq!(judge(&product(view), None), Err(Refused::Computed { path: "/analytics/views".to_owned() }));

    let mut before = written;
    before["publishedAt"] = "2026-01-01T00:00:00.000Z".into();
    let again = judge(&before, Some(&before)).expect("as it was");
    assert_eq!(again, before, "the same record again is the same record");
    let changed = judge(&product(json!({ "title": "New" })), Some(&before)).expect("fits");
    assert_eq!(changed["publishedAt"], before["publishedAt"]);
    assert_eq!(changed["updatedAt"], json!(NOW.to_string()));
    let mut newer = changed.clone();
    newer["title"] = "Newer".into();
    assert!(judge(&newer, Some(&changed)).is_ok(), "what was read may be sent back");
}

#[test]
fn each_formula_gives_what_the_rules_say() {
    let written = |collection: &str, record: Json, before: Option<&Json>| {
        private(tenant()).by(By::Node).judge(collection, &record, before).expect("fits")
    };
    let order = json!({
        "lineItems": [{ "quantity": 2, "unitPrice": 1500 }, { "quantity": 1, "unitPrice": 250 }],
        "discountAmount": 250, "taxAmount": 300, "shippingAmount": 500,
    });
    let order = written("co.kendev.business.order", order, None);
    assert_eq!(
        (&order["lineItems"][0]["totalPrice"], &order["subtotal"], &order["totalAmount"]),
        (&json!(3000), &json!(3250), &json!(3800))
    );
    let free = json!({ "lineItems": [], "discountAmount": 1 });
    let refused = private(tenant()).by(By::Procedure).judge("co.kendev.business.order", &free, None);
    assert_eq!(refused, Err(Refused::Amount { path: "/discountAmount".to_owned() }));

    let won = written("co.kendev.business.opportunity", json!({ "stage": "closed-won" }), None);
    assert_eq!((&won["probability"], &won["dates"]["actualCloseDate"]), (&json!(100), &json!(NOW.to_string())));
    let reopened = written("co.kendev.business.opportunity", json!({ "stage": "proposal" }), Some(&won));
    assert_eq!((&reopened["probability"], reopened["dates"].get("actualCloseDate")), (&json!(60), None));

    let task = written("co.kendev.business.task", json!({ "status": "done" }), None);
    assert_eq!((&task["reporter"], &task["dates"]["completedDate"]), (&json!(did("author")), &json!(NOW.to_string())));
    let lead = written("co.kendev.business.lead", json!({ "firstName": "Ada", "lastName": "Lovelace" }), None);
    assert_eq!(lead["fullName"], "Ada Lovelace");
    let long = json!({ "firstName": "é".repeat(100), "lastName": "é".repeat(100) });
    let long = written("co.kendev.business.lead", long, None);
    assert_eq!(long["fullName"].as_str().map(|name| name.chars().count()), Some(200), "as long as the field may be");
    let venue = json!({ "bayManagement": { "bays": [{ "isActive": true }, { "isActive": false }], "totalBays": 7 } });
    assert_eq!(written("co.kendev.business.venue", venue, None)["bayManagement"]["totalBays"], 1);
    let cid = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku";
    let media = json!({ "file": { "$type": "blob", "ref": { "$link": cid }, "mimeType": "image/png", "size": 1 } });
    assert_eq!(written("co.kendev.content.media", media, None)["checksum"].as_str().map(str::len), Some(64));
}

#[test]
fn what_the_node_wrote_is_kept_when_a_client_changes_the_rest() {
    let before = json!({ "status": "PROCESSING", "attempts": 2, "type": "report", "createdBy": did("author") });
    let change = json!({ "type": "summary" });
    let written = private(tenant()).judge("co.kendev.agents.job", &change, Some(&before)).expect("fits");
    assert_eq!(
        (&written["status"], &written["attempts"], &written["type"]),
        (&json!("PROCESSING"), &json!(2), &json!("summary"))
    );
    let forged = json!({ "type": "summary", "status": "COMPLETED" });
    let refused = private(tenant()).judge("co.kendev.agents.job", &forged, Some(&before));
    assert_eq!(refused, Err(Refused::Computed { path: "/status".to_owned() }));
}

#[test]
fn writers_and_secrets_are_looked_at() {
    let order = private(tenant()).judge("co.kendev.business.order", &json!({}), None);
    assert!(matches!(order, Err(Refused::NotByClients(_))));
    let nsid = |text: &str| text.parse::<Nsid>().expect("valid");
    assert!(judge_removal(&nsid("co.kendev.business.order"), By::Client).is_err());
    assert!(judge_removal(&nsid("co.kendev.business.order"), By::Procedure).is_ok());
    assert!(judge_removal(&nsid("co.kendev.network.node"), By::Procedure).is_err());
    let secret = json!({ "title": "x", "content": { "text": format!("key sk_live_{}", "4eC39HqLyjWDarjtT1zdp7dc") }, "published": true });
    let refused = tenant().judge("co.kendev.content.page", &secret, None).expect_err("a secret");
    assert_eq!(path(&refused), "/content/text");
    assert!(!refused.to_string().contains("4eC39"), "an error tells no secret");
}

#[test]
fn members_write_what_their_permission_opens() {
    assert_eq!(permission("co.kendev.spaces.space"), Some(Permission::ManageSpaces));
    assert_eq!(permission("co.kendev.business.product"), Some(Permission::ManageProducts));
    assert_eq!(permission("co.kendev.content.page"), Some(Permission::ManageContent));
    assert_eq!(permission("co.kendev.tenants.profile"), Some(Permission::ManageSettings));
    for closed in
        ["co.kendev.business.order", "co.kendev.spaces.message", "app.bsky.feed.post", "co.kendev.tenants.usage"]
    {
        assert_eq!(permission(closed), None, "{closed}");
    }
}

#[test]
fn every_line_of_the_table_is_about_a_collection_of_ours() {
    for rule in TABLE {
        assert!(Flags::builtin().collection(rule.collection).is_some(), "{}", rule.collection);
        assert!(Schemas::builtin().record(rule.collection).is_some(), "{}", rule.collection);
    }
}

#[test]
fn every_template_passes_the_rules() {
    let tenant_did = did("own");
    let slug: Slug = "own".parse().expect("valid");
    let setting = Setting {
        tenant: &tenant_did,
        name: "Own",
        slug: &slug,
        domain: "own.example",
        business_type: "other",
        created_at: NOW,
    };
    for seed in Template::ALL.into_iter().flat_map(|template| template.seeds(&setting)) {
        let mut case = private(tenant());
        case.facts.handle = "own.example".parse().ok();
        let rules = Flags::builtin().collection(seed.path.collection.as_str()).expect("has rules");
        if rules.visibility(&seed.record, NOW) != Visibility::Permissioned {
            case.place = Place::Public;
            let uri = seed.record.get("space").and_then(Value::as_str).unwrap_or_default();
            case = case.knowing(uri, true);
        }
        let collection = seed.path.collection.as_str();
        let completed = case
            .judge(collection, &to_json(&seed.record), None)
            .unwrap_or_else(|error| panic!("{}: {error}", seed.path));
        let schema = Schemas::builtin().record(collection).expect("shipped");
        schema.validate(&completed).unwrap_or_else(|error| panic!("{}: {error}", seed.path));
    }
}

#[test]
fn a_card_number_is_written_nowhere_and_what_was_there_stays() {
    let number = ["4111", "1111", "1111", "1111"].concat();
    let order = |transaction: &str| json!({ "status": "pending", "lineItems": [], "paymentDetails": { "transactionId": transaction } });
    let method = private(tenant()).by(By::Procedure);
    let judged = |record: &Json, before: Option<&Json>| method.judge("co.kendev.business.order", record, before);
    assert!(judged(&order("pi_3Kx"), None).is_ok());
    let refused = judged(&order(&number), None).expect_err("a card number");
    assert_eq!((path(&refused), refused.to_string().contains("4111")), ("/paymentDetails/transactionId", false));
    assert!(judged(&order(&number), Some(&order("pi_3Kx"))).is_err(), "one that comes in later");
    assert!(judged(&order(&number), Some(&order(&number))).is_ok(), "what was there keeps nobody from going on");
}
