//! Webhooks as the people of a business, those of another one and a receiver meet them; every answer is held against its
//! lexicon, and every call against the secret that was told.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use angel_protocol::lexicon::Schemas;
use angel_protocol::time::Timestamp;
use angel_protocol::webhooks::{Answer, Track, Why};
use angel_storage::tenants::{WEBHOOKS, WebhookRow};
use angel_storage::{Batch, Store};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::clock;
use crate::config::Scope;
use crate::xrpc::tests::visited::{Person, Visited};

const PATIENCE: Duration = Duration::from_secs(60);
const SETTINGS: &str = "co.kendev.content.formSettings";

/// A call as it arrived.
#[derive(Debug)]
struct Call {
    id: String,
    at: u64,
    signature: String,
    body: Bytes,
}

impl Call {
    fn says(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// Whether it is signed with this secret, as a receiver looks at it.
    fn is_signed_with(&self, secret: &str) -> bool {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").expect("a secret")).expect("base64");
        let at = Timestamp::from_millis(self.at * 1000);
        clock::now().abs_diff(at) < PATIENCE
            && angel_protocol::webhooks::sign(&key, &self.id, at, &self.body) == self.signature
    }
}

/// Somebody who is called.
struct Receiver {
    url: String,
    status: Arc<AtomicU16>,
    calls: mpsc::UnboundedReceiver<Call>,
}

type Hears = (mpsc::UnboundedSender<Call>, Arc<AtomicU16>);

impl Receiver {
    async fn new() -> Self {
        let (sender, calls) = mpsc::unbounded_channel();
        let status = Arc::new(AtomicU16::new(200));
        let hears = |State((sender, status)): State<Hears>, headers: HeaderMap, body: Bytes| async move {
            let text = |name: &str| headers[name].to_str().expect("ASCII").to_owned();
            assert_eq!(text("content-type"), "application/json");
            let at = text("webhook-timestamp").parse().expect("seconds");
            let call = Call { id: text("webhook-id"), at, signature: text("webhook-signature"), body };
            // Nobody listens any more once a test has ended.
            let _ = sender.send(call);
            StatusCode::from_u16(status.load(Ordering::Relaxed)).expect("a status")
        };
        let routes = Router::new().route("/hook", post(hears)).with_state((sender, Arc::clone(&status)));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/hook", listener.local_addr().expect("bound"));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { url, status, calls }
    }

    fn answers(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    async fn call(&mut self) -> Call {
        let call = tokio::time::timeout(PATIENCE, self.calls.recv()).await;
        call.expect("a call in time").expect("the receiver lives")
    }
}

/// A business, and another one.
struct Shop {
    at: Visited,
    owner: Person,
    rival: Person,
    tenant: String,
}

impl Deref for Shop {
    type Target = Visited;

    fn deref(&self) -> &Visited {
        &self.at
    }
}

fn enc(text: &str) -> String {
    text.replace(':', "%3A").replace('/', "%2F")
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

impl Shop {
    async fn on(at: Visited, plan: &str) -> Self {
        let (owner, rival) = (at.sign_up("olga").await, at.sign_up("rita").await);
        let mut made = vec![];
        for (slug, owner) in [("shop", &owner), ("rival", &rival)] {
            let wish =
                json!({ "slug": slug, "template": "basic-business", "name": slug, "owner": owner.did, "plan": plan });
            made.push(text(&at.operator("xrpc/co.kendev.tenants.provision", &wish).await["tenant"]["did"]));
        }
        Self { at, owner, rival, tenant: made.swap_remove(0) }
    }

    async fn new() -> Self {
        Self::on(Visited::new().await, "professional").await
    }

    /// Asks a method of webhooks; what is answered, and what is refused, is as its document says.
    async fn ask(&self, who: &Person, method: &str, mut body: Value) -> Result<Value, String> {
        let name = format!("co.kendev.tenants.{method}");
        body["tenant"] = self.tenant.clone().into();
        let (status, answer) = match method {
            "listWebhooks" => self.send(Some(who), &format!("{name}?tenant={}", enc(&self.tenant)), None).await,
            _ => self.send(Some(who), &name, Some(&body)).await,
        };
        let schema = Schemas::builtin().method(&name).expect("documented");
        if status == 200 {
            schema.validate_output(&answer).unwrap_or_else(|error| panic!("{name}: {error} in {answer:#}"));
            return Ok(answer);
        }
        let error = text(&answer["error"]);
        assert!(error == "InvalidRequest" || schema.errors().any(|named| named == error), "{name}: {answer}");
        Err(error)
    }

    async fn done(&self, method: &str, body: Value) -> Value {
        self.ask(&self.owner, method, body).await.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// A webhook, and its secret.
    async fn hook(&self, url: &str, events: &[&str]) -> (String, String) {
        let made = self.done("createWebhook", json!({ "url": url, "events": events })).await;
        (text(&made["webhook"]["id"]), text(&made["secret"]))
    }

    /// The list, once a hook in it is as it should be: what came of a call is written down after its answer.
    async fn listed(&self, id: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let listed = self.done("listWebhooks", json!({})).await;
            let hooks = listed["webhooks"].as_array().expect("a list");
            if let Some(hook) = hooks.iter().find(|hook| hook["id"] == id).filter(|hook| is_so(hook)) {
                return hook.clone();
            }
            assert!(tokio::time::Instant::now() < deadline, "waited for another state of {id}: {listed:#}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn lead(&self, name: &str) {
        let record = json!({ "firstName": name, "lastName": "Love", "email": format!("{name}@mail.example"),
            "source": "website", "priority": "high" });
        let body = json!({ "tenant": self.tenant, "record": record });
        let (status, answer) = self.send(Some(&self.owner), "co.kendev.business.createLead", Some(&body)).await;
        assert_eq!(status, 200, "{answer}");
    }

    async fn member(&self, name: &str, permissions: &[&str]) -> Person {
        let person = self.sign_up(name).await;
        let wish =
            json!({ "tenant": self.tenant, "role": "tenant_manager", "permissions": permissions, "user": person.did });
        let (status, invited) = self.send(Some(&self.owner), "co.kendev.tenants.invite", Some(&wish)).await;
        assert_eq!(status, 200, "{invited}");
        let accept = json!({ "tenant": self.tenant, "token": invited["token"] });
        let (status, answer) = self.send(Some(&person), "co.kendev.tenants.acceptInvite", Some(&accept)).await;
        assert_eq!(status, 200, "{answer}");
        person
    }

    async fn restarted(self, between: impl FnOnce(&Store)) -> Self {
        let Self { at, owner, rival, tenant } = self;
        Self { at: at.restarted(|_| (), between).await, owner, rival, tenant }
    }
}

#[tokio::test]
async fn an_event_is_called_signed_and_again_until_it_is_taken() {
    let (shop, mut receiver) = (Shop::new().await, Receiver::new().await);
    receiver.answers(500);
    let (id, secret) = shop.hook(&receiver.url, &["lead.created"]).await;
    shop.lead("ada").await;
    let first = receiver.call().await;
    receiver.answers(204);
    assert!(first.is_signed_with(&secret), "{first:?}");
    let says = first.says();
    assert_eq!((&says["type"], &says["data"]["tenant"]), (&json!("lead.created"), &json!(shop.tenant)));
    assert!(text(&says["data"]["subject"]).starts_with(&format!("at://{}/co.kendev.business.lead/", shop.tenant)));
    assert!(!says.to_string().contains("Love"), "what the record says is read where it lies: {says}");
    let again = receiver.call().await;
    assert_eq!((&again.id, &again.body), (&first.id, &first.body));
    assert!(again.is_signed_with(&secret));
    let hook = shop.listed(&id, |hook| hook["delivered"] == 1).await;
    assert_eq!((&hook["state"], &hook["lastFailure"]), (&json!("active"), &json!("it answered 500")));

    // Others are called in their turn, and of what they wanted alone.
    shop.lead("bea").await;
    let other = receiver.call().await;
    assert!(other.id != first.id && other.is_signed_with(&secret));
    assert_ne!(other.says()["data"]["subject"], says["data"]["subject"]);

    // What happens while the node is away from its receiver, or the receiver from it, is told after the next start.
    receiver.answers(503);
    shop.lead("cleo").await;
    let missed = receiver.call().await;
    shop.listed(&id, |hook| hook["state"] == "failing").await;
    receiver.answers(200);
    let shop = shop.restarted(|_| ()).await;
    shop.listed(&id, |hook| hook["delivered"] == 3 && hook["state"] == "active").await;
    while let Ok(call) = receiver.calls.try_recv() {
        assert!(call.id == missed.id && call.is_signed_with(&secret), "the secret is the same after a start: {call:?}");
    }

    // Another secret signs what comes from now on, and a test says that it is one.
    let renewed = text(&shop.done("rotateWebhookSecret", json!({ "id": id })).await["secret"]);
    assert_eq!(shop.done("testWebhook", json!({ "id": id })).await, json!({ "delivered": true, "status": 200 }));
    let tried = receiver.call().await;
    assert!(tried.is_signed_with(&renewed) && !tried.is_signed_with(&secret));
    assert_eq!(tried.says()["type"], "webhook.test");

    // No secret is in a list, in an export or in the audit log, and the export has no hook at all.
    let export = format!("{}/xrpc/co.kendev.tenants.exportTenant?tenant={}", shop.url, enc(&shop.tenant));
    let export = shop.client.get(export).bearer_auth(&shop.owner.token).send().await.expect("answered");
    let shown = [export.text().await.expect("lines"), shop.done("listWebhooks", json!({})).await.to_string()];
    for secret in [&secret, &renewed] {
        let bare = secret.strip_prefix("whsec_").expect("a secret");
        assert!(shown.iter().all(|shown| !shown.contains(bare)), "a secret is shown");
    }
    assert!(shown[0].contains("add webhook") && !shown[0].contains(&receiver.url), "the audit log tells of it");
    shop.done("deleteWebhook", json!({ "id": id })).await;
    assert_eq!(shop.ask(&shop.owner, "testWebhook", json!({ "id": id })).await, Err("WebhookNotFound".to_owned()));
    shop.at.stop().await;
}

/// The rows of webhooks in a store that is at rest.
fn rewrite(store: &Store, change: impl Fn(&mut WebhookRow)) {
    let rows = store.reader().scan(&WEBHOOKS).page(100).expect("reads").rows;
    assert!(!rows.is_empty());
    let mut batch = Batch::new();
    for (key, mut row) in rows {
        change(&mut row);
        batch.put(&WEBHOOKS, &key, &row).expect("fits");
    }
    store.writer().commit(batch).expect("commits");
}

#[tokio::test]
async fn what_fails_for_a_day_is_paused_and_told_and_goes_on_where_it_was() {
    let (shop, mut receiver) = (Shop::new().await, Receiver::new().await);
    let (id, secret) = shop.hook(&receiver.url, &["lead.created"]).await;
    receiver.answers(500);
    shop.lead("ada").await;
    let failed = receiver.call().await;
    shop.listed(&id, |hook| hook["state"] == "failing").await;
    // A day passes.
    let shop = shop
        .restarted(|store| {
            rewrite(store, |row| {
                row.track = Track::default();
                row.track.answered(clock::now() - Duration::from_hours(25), Answer::Refused, 0);
            });
        })
        .await;
    let hook = shop.listed(&id, |hook| hook["state"] == "paused").await;
    assert_eq!(hook["pausedBecause"], "failing");
    shop.told(&shop.owner, &shop.tenant, &["job.failed"]).await;

    // What waited is told once it is resumed; calls of before the pause were the same.
    shop.lead("bea").await;
    receiver.answers(200);
    while let Ok(call) = receiver.calls.try_recv() {
        assert_eq!(call.id, failed.id);
    }
    shop.done("updateWebhook", json!({ "id": id, "paused": false })).await;
    assert_eq!(receiver.call().await.id, failed.id, "in their order");
    let next = receiver.call().await;
    assert!(next.id != failed.id && next.is_signed_with(&secret));

    // Staff pause it, and pass over what happens meanwhile.
    let paused = shop.done("updateWebhook", json!({ "id": id, "paused": true })).await;
    assert_eq!((&paused["webhook"]["state"], &paused["webhook"]["pausedBecause"]), (&json!("paused"), &json!("staff")));
    shop.lead("cleo").await;
    shop.told_times("lead.created", 3).await;
    shop.done("updateWebhook", json!({ "id": id, "paused": false, "skip": true })).await;
    receiver.answers(410);
    shop.lead("dora").await;
    let gone = receiver.call().await;
    assert!(text(&gone.says()["data"]["message"]).len() > 10 && gone.id != next.id);
    let hook = shop.listed(&id, |hook| hook["state"] == "paused").await;
    assert_eq!((&hook["pausedBecause"], &hook["delivered"]), (&json!("gone"), &json!(2)));
    shop.told_times("job.failed", 2).await;

    // A node that has not the key of the secret calls nobody with another one.
    receiver.answers(200);
    let shop = shop
        .restarted(|store| {
            rewrite(store, |row| {
                row.key = "did:web:lost.example".parse().expect("a DID");
                row.track.resume();
            });
        })
        .await;
    let hook = shop.listed(&id, |hook| hook["pausedBecause"] == Why::SecretLost.name()).await;
    assert_eq!(hook["delivered"], 2);
    let renewed = text(&shop.done("rotateWebhookSecret", json!({ "id": id })).await["secret"]);
    let call = receiver.call().await;
    assert!(call.id == gone.id && call.is_signed_with(&renewed), "it goes on with the new one");
    shop.at.stop().await;
}

impl Shop {
    /// Waits until the system space has told of an event so often.
    async fn told_times(&self, event: &str, count: usize) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let told = self.told(&self.owner, &self.tenant, &[event]).await;
            if told.iter().filter(|told| *told == event).count() >= count {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "{event} was told less than {count} times: {told:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn webhooks_are_for_those_who_may_read_what_they_tell_and_where_the_plan_has_them() {
    let shop = Shop::on(Visited::new().await, "starter").await;
    let url = "https://hooks.example/x";
    let create = json!({ "url": url, "events": ["order.placed"] });
    let refused = |name: &str| Err::<Value, _>(name.to_owned());
    assert_eq!(shop.ask(&shop.owner, "createWebhook", create.clone()).await, refused("FeatureDisabled"));
    let plan = json!({ "tenant": shop.tenant, "plan": "professional" });
    shop.operator("xrpc/co.kendev.tenants.updateTenant", &plan).await;

    let settler = shop.member("sammy", &["manage_settings"]).await;
    let keeper = shop.member("kimmy", &["manage_spaces"]).await;
    let both = shop.member("boris", &["manage_settings", "manage_spaces"]).await;
    let made = shop.ask(&both, "createWebhook", create.clone()).await.expect("may read what it tells");
    assert_eq!(made["webhook"]["createdBy"], both.did);
    let id = made["webhook"]["id"].clone();
    for (who, list, others) in [
        (&shop.rival, refused("TenantNotFound"), "TenantNotFound"),
        (&keeper, refused("NotAllowed"), "NotAllowed"),
        (&settler, Ok(json!({ "webhooks": [made["webhook"]] })), "NotAllowed"),
    ] {
        assert_eq!(shop.ask(who, "listWebhooks", json!({})).await, list);
        for method in ["createWebhook", "updateWebhook", "rotateWebhookSecret", "testWebhook"] {
            let body = if method == "createWebhook" { create.clone() } else { json!({ "id": id }) };
            assert_eq!(shop.ask(who, method, body).await, refused(others), "{method}");
        }
    }
    assert_eq!(shop.ask(&shop.rival, "deleteWebhook", json!({ "id": id })).await, refused("TenantNotFound"));
    assert_eq!(shop.ask(&keeper, "deleteWebhook", json!({ "id": id })).await, refused("NotAllowed"));

    // There is an end to them, and a plan that has them no more leaves what is there to be looked at and deleted.
    for _ in 1..20 {
        shop.done("createWebhook", create.clone()).await;
    }
    assert_eq!(shop.ask(&shop.owner, "createWebhook", create).await, refused("TooManyWebhooks"));
    shop.operator(
        "xrpc/co.kendev.tenants.updateTenant",
        &json!({ "tenant": shop.tenant, "plan": "business", "features": [] }),
    )
    .await;
    assert_eq!(shop.done("listWebhooks", json!({})).await["webhooks"].as_array().expect("a list").len(), 20);
    shop.done("deleteWebhook", json!({ "id": id })).await;
    shop.at.stop().await;
}

#[tokio::test]
async fn addresses_of_private_networks_are_refused_by_name() {
    let at = Visited::with(|config| config.network.scope = Scope::Public).await;
    let shop = Shop::on(at, "professional").await;
    for url in [
        "https://127.0.0.1/x",
        "https://10.1.2.3/x",
        "https://192.168.1.1:8443/x",
        "https://169.254.169.254/latest",
        "https://[::1]/x",
        "https://[::ffff:10.0.0.1]/x",
        "https://0x7f.1/x",
        "https://localhost/x",
    ] {
        let made = shop.ask(&shop.owner, "createWebhook", json!({ "url": url })).await;
        assert_eq!(made, Err("PrivateTarget".to_owned()), "{url}");
    }
    for url in ["http://127.0.0.1/x", "http://hooks.example/", "https://ada:word@hooks.example/", "hooks.example"] {
        let made = shop.ask(&shop.owner, "createWebhook", json!({ "url": url })).await;
        assert_eq!(made, Err("InvalidTarget".to_owned()), "{url}");
    }
    // One is refused where it is changed, too; and one whose name leads here since it was made is not called.
    let (id, _) = shop.hook("https://203.0.113.7/x", &[]).await;
    let update = json!({ "id": id, "url": "https://10.1.2.3/x" });
    assert_eq!(shop.ask(&shop.owner, "updateWebhook", update).await, Err("PrivateTarget".to_owned()));
    let Shop { at, owner, rival, tenant } = shop;
    let moved = |store: &Store| rewrite(store, |row| row.url = Some("https://localhost/x".to_owned()));
    let at = at.restarted(|config| config.network.scope = Scope::Public, moved).await;
    let shop = Shop { at, owner, rival, tenant };
    let tried = shop.done("testWebhook", json!({ "id": id })).await;
    assert_eq!((&tried["delivered"], tried.get("status")), (&json!(false), None));
    assert_eq!(tried["message"], "localhost is no address that this network reaches; nothing was sent");
    shop.at.stop().await;
}

#[tokio::test]
async fn answers_to_a_form_are_called_where_its_settings_say() {
    let (shop, mut receiver) = (Shop::new().await, Receiver::new().await);
    let query = format!("com.atproto.repo.listRecords?repo={}&collection=co.kendev.content.form", enc(&shop.tenant));
    let (_, forms) = shop.send(None, &query, None).await;
    let form = text(&forms["records"][0]["uri"]);
    let rkey = form.rsplit('/').next().expect("a key").to_owned();
    let settle = async |action: Value| {
        let space = format!("at://{}/space/co.kendev.tenants.workspace/self", shop.tenant);
        let record =
            json!({ "$type": SETTINGS, "form": form, "submitAction": action, "createdAt": "2026-11-21T09:00:00.000Z" });
        let body =
            json!({ "space": space, "repo": shop.tenant, "collection": SETTINGS, "rkey": rkey, "record": record });
        shop.send(Some(&shop.owner), "com.atproto.space.putRecord", Some(&body)).await
    };
    let submit = async |name: &str| {
        let answers = [("name", name), ("email", "ada@mail.example"), ("message", "hello")];
        let answers: Vec<_> = answers.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
        let body = json!({ "form": form, "answers": answers, "consent": true });
        let (status, answer) = shop.send(None, "co.kendev.content.submitForm", Some(&body)).await;
        assert_eq!(status, 200, "{answer}");
    };
    let webhook = |to: &str| json!({ "type": "webhook", "destination": to });
    let (status, refused) = settle(webhook("http://hooks.example/x")).await;
    assert_eq!((status, &refused["error"]), (400, &json!("InvalidRequest")), "{refused}");
    assert!(text(&refused["message"]).starts_with("/submitAction/destination: "), "{refused}");

    // What came before the settings named a URL stays here.
    submit("before").await;
    assert_eq!(settle(webhook(&receiver.url)).await.0, 200);
    let id = format!("form.{rkey}");
    let warnings = async || {
        let uri = enc(&form.replace("co.kendev.content.form", SETTINGS));
        let query = format!("co.kendev.content.getFormSettings?uri={uri}");
        let (status, settings) = shop.send(Some(&shop.owner), &query, None).await;
        assert_eq!(status, 200, "{settings}");
        settings["warnings"].to_string()
    };
    assert!(warnings().await.contains("rotateWebhookSecret"), "{}", warnings().await);
    let secret = text(&shop.done("rotateWebhookSecret", json!({ "id": id })).await["secret"]);
    assert!(!warnings().await.contains("submitAction"), "{}", warnings().await);
    receiver.answers(500);
    submit("Ada").await;
    let first = receiver.call().await;
    receiver.answers(200);
    let says = first.says();
    assert_eq!((&says["type"], &says["data"]["form"]), (&json!("form.submitted"), &json!(form)));
    assert_eq!(says["data"]["answers"][0], json!({ "name": "name", "value": "Ada" }));
    let again = receiver.call().await;
    assert!(again.id == first.id && again.is_signed_with(&secret), "{again:?}");
    let hook = shop.listed(&id, |hook| hook["delivered"] == 1).await;
    assert_eq!((&hook["kind"], &hook["form"], hook.get("url")), (&json!("form"), &json!(form), None));

    // The settings send them elsewhere: nothing of that is called, also when they name the URL again.
    let email = json!({ "type": "email", "destination": "desk@shop.example" });
    assert_eq!(settle(email).await.0, 200);
    submit("Bea").await;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while shop.done("listWebhooks", json!({})).await["webhooks"] != json!([]) {
        assert!(tokio::time::Instant::now() < deadline, "the hook of the form stays");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(settle(webhook(&receiver.url)).await.0, 200);
    submit("Cleo").await;
    assert_eq!(receiver.call().await.says()["data"]["answers"][0]["value"], "Cleo");

    // Without the feature they are kept, and staff are told so.
    let plan = json!({ "tenant": shop.tenant, "plan": "starter" });
    shop.operator("xrpc/co.kendev.tenants.updateTenant", &plan).await;
    assert!(warnings().await.contains("the plan has no webhooks"), "{}", warnings().await);
    submit("Dora").await;
    shop.at.stop().await;
    assert!(receiver.calls.try_recv().is_err(), "nothing is called without the feature");
}
