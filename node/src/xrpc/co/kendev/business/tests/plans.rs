//! What a plan allows is held wherever records are written for a business, counts once, and is answered with figures.

use super::*;

const MADE: &str = "2026-11-21T09:00:00.000Z";

impl World {
    fn private(&self, collection: &str, record: &Value) -> Value {
        let mut record = record.clone();
        record["$type"] = collection.into();
        record["createdAt"] = MADE.into();
        let space = format!("at://{}/space/co.kendev.tenants.workspace/self", self.tenant);
        json!({ "space": space, "repo": self.tenant, "collection": collection, "record": record })
    }

    /// Writes a record into the workspace as the owner's client does.
    async fn keep(&self, collection: &str, record: Value) -> (u16, Value) {
        let body = self.private(collection, &record);
        self.send(Some(&self.owner), "com.atproto.space.createRecord", Some(&body)).await
    }

    fn task(&self) -> Value {
        json!({ "title": "Sweep", "status": "todo", "priority": "medium", "tenant": self.tenant })
    }

    async fn allow(&self, plan: &str, limits: Value) {
        let wish = json!({ "tenant": self.tenant, "plan": plan, "limits": limits });
        self.operator("xrpc/co.kendev.tenants.updateTenant", &wish).await;
    }

    /// A private space of the business that somebody is asked into, and the room in which it lies.
    async fn asked_into_an_office(&self, user: &Person) -> (String, String) {
        let record = json!({ "name": "Office", "slug": "office", "visibility": "private", "memberApproval": "disabled",
            "businessIdentity": { "type": "service", "industry": "general" } });
        let wish = json!({ "tenant": self.tenant, "record": record });
        let (status, made) = self.send(Some(&self.owner), "co.kendev.spaces.createSpace", Some(&wish)).await;
        assert_eq!(status, 200, "{made}");
        let space = made["uri"].as_str().expect("a URI").to_owned();
        let invite = json!({ "space": space, "user": user.did });
        let (_, invited) = self.send(Some(&self.owner), "co.kendev.spaces.inviteMember", Some(&invite)).await;
        assert!(invited["token"].is_string(), "{invited}");
        let room = space.replace("co.kendev.spaces.space", "space/co.kendev.spaces.room");
        (space, room)
    }

    /// What was used of something, as the owner is told.
    async fn used(&self, resource: &str) -> u64 {
        let (status, usage) =
            self.send(Some(&self.owner), &format!("co.kendev.tenants.getUsage?tenant={}", self.tenant), None).await;
        assert_eq!(status, 200, "{usage}");
        let figures = usage["figures"].as_array().expect("figures");
        let figure = figures.iter().find(|figure| figure["resource"] == resource).expect("a figure of each");
        figure["used"].as_u64().expect("a count")
    }
}

fn refused(answer: &(u16, Value), resource: &str, limit: u64, used: u64) {
    let (status, body) = answer;
    let figures = ["resource", "limit", "used"].map(|name| body[name].clone());
    assert_eq!((*status, &body["error"]), (402, &json!("UsageLimitExceeded")), "{body}");
    assert_eq!(figures, [json!(resource), json!(limit), json!(used)], "{body}");
}

#[tokio::test]
async fn tasks_jobs_posts_and_mails_of_a_month_are_counted_where_they_are_written() {
    let world = World::new().await;
    let limits = json!([{ "resource": "tasks", "limit": 3 }, { "resource": "posts", "limit": 2 }, { "resource": "emails", "limit": 1 }]);
    world.allow("professional", limits).await;
    let (task, job) = ("co.kendev.business.task", "co.kendev.agents.job");
    assert_eq!(world.keep(task, world.task()).await.0, 200);
    assert_eq!(world.used("tasks").await, 1);

    // What is refused for another reason counts for nothing, nor does what is not written after all.
    let mut wrong = world.task();
    wrong["status"] = "forgotten".into();
    assert_eq!(world.keep(task, wrong).await.0, 400);
    let mut fixed = world.private(task, &world.task());
    fixed["rkey"] = "3l3aaaaaaaaaa".into();
    let twice = [
        world.send(Some(&world.owner), "com.atproto.space.createRecord", Some(&fixed)).await.0,
        world.send(Some(&world.owner), "com.atproto.space.createRecord", Some(&fixed)).await.0,
    ];
    assert_eq!((twice, world.used("tasks").await), ([200, 400], 2));

    // Two at once where one is left: exactly one passes.
    let both = futures::future::join(world.keep(task, world.task()), world.keep(task, world.task())).await;
    let (passed, other) = if both.0.0 == 200 { (both.0, both.1) } else { (both.1, both.0) };
    assert_eq!(passed.0, 200, "{}", passed.1);
    refused(&other, "tasks", 3, 3);
    let work = json!({ "tenant": world.tenant, "taskType": "report_generation", "title": "Report" });
    refused(&world.keep(job, work).await, "tasks", 3, 3);

    // Several writes are counted together, and none is when there is no room for all.
    let post = |slug: &str, status: &str| {
        json!({ "$type": "co.kendev.content.post", "title": slug, "content": { "text": "Soon." }, "status": status,
            "publishedAt": "2030-01-01T00:00:00.000Z", "slug": slug, "tenant": world.tenant, "createdAt": MADE })
    };
    let create = |slug: &str| {
        json!({ "$type": "com.atproto.space.applyWrites#create", "collection": "co.kendev.content.post",
            "value": post(slug, "scheduled") })
    };
    let space = format!("at://{}/space/co.kendev.tenants.workspace/self", world.tenant);
    let three = json!({ "space": space, "repo": world.tenant, "writes": [create("a"), create("b"), create("c")] });
    refused(&world.send(Some(&world.owner), "com.atproto.space.applyWrites", Some(&three)).await, "posts", 2, 0);
    let two = json!({ "space": space, "repo": world.tenant, "writes": [create("a"), create("b")] });
    let (status, answer) = world.send(Some(&world.owner), "com.atproto.space.applyWrites", Some(&two)).await;
    assert_eq!((status, world.used("posts").await), (200, 2), "{answer}");

    // A campaign of mails counts when it starts, and not when it is changed.
    let campaign = |status: &str| json!({ "name": "Spring", "type": "email", "status": status, "budget": { "currency": "EUR" }, "tenant": world.tenant });
    let (status, draft) = world.keep("co.kendev.business.campaign", campaign("draft")).await;
    assert_eq!((status, world.used("emails").await), (200, 0), "{draft}");
    for (status, used) in [("active", 1), ("paused", 1), ("active", 1)] {
        let mut body = world.private("co.kendev.business.campaign", &campaign(status));
        body["rkey"] = draft["uri"].as_str().expect("a URI").rsplit('/').next().into();
        let (code, answer) = world.send(Some(&world.owner), "com.atproto.space.putRecord", Some(&body)).await;
        assert_eq!((code, world.used("emails").await), (200, used), "{status}: {answer}");
    }
    refused(&world.keep("co.kendev.business.campaign", campaign("scheduled")).await, "emails", 1, 1);
    world.at.stop().await;
}

#[tokio::test]
async fn a_feature_that_the_plan_lacks_is_refused_by_name_and_what_is_there_stays() {
    let world = World::new().await;
    let bea = world.sign_up("bea").await;
    let cactus = world.product("cactus", 999, 3).await;
    let placed = world.ask(&bea, "createOrder", world.order(&cactus, 1)).await.expect("offered");
    let lead = json!({ "tenant": world.tenant, "record": {
        "firstName": "Leo", "lastName": "Lee", "email": "leo@mail.test", "source": "website" } });
    let known = world.ask(&world.owner, "createLead", Some(lead.clone())).await.expect("has a plan for it");
    world.allow("free", json!([])).await;

    for (who, method, body) in [
        (&bea, "createOrder", world.order(&cactus, 1)),
        (&world.owner, "createLead", Some(lead)),
        (&world.owner, "logActivity", Some(json!({ "lead": known["uri"], "type": "call", "subject": "again" }))),
    ] {
        assert_eq!(world.ask(who, method, body).await, Err("FeatureDisabled".to_owned()), "{method}");
    }
    let record = json!({ "$type": "co.kendev.business.product", "title": "Pot", "slug": "pot", "tenant": world.tenant,
        "productType": "physical", "pricing": { "currency": "EUR", "basePrice": 5 }, "status": "active", "createdAt": MADE });
    let body = json!({ "repo": world.tenant, "collection": "co.kendev.business.product", "record": record });
    let (status, answer) = world.send(Some(&world.owner), "com.atproto.repo.createRecord", Some(&body)).await;
    let told = ["error", "feature", "plan", "neededPlan"].map(|name| answer[name].clone());
    assert_eq!((status, told), (402, ["FeatureDisabled", "ecommerce", "free", "professional"].map(Value::from)));
    let contact = json!({ "firstName": "Leo", "lastName": "Lee", "tenant": world.tenant });
    let (status, answer) = world.keep("co.kendev.business.contact", contact).await;
    assert!(status == 402 && answer["feature"] == "crm" && answer["neededPlan"] == "starter", "{answer}");
    let mut profile = world
        .send(
            None,
            &format!("com.atproto.repo.getRecord?repo={}&collection=co.kendev.tenants.profile&rkey=self", world.tenant),
            None,
        )
        .await
        .1["value"]
        .clone();
    profile["branding"] = json!({ "primaryColor": "#ff0000" });
    let body =
        json!({ "repo": world.tenant, "collection": "co.kendev.tenants.profile", "rkey": "self", "record": profile });
    let (status, answer) = world.send(Some(&world.owner), "com.atproto.repo.putRecord", Some(&body)).await;
    assert!(status == 402 && answer["feature"] == "branding", "{answer}");

    // What is there is read, moved on to its end, and taken away.
    let list = format!("listLeads?tenant={}", world.tenant);
    assert_eq!(world.ask(&world.owner, &list, None).await.expect("read")["leads"].as_array().map(Vec::len), Some(1));
    world.step(&world.owner, "capturePayment", &placed).await.expect("was ordered");
    world.step(&world.owner, "refundOrder", &placed).await.expect("was paid");
    let rkey = cactus.rsplit('/').next();
    let body = json!({ "repo": world.tenant, "collection": "co.kendev.business.product", "rkey": rkey });
    let (status, answer) = world.send(Some(&world.owner), "com.atproto.repo.deleteRecord", Some(&body)).await;
    assert_eq!(status, 200, "{answer}");
    world.at.stop().await;
}

#[tokio::test]
async fn products_count_wherever_they_lie_and_one_that_is_left_is_made_once() {
    let world = World::new().await;
    // The template has three examples, which are not offered yet and lie in the workspace.
    assert_eq!(world.used("products").await, 3);
    world.allow("professional", json!([{ "resource": "products", "limit": 4 }])).await;
    let record = |slug: &str| {
        json!({ "$type": "co.kendev.business.product", "title": slug, "slug": slug, "tenant": world.tenant,
            "productType": "physical", "pricing": { "currency": "EUR", "basePrice": 5 }, "status": "active", "createdAt": MADE })
    };
    let body = |slug: &str| json!({ "repo": world.tenant, "collection": "co.kendev.business.product", "record": record(slug) });
    let (one, other) = (body("one"), body("other"));
    let both = futures::future::join(
        world.send(Some(&world.owner), "com.atproto.repo.createRecord", Some(&one)),
        world.send(Some(&world.owner), "com.atproto.repo.createRecord", Some(&other)),
    );
    let both = both.await;
    let (passed, other) = if both.0.0 == 200 { (both.0, both.1) } else { (both.1, both.0) };
    assert_eq!(passed.0, 200, "{}", passed.1);
    refused(&other, "products", 4, 4);
    let mut draft = record("draft");
    draft["status"] = "draft".into();
    refused(&world.keep("co.kendev.business.product", draft).await, "products", 4, 4);
    world.at.stop().await;
}

#[tokio::test]
async fn who_may_not_write_into_a_tenants_space_learns_nothing_of_its_plan() {
    let world = World::new().await;
    let eve = world.sign_up("eve").await;
    let (_, room) = world.asked_into_an_office(&eve).await;
    let note = json!({ "space": room, "repo": eve.did, "collection": "com.example.note", "record": { "text": "a" } });
    let used = world.used("apiCalls").await;
    let refused = world.send(Some(&eve), "com.atproto.space.createRecord", Some(&note)).await;
    assert_eq!(refused.1["error"], "SpaceNotFound", "{}", refused.1);
    // What the owner asks counts as well, and nothing of hers does.
    assert_eq!(world.used("apiCalls").await, used + 1);
    world.allow("free", json!([{ "resource": "apiCalls", "limit": 0 }])).await;
    let again = world.send(Some(&eve), "com.atproto.space.createRecord", Some(&note)).await;
    assert_eq!(again.1["error"], "SpaceNotFound", "{}", again.1);
    world.at.stop().await;
}

#[tokio::test]
async fn a_member_who_writes_into_a_tenants_space_is_told_the_figures_of_its_plan() {
    let world = World::new().await;
    let bea = world.sign_up("bea").await;
    let (space, room) = world.asked_into_an_office(&bea).await;
    let (status, joined) = world.send(Some(&bea), "co.kendev.spaces.joinSpace", Some(&json!({ "space": space }))).await;
    assert_eq!((status, &joined["status"]), (200, &json!("active")), "{joined}");
    let limit = world.used("apiCalls").await + 2;
    world.allow("free", json!([{ "resource": "apiCalls", "limit": limit }])).await;

    // What she writes into her own repository there is of the business, for as long as that has room.
    let note = json!({ "$type": "com.example.note", "text": "a" });
    let one = json!({ "space": room, "repo": bea.did, "collection": "com.example.note", "record": note });
    for _ in 0..2 {
        let (status, answer) = world.send(Some(&bea), "com.atproto.space.createRecord", Some(&one)).await;
        assert_eq!(status, 200, "{answer}");
    }
    let mut put = one.clone();
    put["rkey"] = "3l3aaaaaaaaaa".into();
    let writes =
        json!([{ "$type": "com.atproto.space.applyWrites#create", "collection": "com.example.note", "value": note }]);
    let apply = json!({ "space": room, "repo": bea.did, "writes": writes });
    for (method, body) in [("createRecord", &one), ("putRecord", &put), ("applyWrites", &apply)] {
        let answer = world.send(Some(&bea), &format!("com.atproto.space.{method}"), Some(body)).await;
        refused(&answer, "apiCalls", limit, limit);
    }
    let query = format!("com.atproto.space.listRecords?space={room}&repo={}&collection=com.example.note", bea.did);
    let (_, list) = world.send(Some(&bea), &query, None).await;
    assert_eq!(list["records"].as_array().map(Vec::len), Some(2), "what is refused is not there: {list}");

    // Elsewhere she writes as before: the plan is the business's.
    let own = json!({ "repo": bea.did, "collection": "com.example.note", "record": note });
    let (status, answer) = world.send(Some(&bea), "com.atproto.repo.createRecord", Some(&own)).await;
    assert_eq!(status, 200, "{answer}");
    world.at.stop().await;
}
