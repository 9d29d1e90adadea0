//! What one record alone of a business may be called (ORD-08, LEA-06).

use super::*;

const PRODUCT: &str = "co.kendev.business.product";
const MADE: &str = "2026-11-21T09:00:00.000Z";

impl World {
    fn named(&self, slug: &str, sku: &str, status: &str) -> Value {
        json!({ "$type": PRODUCT, "title": "A pot", "slug": slug, "sku": sku, "tenant": self.tenant,
            "productType": "physical", "pricing": { "currency": "EUR", "basePrice": 100 }, "status": status,
            "createdAt": MADE })
    }

    /// Writes for the business; answers with the key of what was written, or the path at which it was refused.
    async fn writes(&self, method: &str, mut body: Value) -> Result<String, String> {
        body["repo"] = self.tenant.as_str().into();
        if method.contains(".space.") {
            body["space"] = format!("at://{}/space/co.kendev.tenants.workspace/self", self.tenant).into();
        }
        let (status, answer) = self.send(Some(&self.owner), method, Some(&body)).await;
        match status {
            200 => Ok(answer["uri"].as_str().and_then(|uri| uri.rsplit('/').next()).unwrap_or_default().to_owned()),
            400 if answer["error"] == "InvalidRequest" => {
                let message = answer["message"].as_str().expect("a text");
                Err(message.split(':').next().expect("a path").to_owned())
            }
            _ => panic!("{status}: {answer}"),
        }
    }

    async fn create(&self, record: Value) -> Result<String, String> {
        let body = json!({ "collection": record["$type"], "record": record });
        self.writes("com.atproto.repo.createRecord", body).await
    }

    async fn draft(&self, record: Value) -> Result<String, String> {
        let body = json!({ "collection": record["$type"], "record": record });
        self.writes("com.atproto.space.createRecord", body).await
    }
}

#[tokio::test]
async fn a_slug_and_a_number_of_stock_are_one_products_alone() {
    let world = World::new().await;
    let pot = world.create(world.named("pot", "P-1", "active")).await.expect("the first");
    assert_eq!(world.create(world.named("pot", "P-2", "active")).await, Err("/slug".to_owned()));
    assert_eq!(world.create(world.named("cup", "p-1", "active")).await, Err("/sku".to_owned()), "in any case");
    let mut sizes = world.named("cup", "C-1", "active");
    sizes["pricing"]["variants"] = json!([{ "name": "small", "price": 1, "sku": "P-1" }]);
    assert_eq!(world.create(sizes).await, Err("/pricing/variants/0/sku".to_owned()));

    // Drafts lie elsewhere, and meet those that are offered; one that is published keeps its name.
    assert_eq!(world.draft(world.named("pot", "D-1", "draft")).await, Err("/slug".to_owned()));
    let jug = world.draft(world.named("jug", "J-1", "draft")).await.expect("free");
    assert_eq!(world.create(world.named("jug", "J-2", "active")).await, Err("/slug".to_owned()));
    let published = json!({ "collection": PRODUCT, "rkey": jug, "record": world.named("jug", "J-1", "active") });
    world.writes("com.atproto.repo.createRecord", published).await.expect("the same product");

    // Whoever changes something else keeps the name, and nobody takes another's.
    let put = |rkey: &str, record: Value| json!({ "collection": PRODUCT, "rkey": rkey, "record": record });
    let method = "com.atproto.repo.putRecord";
    world.writes(method, put(&pot, world.named("pot", "P-9", "active"))).await.expect("its own");
    let refused = world.writes(method, put(&pot, world.named("jug", "P-9", "active"))).await;
    assert_eq!(refused, Err("/slug".to_owned()));

    // Of several that are written together, too; one that goes makes way.
    let create = |record: Value| json!({ "$type": "com.atproto.repo.applyWrites#create", "collection": PRODUCT, "value": record });
    let method = "com.atproto.repo.applyWrites";
    let twice = json!([create(world.named("vase", "V-1", "active")), create(world.named("vase", "V-2", "active"))]);
    assert_eq!(world.writes(method, json!({ "writes": twice })).await, Err("/slug".to_owned()));
    let delete = json!({ "$type": "com.atproto.repo.applyWrites#delete", "collection": PRODUCT, "rkey": pot });
    let instead = json!([delete, create(world.named("pot", "P-9", "active"))]);
    world.writes(method, json!({ "writes": instead })).await.expect("the first one goes");

    // Of two that ask at once for one name, one gets it.
    let asked = (0..4).map(|n| world.create(world.named("bowl", &format!("B-{n}"), "active")));
    let got = futures::future::join_all(asked).await;
    assert_eq!(got.iter().filter(|got| got.is_ok()).count(), 1, "{got:?}");
    world.at.node.shutdown().await.expect("stops");
}

#[tokio::test]
async fn an_address_is_one_leads_and_a_slug_is_one_pages_and_one_spaces() {
    let world = World::new().await;
    let lead = |email: &str| {
        json!({ "$type": "co.kendev.business.lead", "firstName": "Lea", "lastName": "Berg", "email": email,
            "source": "website", "status": "new", "tenant": world.tenant, "createdAt": MADE })
    };
    world.draft(lead("lea@example.org")).await.expect("the first");
    assert_eq!(world.draft(lead("Lea@Example.org")).await, Err("/email".to_owned()));
    let taken = world.ask(
        &world.owner,
        "createLead",
        Some(json!({ "tenant": world.tenant, "record": {
        "firstName": "Lea", "lastName": "Berg", "email": "LEA@example.org", "source": "website" } })),
    );
    assert_eq!(taken.await.expect("the same one again")["created"], false);

    let page = |slug: &str| {
        json!({ "$type": "co.kendev.content.page", "title": "A page", "slug": slug, "tenant": world.tenant,
            "published": true, "pageType": "custom", "content": { "text": "A page." }, "createdAt": MADE })
    };
    assert_eq!(world.create(page("home")).await, Err("/slug".to_owned()), "the template has made one");
    world.create(page("yard")).await.expect("free");

    let space = |slug: &str, visibility: &str| {
        json!({ "tenant": world.tenant, "record": { "name": "A space", "slug": slug, "visibility": visibility,
            "memberApproval": "disabled", "businessIdentity": { "type": "retail", "industry": "retail" } } })
    };
    let make = async |slug: &str, visibility: &str| {
        let made = world.send(Some(&world.owner), "co.kendev.spaces.createSpace", Some(&space(slug, visibility))).await;
        (made.0, made.1["uri"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(make("office", "private").await.0, 200);
    assert_eq!((make("office", "public").await.0, make("Office", "private").await.0), (400, 400));
    let (status, yard) = make("yard", "public").await;
    assert_eq!(status, 200);
    for (slug, expected) in [("office", 400), ("yard", 200), ("garden", 200)] {
        let change = json!({ "space": yard, "record": { "slug": slug } });
        let (status, answer) = world.send(Some(&world.owner), "co.kendev.spaces.updateSpace", Some(&change)).await;
        assert_eq!(status, expected, "{slug}: {answer}");
    }
    world.at.node.shutdown().await.expect("stops");
}
