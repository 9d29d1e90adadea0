//! What a product says of its stock (ORD-05).

use super::*;

impl World {
    /// Where a product stands, as everybody reads it.
    async fn shelf(&self, product: &str) -> String {
        let (did, rkey) = (&self.tenant, product.rsplit('/').next().expect("a key"));
        let method = format!(
            "com.atproto.repo.getRecord?repo={}&collection=co.kendev.business.product&rkey={rkey}",
            did.replace(':', "%3A")
        );
        let (status, answer) = self.send(None, &method, None).await;
        assert_eq!(status, 200, "{answer}");
        answer["value"]["status"].as_str().expect("a status").to_owned()
    }

    async fn count(&self, product: &str, quantity: i64) {
        let settings = json!({ "$type": "co.kendev.business.productSettings", "product": product,
            "inventory": { "quantity": quantity }, "createdAt": "2026-11-21T09:00:00.000Z" });
        let body = json!({ "space": format!("at://{}/space/co.kendev.tenants.workspace/self", self.tenant),
            "repo": self.tenant, "collection": "co.kendev.business.productSettings",
            "rkey": product.rsplit('/').next().expect("a key"), "record": settings });
        self.record("com.atproto.space.putRecord", body).await;
    }
}

#[tokio::test]
async fn what_has_to_be_sent_names_an_address_unless_it_is_fetched() {
    let world = World::new().await;
    let bea = world.sign_up("bea").await;
    let record = json!({ "$type": "co.kendev.business.product", "title": "A pot", "slug": "pot", "tenant": world.tenant,
        "productType": "physical", "pricing": { "currency": "EUR", "basePrice": 100 },
        "shipping": { "requiresShipping": true }, "status": "active", "createdAt": "2026-11-21T09:00:00.000Z" });
    let body = json!({ "repo": world.tenant, "collection": "co.kendev.business.product", "record": record });
    let pot = world.record("com.atproto.repo.createRecord", body).await;
    let order = |method: &str, address: Option<Value>| {
        let mut order = json!({ "tenant": world.tenant, "method": method,
            "lineItems": [{ "product": pot["uri"], "quantity": 1 }] });
        if let Some(address) = address {
            order["shippingAddress"] = address;
        }
        Some(order)
    };
    for method in ["physical", "digital", "service"] {
        let refused = world.ask(&bea, "createOrder", order(method, None)).await;
        assert_eq!(refused, Err("InvalidRequest".to_owned()), "{method}");
    }
    world.ask(&bea, "createOrder", order("pickup", None)).await.expect("she comes for it");
    let address = json!({ "name": "Bea", "country": "DE" });
    world.ask(&bea, "createOrder", order("physical", Some(address))).await.expect("it is sent");
    world.at.node.shutdown().await.expect("stops");
}

#[tokio::test]
async fn a_product_of_which_nothing_is_left_says_so_until_there_is_some_again() {
    let world = World::new().await;
    let bea = world.sign_up("bea").await;
    let pot = world.product("pot", 999, 2).await;
    world.ask(&bea, "createOrder", world.order(&pot, 1)).await.expect("two are left");
    assert_eq!(world.shelf(&pot).await, "active");
    let last = world.ask(&bea, "createOrder", world.order(&pot, 1)).await.expect("the last one");
    assert_eq!(world.shelf(&pot).await, "out_of_stock");
    assert_eq!(world.ask(&bea, "createOrder", world.order(&pot, 1)).await, Err("OutOfStock".to_owned()));

    world.step(&bea, "cancelOrder", &last).await.expect("not paid yet");
    assert_eq!(world.shelf(&pot).await, "active", "it came back");
    world.ask(&bea, "createOrder", world.order(&pot, 1)).await.expect("it is there again");
    assert_eq!(world.shelf(&pot).await, "out_of_stock");
    world.count(&pot, 5).await;
    assert_eq!(world.shelf(&pot).await, "active", "somebody counted them");
    world.count(&pot, 0).await;
    assert_eq!(world.shelf(&pot).await, "out_of_stock");
    world.at.node.shutdown().await.expect("stops");
}
