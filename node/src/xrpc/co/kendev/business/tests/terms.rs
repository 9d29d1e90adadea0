//! What a business has agreed on with the platform counts for the orders that are placed from then on, and the private
//! halves of records follow what is written elsewhere.

use super::*;

const SETTINGS: &str = "co.kendev.tenants.settings";
const PRODUCT: &str = "co.kendev.business.product";
const PRODUCT_SETTINGS: &str = "co.kendev.business.productSettings";

impl World {
    pub(super) fn workspace(&self) -> String {
        format!("at://{}/space/co.kendev.tenants.workspace/self", self.tenant)
    }

    /// Writes a record into the workspace as its owner does.
    pub(super) async fn put(&self, collection: &str, rkey: &str, record: &Value) -> (u16, Value) {
        let body = json!({ "space": self.workspace(), "repo": self.tenant, "collection": collection, "rkey": rkey,
            "record": record });
        self.send(Some(&self.owner), "com.atproto.space.putRecord", Some(&body)).await
    }

    /// A record of the workspace, out of an export.
    pub(super) async fn kept(&self, collection: &str, rkey: &str) -> Value {
        let asked = format!("{}/xrpc/co.kendev.tenants.exportTenant?tenant={}", self.url, self.tenant);
        let answer = self.client.get(asked).bearer_auth(&self.owner.token).send().await.expect("answered");
        let lines = answer.text().await.expect("lines");
        let mut lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let path = format!("{collection}/{rkey}");
        let found = lines.find(|line| line["kind"] == "private" && line["path"] == path);
        found.unwrap_or_else(|| panic!("{path} is not in the workspace"))["value"].clone()
    }

    /// Starts the node anew, with the owner of the business as a super admin.
    async fn with_super_admin(self) -> Self {
        let owner = self.owner.did.parse().expect("a DID");
        let at = self.at.restarted(|config| config.accounts.super_admins = vec![owner], |_| ()).await;
        Self { at, ..self }
    }
}

fn sharing(sharing: &Value) -> Value {
    json!({ "$type": SETTINGS, "revenueSharing": sharing, "createdAt": "2026-11-21T09:00:00.000Z" })
}

#[tokio::test]
async fn an_agreement_counts_for_the_orders_that_come_after_it() {
    let world = World::new().await;
    let bea = world.sign_up("bea").await;
    let cactus = world.product("cactus", 10_000, 9).await;
    let early = world.ask(&bea, "createOrder", world.order(&cactus, 1)).await.expect("offered");

    let (status, refused) = world.put(SETTINGS, "self", &sharing(&json!({ "agreementType": "negotiated" }))).await;
    assert_eq!((status, &refused["error"]), (400, &json!("InvalidRequest")));
    assert!(
        refused["message"].as_str().is_some_and(|text| text.starts_with("/revenueSharing/contractId: ")),
        "{refused}"
    );
    let agreed =
        json!({ "agreementType": "negotiated", "contractId": "c-1", "defaultRate": 900, "splitBase": "platform_fee" });
    let (status, answer) = world.put(SETTINGS, "self", &sharing(&agreed)).await;
    assert_eq!(status, 200, "{answer}");
    let late = world.ask(&bea, "createOrder", world.order(&cactus, 1)).await.expect("offered");

    // Of the early one the goods are shared out, at the rate of its type; of the late one the fee that was agreed on.
    let paid = world.step(&world.owner, "capturePayment", &early).await.expect("was pending");
    let (commission, shared) = (&paid["value"]["commission"], &paid["value"]["revenueDistribution"]);
    assert_eq!((&commission["rate"], &commission["amount"]), (&json!(1000), &json!(1000)));
    assert_eq!((&shared["baseKind"], &shared["base"]), (&json!("order_net"), &json!(10_000)));
    let revenue = format!("getRevenue?tenant={}", world.tenant.replace(':', "%3A"));
    let taken = world.ask(&world.owner, &revenue, None).await.expect("staff");
    assert_eq!(
        (&taken["revenue"][0]["orders"], &taken["revenue"][0]["commission"]),
        (&json!(1), &json!(1000)),
        "{taken}"
    );
    let paid = world.step(&world.owner, "capturePayment", &late).await.expect("was pending");
    let (commission, shared) = (&paid["value"]["commission"], &paid["value"]["revenueDistribution"]);
    assert_eq!((&commission["rate"], &commission["amount"]), (&json!(900), &json!(900)));
    assert_eq!(
        (&shared["baseKind"], &shared["base"], &shared["platformOperations"]),
        (&json!("platform_fee"), &json!(900), &json!(450))
    );
    let taken = world.ask(&world.owner, &revenue, None).await.expect("staff");
    assert_eq!((&taken["revenue"][0]["base"], &taken["revenue"][0]["commission"]), (&json!(10_900), &json!(1900)));

    // What is given back is of the goods; the fee goes down with them.
    let part = json!({ "order": late["uri"], "amount": 8000 });
    let back = world.ask(&world.owner, "refundOrder", Some(part)).await.expect("was paid");
    assert_eq!(
        (&back["value"]["revenueDistribution"]["base"], &back["value"]["commission"]["amount"]),
        (&json!(180), &json!(180))
    );
    let too_much = json!({ "order": late["uri"], "amount": 2001 });
    assert!(world.ask(&world.owner, "refundOrder", Some(too_much)).await.is_err());
    world.step(&world.owner, "refundOrder", &late).await.expect("not all went back");

    // What a plan gives stands in the settings, and follows the plan.
    let kept = world.kept(SETTINGS, "self").await;
    assert_eq!((&kept["subscription"]["plan"], &kept["limits"]["maxSpaces"]), (&json!("professional"), &json!(50)));
    assert_eq!((&kept["settings"]["customBranding"], &kept["status"]), (&json!(true), &json!("active")), "{kept}");
    world.operator("xrpc/co.kendev.tenants.updateTenant", &json!({ "tenant": world.tenant, "plan": "business" })).await;
    let kept = world.kept(SETTINGS, "self").await;
    assert_eq!((&kept["subscription"]["plan"], &kept["limits"]["maxSpaces"]), (&json!("professional"), &json!(200)));
    assert_eq!((&kept["settings"]["customBranding"], &kept["revenueSharing"]), (&json!(true), &agreed), "{kept}");
    let mut forged = kept.clone();
    forged["limits"]["maxUsers"] = json!(1_000_000);
    let (_, refused) = world.put(SETTINGS, "self", &forged).await;
    assert!(refused["message"].as_str().is_some_and(|text| text.starts_with("/limits/maxUsers: ")), "{refused}");
    world.at.stop().await;
}

#[tokio::test]
async fn a_rate_follows_the_type_of_its_product_and_low_ones_are_a_super_admins() {
    let world = World::new().await;
    let cactus = world.product("cactus", 10_000, 9).await;
    let rkey = cactus.rsplit('/').next().expect("a key").to_owned();
    let kept = world.kept(PRODUCT_SETTINGS, &rkey).await;
    assert_eq!(
        kept["commissionTemplate"],
        json!({ "defaultRate": 1000, "rationale": "goods and shipping cost" }),
        "{kept}"
    );
    let (_, product) = world
        .send(None, &format!("com.atproto.repo.getRecord?repo={}&collection={PRODUCT}&rkey={rkey}", world.tenant), None)
        .await;
    let mut product = product["value"].clone();
    product["productType"] = json!("automation");
    let body = json!({ "repo": world.tenant, "collection": PRODUCT, "rkey": rkey, "record": product });
    world.record("com.atproto.repo.putRecord", body).await;
    let kept = world.kept(PRODUCT_SETTINGS, &rkey).await;
    assert_eq!(kept["commissionTemplate"], json!({ "defaultRate": 2000, "rationale": "mostly platform work" }));
    assert_eq!(kept["inventory"]["quantity"], 9, "the rest stays as it is");

    let mut low = kept.clone();
    low["commission"] = json!({ "useCustomRate": true, "customCommissionRate": 500 });
    let (status, refused) = world.put(PRODUCT_SETTINGS, &rkey, &low).await;
    assert_eq!((status, &refused["error"]), (400, &json!("InvalidRequest")));
    let says = "/commission/customCommissionRate: a rate below 800 basis points";
    assert!(refused["message"].as_str().is_some_and(|text| text.starts_with(says)), "{refused}");

    let world = world.with_super_admin().await;
    let (status, answer) = world.put(PRODUCT_SETTINGS, &rkey, &low).await;
    assert_eq!(status, 200, "{answer}");
    let bea = world.sign_up("bea").await;
    let placed = world.ask(&bea, "createOrder", world.order(&cactus, 1)).await.expect("offered");
    let paid = world.step(&world.owner, "capturePayment", &placed).await.expect("was pending");
    assert_eq!(paid["value"]["commission"]["rate"], 500, "{paid}");

    // Of what is written for the business it is known which of its people did.
    let task = json!({ "$type": "co.kendev.business.task", "title": "Water it", "status": "todo", "priority": "low",
        "tenant": world.tenant, "createdAt": "2026-11-21T09:00:00.000Z" });
    world.put("co.kendev.business.task", "3kznmn7xqxl22", &task).await;
    let task = world.kept("co.kendev.business.task", "3kznmn7xqxl22").await;
    assert_eq!(task["reporter"], world.owner.did, "{task}");
    world.at.stop().await;
}
