//! Orders and leads of a business, as its staff, its customers and strangers meet them over HTTP; every answer is held
//! against its lexicon.

mod customers;
mod figures;
mod names;
mod plans;
mod scores;
mod stock;
mod terms;
mod validity;

use std::ops::Deref;

use angel_protocol::lexicon::Schemas;
use serde_json::{Value, json};

use crate::xrpc::tests::visited::{Person, Visited};

/// A node with a business on it.
struct World {
    at: Visited,
    tenant: String,
    owner: Person,
}

impl Deref for World {
    type Target = Visited;

    fn deref(&self) -> &Visited {
        &self.at
    }
}

impl World {
    async fn new() -> Self {
        let at = Visited::new().await;
        let owner = at.sign_up("olga").await;
        let wish = json!({ "slug": "shop", "template": "ecommerce-store", "name": "Shop", "owner": owner.did });
        let made = at.operator("xrpc/co.kendev.tenants.provision", &wish).await;
        let tenant = made["tenant"]["did"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned();
        Self { at, tenant, owner }
    }

    /// Asks a method of orders and leads; a refusal is one that it documents.
    async fn ask(&self, who: &Person, method: &str, body: Option<Value>) -> Result<Value, String> {
        let name = format!("co.kendev.business.{}", method.split('?').next().expect("a name"));
        let asked = format!("co.kendev.business.{method}");
        let (status, answer) = self.send(Some(who), &asked, body.as_ref()).await;
        let schema = Schemas::builtin().method(&name).expect("documented");
        if status == 200 {
            let checked = schema.validate_output(&answer);
            assert!(checked.is_ok(), "{name}: {checked:?} in {answer:#}");
            return Ok(answer);
        }
        let error = answer["error"].as_str().expect("a name").to_owned();
        assert!(error == "InvalidRequest" || schema.errors().any(|named| named == error), "{name}: {answer}");
        Err(error)
    }

    async fn record(&self, method: &str, body: Value) -> Value {
        let (status, answer) = self.send(Some(&self.owner), method, Some(&body)).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// A product that is offered, of which there are `count`.
    async fn product(&self, slug: &str, price: i64, count: i64) -> String {
        let record = json!({ "$type": "co.kendev.business.product", "title": slug, "slug": slug, "tenant": self.tenant,
            "productType": "physical", "pricing": { "currency": "EUR", "basePrice": price },
            "inventory": { "trackQuantity": true }, "status": "active", "createdAt": "2026-11-21T09:00:00.000Z" });
        let collection = "co.kendev.business.product";
        let body = json!({ "repo": self.tenant, "collection": collection, "record": record });
        let made = self.record("com.atproto.repo.createRecord", body).await;
        let uri = made["uri"].as_str().expect("a URI").to_owned();
        let settings = json!({ "$type": "co.kendev.business.productSettings", "product": uri,
            "inventory": { "quantity": count, "lowStockThreshold": 1 }, "createdAt": "2026-11-21T09:00:00.000Z" });
        let space = format!("at://{}/space/co.kendev.tenants.workspace/self", self.tenant);
        let rkey = uri.rsplit('/').next().expect("a key");
        let body = json!({ "space": space, "repo": self.tenant, "collection": "co.kendev.business.productSettings",
            "rkey": rkey, "record": settings });
        self.record("com.atproto.space.createRecord", body).await;
        uri
    }

    fn order(&self, product: &str, quantity: i64) -> Option<Value> {
        Some(json!({ "tenant": self.tenant, "method": "physical",
            "lineItems": [{ "product": product, "quantity": quantity }] }))
    }

    async fn step(&self, who: &Person, method: &str, order: &Value) -> Result<Value, String> {
        self.ask(who, method, Some(json!({ "order": order["uri"] }))).await
    }

    /// The names of the events that the business was told, when `wanted` are among them.
    async fn told(&self, wanted: &[&str]) -> Vec<String> {
        self.at.told(&self.owner, &self.tenant, wanted).await
    }
}

#[tokio::test]
async fn an_order_goes_from_the_customer_to_the_shares() {
    let world = World::new().await;
    let (bea, eve) = (world.sign_up("bea").await, world.sign_up("eve").await);
    let cactus = world.product("cactus", 999, 3).await;

    let placed = world.ask(&bea, "createOrder", world.order(&cactus, 2)).await.expect("offered");
    let value = &placed["value"];
    let year: String = value["placedAt"].as_str().expect("a time").chars().take(4).collect();
    assert_eq!(value["orderNumber"], format!("SHOP-{year}-000001"));
    assert_eq!(
        (&value["status"], &value["subtotal"], &value["totalAmount"]),
        (&json!("pending"), &json!(1998), &json!(1998))
    );
    assert_eq!((&value["customer"], &value["lineItems"][0]["unitPrice"]), (&json!(bea.did), &json!(999)));
    assert!(value.get("commission").is_none(), "what the platform takes is not the customer's to see: {value}");

    // Whose it is and the staff see it; to everybody else there is no such order.
    let get =
        format!("getOrder?uri={}", placed["uri"].as_str().expect("a URI").replace(':', "%3A").replace('/', "%2F"));
    assert_eq!(world.ask(&bea, &get, None).await.expect("hers")["cid"], placed["cid"]);
    assert_eq!(world.ask(&world.owner, &get, None).await.expect("staff")["value"]["commission"]["rate"], 1000);
    assert_eq!(world.ask(&eve, &get, None).await, Err("OrderNotFound".to_owned()));
    let list = format!("listOrders?tenant={}", world.tenant.replace(':', "%3A"));
    let listed = |answer: Value| answer["orders"].as_array().expect("a list").len();
    assert_eq!(listed(world.ask(&world.owner, &list, None).await.expect("staff")), 1);
    assert_eq!(listed(world.ask(&bea, &list, None).await.expect("hers")), 1);
    assert_eq!(listed(world.ask(&eve, &list, None).await.expect("none of hers")), 0);

    // Steps are the staff's, and follow one another.
    for method in ["capturePayment", "shipOrder", "refundOrder"] {
        assert_eq!(world.step(&bea, method, &placed).await, Err("NotAllowed".to_owned()));
        assert_eq!(world.step(&eve, method, &placed).await, Err("OrderNotFound".to_owned()));
    }
    assert_eq!(world.step(&world.owner, "shipOrder", &placed).await, Err("InvalidStatus".to_owned()));
    let paid = world.step(&world.owner, "capturePayment", &placed).await.expect("was pending");
    let shares = &paid["value"]["revenueDistribution"];
    let parts =
        ["base", "aiPartner", "humanPartner", "platformOperations", "justiceFund"].map(|part| shares[part].clone());
    assert_eq!(parts, [1998, 300, 599, 999, 100].map(Value::from), "15, 30, 50 and 5 of a hundred");
    assert_eq!(paid["value"]["commission"]["amount"], 200);
    assert_eq!(world.step(&world.owner, "capturePayment", &placed).await, Err("InvalidStatus".to_owned()), "paid once");
    assert_eq!(world.step(&bea, "cancelOrder", &placed).await, Err("NotAllowed".to_owned()), "it is paid");
    world.step(&world.owner, "shipOrder", &placed).await.expect("was paid");
    world.step(&world.owner, "deliverOrder", &placed).await.expect("was sent");
    let done = world.step(&world.owner, "completeOrder", &placed).await.expect("has arrived");
    assert!(
        done["value"]["completedAt"].is_string() && done["value"]["fulfillment"]["shippedAt"].is_string(),
        "{done}"
    );
    let revenue = format!("getRevenue?tenant={}", world.tenant.replace(':', "%3A"));
    let taken = world.ask(&world.owner, &revenue, None).await.expect("staff");
    assert_eq!((&taken["revenue"][0]["base"], &taken["revenue"][0]["currency"]), (&json!(1998), &json!("EUR")));
    assert_eq!(world.ask(&eve, &revenue, None).await, Err("TenantNotFound".to_owned()));
    let part = json!({ "order": placed["uri"], "amount": 998 });
    let back = world.ask(&world.owner, "refundOrder", Some(part)).await.expect("was paid");
    assert_eq!(
        (&back["value"]["paymentStatus"], &back["value"]["revenueDistribution"]["justiceFund"]),
        (&json!("partially_refunded"), &json!(50))
    );
    let all = world.step(&world.owner, "refundOrder", &placed).await.expect("not all went back");
    assert_eq!(
        (&all["value"]["status"], &all["value"]["revenueDistribution"]["base"]),
        (&json!("refunded"), &json!(0))
    );

    // What happened is told, each thing once, and no public record tells of an order.
    let told = world.told(&["order.completed", "payment.refunded", "inventory.updated", "inventory.low"]).await;
    for event in ["order.placed", "payment.captured", "order.shipped", "order.completed", "inventory.low"] {
        assert_eq!(told.iter().filter(|one| *one == event).count(), 1, "{event} in {told:?}");
    }
    let (_, described) = world.send(None, &format!("com.atproto.repo.describeRepo?repo={}", world.tenant), None).await;
    assert!(!described["collections"].to_string().contains("order"), "{described}");
    world.at.stop().await;
}

#[tokio::test]
async fn the_last_piece_is_sold_once_and_comes_back_with_a_cancelled_order() {
    let world = World::new().await;
    let (bea, cyd) = (world.sign_up("bea").await, world.sign_up("cyd").await);
    let cactus = world.product("cactus", 500, 1).await;
    let both = futures::future::join(
        world.ask(&bea, "createOrder", world.order(&cactus, 1)),
        world.ask(&cyd, "createOrder", world.order(&cactus, 1)),
    );
    let (one, other) = both.await;
    let (winner, order) = match (&one, &other) {
        (Ok(order), Err(refused)) if refused == "OutOfStock" => (&bea, order),
        (Err(refused), Ok(order)) if refused == "OutOfStock" => (&cyd, order),
        _ => panic!("exactly one of them buys it: {one:?} {other:?}"),
    };
    let off = world.step(winner, "cancelOrder", order).await.expect("not paid, and theirs");
    assert_eq!((&off["value"]["status"], &off["value"]["paymentStatus"]), (&json!("cancelled"), &json!("pending")));
    let again = world.ask(&cyd, "createOrder", world.order(&cactus, 1)).await.expect("it came back");
    assert!(again["value"]["orderNumber"].as_str().expect("a number").ends_with("-000002"), "no number is used twice");

    // What is not offered is not sold, at no price but the business's own, and never for somebody else.
    let nothing = format!("at://{}/co.kendev.business.product/3nothing22222", world.tenant);
    assert_eq!(world.ask(&bea, "createOrder", world.order(&nothing, 1)).await, Err("ProductNotFound".to_owned()));
    let mut cheap = world.order(&cactus, 1).expect("an order");
    cheap["customer"] = json!(cyd.did);
    assert_eq!(world.ask(&bea, "createOrder", Some(cheap)).await, Err("NotAllowed".to_owned()));
    let space = format!("at://{}/space/co.kendev.tenants.workspace/self", world.tenant);
    let forged = json!({ "space": space, "repo": world.tenant, "collection": "co.kendev.business.order",
        "record": again["value"] });
    let (status, answer) = world.send(Some(&world.owner), "com.atproto.space.createRecord", Some(&forged)).await;
    assert_eq!((status, &answer["error"]), (403, &json!("NotAllowed")), "orders are written by methods alone");
    world.at.stop().await;
}

#[tokio::test]
async fn leads_are_scored_and_one_address_is_one_lead() {
    let world = World::new().await;
    let eve = world.sign_up("eve").await;
    let lead = |company: Option<&str>| {
        let mut record = json!({ "firstName": "Ada", "lastName": "Love", "email": "Ada@Mail.test", "source": "referral",
            "priority": "high" });
        if let Some(company) = company {
            record["company"] = company.into();
        }
        Some(json!({ "tenant": world.tenant, "record": record }))
    };
    let made = world.ask(&world.owner, "createLead", lead(None)).await.expect("staff");
    let scoring = &made["value"]["scoring"];
    assert_eq!(
        (&made["created"], &scoring["score"], &scoring["conversionPrediction"]),
        (&json!(true), &json!(0), &json!(7500))
    );
    assert_eq!((&made["value"]["fullName"], &scoring["engagementLevel"]), (&json!("Ada Love"), &json!("cold")));
    let again = world.ask(&world.owner, "createLead", lead(Some("Engines"))).await.expect("staff");
    assert_eq!((&again["created"], &again["uri"]), (&json!(false), &made["uri"]), "one address is one lead");
    assert_eq!(
        (&again["value"]["scoring"]["demographicScore"], &again["value"]["scoring"]["conversionPrediction"]),
        (&json!(10), &json!(10_000))
    );

    let meeting = json!({ "lead": made["uri"], "type": "meeting", "subject": "lunch", "outcome": "positive" });
    let met = world.ask(&world.owner, "logActivity", Some(meeting.clone())).await.expect("staff");
    assert_eq!(
        (&met["value"]["scoring"]["behaviorScore"], &met["value"]["scoring"]["score"]),
        (&json!(15), &json!(25))
    );
    assert_eq!(world.ask(&eve, "logActivity", Some(meeting)).await, Err("LeadNotFound".to_owned()));
    let list = format!("listLeads?tenant={}", world.tenant.replace(':', "%3A"));
    let listed = world.ask(&world.owner, &list, None).await.expect("staff");
    assert_eq!(listed["leads"].as_array().map(Vec::len), Some(1));
    assert_eq!(world.ask(&eve, &list, None).await, Err("TenantNotFound".to_owned()));
    let mut forged = lead(None).expect("a lead");
    forged["record"]["scoring"] = json!({ "score": 100 });
    assert_eq!(world.ask(&world.owner, "createLead", Some(forged)).await, Err("InvalidRequest".to_owned()));
    let told = world.told(&["lead.created", "lead.scored"]).await;
    assert_eq!(told.iter().filter(|event| *event == "lead.created").count(), 1, "{told:?}");
    world.at.stop().await;
}

#[tokio::test]
async fn a_lead_is_read_by_staff_alone() {
    let world = World::new().await;
    let eve = world.sign_up("eve").await;
    let record = json!({ "firstName": "Ada", "lastName": "Love", "email": "ada@mail.test", "source": "website" });
    let wish = json!({ "tenant": world.tenant, "record": record });
    let made = world.ask(&world.owner, "createLead", Some(wish)).await.expect("staff");
    let at = |uri: &str| format!("getLead?uri={}", uri.replace(':', "%3A").replace('/', "%2F"));
    let get = at(made["uri"].as_str().expect("a URI"));
    let read = world.ask(&world.owner, &get, None).await.expect("staff");
    assert_eq!((&read["cid"], &read["value"]["email"]), (&made["cid"], &json!("ada@mail.test")));
    assert_eq!(read["value"]["fullName"], "Ada Love");
    assert_eq!(world.ask(&eve, &get, None).await, Err("LeadNotFound".to_owned()));
    let nothing = at(&format!("at://{}/co.kendev.business.lead/3nothing22222", world.tenant));
    assert_eq!(world.ask(&world.owner, &nothing, None).await, Err("LeadNotFound".to_owned()));
    world.at.stop().await;
}

#[tokio::test]
async fn what_a_template_promises_is_there_and_what_happens_is_for_staff() {
    let world = World::new().await;
    let bea = world.sign_up("bea").await;
    assert_eq!(world.told(&["tenant.provisioned"]).await, ["tenant.provisioned"]);
    let list = format!("co.kendev.spaces.listSpaces?tenant={}", world.tenant.replace(':', "%3A"));
    let listed = async |who: Option<&Person>| {
        let (_, spaces) = world.send(who, &list, None).await;
        let spaces = spaces["spaces"].as_array().unwrap_or_else(|| panic!("{spaces}")).clone();
        let of = |space: &Value| {
            let text = |value: &Value| value.as_str().expect("a text").to_owned();
            (text(&space["value"]["slug"]), text(&space["value"]["visibility"]), text(&space["uri"]))
        };
        let mut spaces: Vec<_> = spaces.iter().map(of).collect();
        spaces.sort();
        spaces
    };
    let seen = listed(Some(&world.owner)).await;
    let (start, system) = match seen.as_slice() {
        [(shop, open, start), (system, closed, uri)] => {
            assert_eq!([shop, open, system, closed].map(String::as_str), ["shop", "public", "system", "private"]);
            (start.clone(), uri.clone())
        }
        other => panic!("{other:?}"),
    };
    let enc = |uri: &str| uri.replace(':', "%3A").replace('/', "%2F");
    let channels = format!("co.kendev.spaces.listChannels?space={}", enc(&start));
    let (_, channels) = world.send(Some(&world.owner), &channels, None).await;
    assert_eq!(channels["channels"].as_array().map(Vec::len), Some(1), "{channels}");
    assert_eq!(channels["channels"][0]["value"]["name"], "general");

    // A customer who joins the start space reads nothing of what happens in the business.
    let join = json!({ "space": start });
    assert_eq!(world.send(Some(&bea), "co.kendev.spaces.joinSpace", Some(&join)).await.0, 200);
    for stranger in [None, Some(&bea)] {
        assert_eq!(listed(stranger).await.iter().map(|(slug, ..)| slug.as_str()).collect::<Vec<_>>(), ["shop"]);
        let read = format!("co.kendev.spaces.listMessages?space={}", enc(&system));
        assert_eq!(world.send(stranger, &read, None).await.1["error"], "SpaceNotFound");
    }
    world.at.stop().await;
}
