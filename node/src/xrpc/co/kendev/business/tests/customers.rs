//! What is known about customers: as it follows from orders, leads, appointments and answers to forms, as staff write it, and
//! as nobody else reads it.

use std::path::Path;

use angel_protocol::data::from_json;
use angel_protocol::ids::Did;
use angel_storage::Store;
use angel_storage::tenants::TENANT_AUDIT;

use super::*;
use crate::accounts::Accounts;
use crate::data_dir::Layout;
use crate::permissioned::{Permissioned, PermissionedWrite};
use crate::repos::{Action, NewRecord};
use crate::tenants::workspace;

const AT: &str = "2024-11-21T09:00:00.000Z";
const CUSTOMER: &str = "co.kendev.spaces.memberCrm";
const LEAD: &str = "co.kendev.business.lead";
const FORM_SUBMISSION: &str = "co.kendev.content.formSubmission";
const RKEY: &str = "3kznmn7xqxl22";

fn enc(text: &str) -> String {
    text.replace('%', "%25").replace(':', "%3A").replace('/', "%2F")
}

fn refused(name: &str) -> Result<Value, String> {
    Err(name.to_owned())
}

impl World {
    /// The space that everybody may join.
    async fn start_space(&self) -> String {
        let (_, listed) =
            self.send(None, &format!("co.kendev.spaces.listSpaces?tenant={}", enc(&self.tenant)), None).await;
        listed["spaces"][0]["uri"].as_str().unwrap_or_else(|| panic!("{listed}")).to_owned()
    }

    async fn joins(&self, who: &Person) {
        let join = json!({ "space": self.start_space().await });
        let (status, answer) = self.send(Some(who), "co.kendev.spaces.joinSpace", Some(&join)).await;
        assert_eq!(status, 200, "{answer}");
    }

    /// Somebody who joined the start space.
    async fn customer(&self, name: &str) -> Person {
        let person = self.sign_up(name).await;
        self.joins(&person).await;
        person
    }

    /// Somebody who belongs to the business by a role.
    async fn staff(&self, name: &str, role: &str, permissions: &[&str]) -> Person {
        let person = self.sign_up(name).await;
        let mut wish = json!({ "tenant": self.tenant, "role": role, "user": person.did });
        if !permissions.is_empty() {
            wish["permissions"] = json!(permissions);
        }
        let invited = self.record("co.kendev.tenants.invite", wish).await;
        let accept = json!({ "tenant": self.tenant, "token": invited["token"] });
        let (status, answer) = self.send(Some(&person), "co.kendev.tenants.acceptInvite", Some(&accept)).await;
        assert_eq!(status, 200, "{answer}");
        person
    }

    async fn known(&self, asker: &Person, of: &Person) -> Result<Value, String> {
        let query = format!("getCustomer?tenant={}&person={}", enc(&self.tenant), enc(&of.did));
        self.ask(asker, &query, None).await
    }

    /// What is in the record, as the owner reads it.
    async fn crm(&self, of: &Person) -> Value {
        self.known(&self.owner, of).await.expect("known")["value"]["crmData"].clone()
    }

    /// The customers of a tier, or all.
    async fn listed(&self, more: &str) -> Vec<String> {
        let query = format!("listCustomers?tenant={}{more}", enc(&self.tenant));
        let answer = self.ask(&self.owner, &query, None).await.expect("staff");
        let person = |one: &Value| one["person"].as_str().expect("a DID").to_owned();
        answer["customers"].as_array().expect("a list").iter().map(person).collect()
    }

    async fn buys(&self, who: &Person, product: &str) -> Value {
        let order = self.ask(who, "createOrder", self.order(product, 1)).await.expect("offered");
        self.step(&self.owner, "capturePayment", &order).await.expect("was pending");
        order
    }

    /// A record as a client reads it, by the methods for records.
    async fn plain(&self, who: &Person, of: &Person) -> (u16, Value) {
        let query = format!(
            "com.atproto.space.getRecord?space={}&repo={}&collection={CUSTOMER}&rkey={}",
            enc(&self.workspace()),
            enc(&self.tenant),
            enc(&of.did)
        );
        self.send(Some(who), &query, None).await
    }

    fn lead(&self, user: Option<&Person>) -> Value {
        let mut lead = json!({ "$type": LEAD, "firstName": "Ada", "lastName": "Love", "email": "ada@mail.test",
            "source": "referral", "status": "new", "tenant": self.tenant, "company": "Engines", "createdAt": AT });
        if let Some(person) = user {
            lead["user"] = json!(person.did);
        }
        lead
    }
}

#[tokio::test]
async fn a_paid_order_is_noted_once_and_read_by_staff_who_may_see_figures() {
    let world = World::new().await;
    let (bea, eve) = (world.customer("bea").await, world.sign_up("eve").await);
    let cactus = world.product("cactus", 999, 9).await;
    let order = world.ask(&bea, "createOrder", world.order(&cactus, 2)).await.expect("offered");
    assert_eq!(world.known(&world.owner, &bea).await, refused("CustomerNotFound"), "nothing was paid");
    let paid = world.step(&world.owner, "capturePayment", &order).await.expect("was pending");
    let known = world.known(&world.owner, &bea).await.expect("known");
    let at = &paid["value"]["paymentDetails"]["paymentProcessedAt"];
    let event = json!({ "event": "order.captured", "timestamp": at, "subject": order["uri"],
        "value": { "amount": 1998, "currency": "EUR" } });
    let expected = json!({ "customerTier": "customer", "lastInteraction": at, "conversionEvents": [event] });
    assert_eq!((&known["value"]["crmData"], &known["person"]), (&expected, &json!(bea.did)));
    let member = format!("at://{}/co.kendev.spaces.membership/{}", world.tenant, bea.did);
    assert_eq!(known["value"]["membership"], member);

    // What is captured again, and what happens with the order later, adds nothing.
    assert_eq!(world.step(&world.owner, "capturePayment", &order).await, refused("InvalidStatus"));
    for step in ["shipOrder", "deliverOrder", "completeOrder", "refundOrder"] {
        world.step(&world.owner, step, &order).await.expect("follows");
    }
    assert_eq!(world.known(&world.owner, &bea).await.expect("known"), known);

    // B13: neither the member nor other members read it, by any method; and of others nobody learns that it is there.
    let (dan, max) = (
        world.staff("dan", "tenant_member", &[]).await,
        world.staff("max", "tenant_manager", &["manage_spaces"]).await,
    );
    let ria = world.staff("ria", "tenant_manager", &["view_analytics"]).await;
    assert_eq!(world.known(&ria, &bea).await.as_ref(), Ok(&known));
    assert_eq!(world.plain(&ria, &bea).await.1["cid"], known["cid"]);
    for (who, refusal) in
        [(&bea, "TenantNotFound"), (&eve, "TenantNotFound"), (&dan, "NotAllowed"), (&max, "NotAllowed")]
    {
        assert_eq!(world.known(who, &bea).await, refused(refusal));
        let list = format!("listCustomers?tenant={}", enc(&world.tenant));
        assert_eq!(world.ask(who, &list, None).await, refused(refusal));
        let (status, answer) = world.plain(who, &bea).await;
        assert_eq!((status, &answer["error"]), (400, &json!("RepoNotFound")), "{answer}");
    }
    let wish = json!({ "slug": "rival", "template": "ecommerce-store", "name": "Rival", "owner": eve.did });
    let rival = world.operator("xrpc/co.kendev.tenants.provision", &wish).await["tenant"]["did"].clone();
    assert_eq!(world.known(&eve, &bea).await, refused("TenantNotFound"));
    let own = format!("getCustomer?tenant={}&person={}", enc(rival.as_str().expect("a DID")), enc(&bea.did));
    assert_eq!(world.ask(&eve, &own, None).await, refused("CustomerNotFound"), "what one business knows is its own");

    // It goes with the business wherever that goes.
    assert_eq!(world.kept(CUSTOMER, &bea.did).await, known["value"]);
    world.at.stop().await;
}

#[tokio::test]
async fn of_who_is_no_member_nothing_is_noted_and_later_everything() {
    let world = World::new().await;
    let cyd = world.sign_up("cyd").await;
    let cactus = world.product("cactus", 999, 20).await;
    world.buys(&cyd, &cactus).await;
    assert_eq!(world.known(&world.owner, &cyd).await, refused("CustomerNotFound"));
    world.joins(&cyd).await;
    assert_eq!(world.known(&world.owner, &cyd).await, refused("CustomerNotFound"), "to join is no step to a purchase");
    let begun = json!({ "$type": CUSTOMER, "crmData": { "notes": "Came twice." }, "createdAt": AT,
        "membership": format!("at://{}/co.kendev.spaces.membership/{}", world.tenant, cyd.did) });
    assert_eq!(world.put(CUSTOMER, &cyd.did, &begun).await.0, 200);
    assert_eq!(world.crm(&cyd).await, json!({ "notes": "Came twice.", "customerTier": "prospect" }));
    world.buys(&cyd, &cactus).await;
    let crm = world.crm(&cyd).await;
    assert_eq!(crm["notes"], "Came twice.");
    assert_eq!(crm["conversionEvents"].as_array().map(Vec::len), Some(2), "{crm}");
    for _ in 0..7 {
        world.buys(&cyd, &cactus).await;
    }
    assert_eq!(world.crm(&cyd).await["customerTier"], "customer", "nine orders");
    world.buys(&cyd, &cactus).await;
    assert_eq!(world.crm(&cyd).await["customerTier"], "vip", "ten");
    assert_eq!(world.listed("&tier=vip").await, [cyd.did.as_str()]);
    assert_eq!(world.listed("&tier=customer").await, Vec::<String>::new());
    world.at.stop().await;
}

#[tokio::test]
async fn a_score_is_that_of_the_lead_and_what_staff_write_stays() {
    let world = World::new().await;
    let (bea, cyd) = (world.customer("bea").await, world.customer("cyd").await);
    let cactus = world.product("cactus", 999, 3).await;
    let written = async |record: Value| {
        let (status, answer) = world.put(LEAD, RKEY, &record).await;
        assert_eq!(status, 200, "{answer}");
    };
    written(world.lead(None)).await;
    assert_eq!(world.listed("").await, Vec::<String>::new(), "an address is nobody's account");
    written(world.lead(Some(&bea))).await;
    assert_eq!(world.crm(&bea).await, json!({ "leadScore": 10, "customerTier": "lead" }));
    let meeting = json!({ "lead": format!("at://{}/{LEAD}/{RKEY}", world.tenant), "type": "meeting", "subject": "x" });
    world.ask(&world.owner, "logActivity", Some(meeting)).await.expect("staff");
    assert_eq!(world.crm(&bea).await["leadScore"], 25, "as the lead is now");
    written(world.lead(Some(&cyd))).await;
    assert_eq!(world.crm(&bea).await, json!({ "customerTier": "prospect" }), "the lead is somebody else");
    assert_eq!(world.crm(&cyd).await["leadScore"], 25);

    // Staff write by the methods for records; what is the node's stays as it is, and is refused when it is made up.
    world.buys(&bea, &cactus).await;
    let read = async || {
        world.crm(&bea).await;
        world.plain(&world.owner, &bea).await.1["value"].clone()
    };
    let mut record = read().await;
    for (field, made_up) in [
        ("leadScore", json!(99)),
        ("lastInteraction", json!(AT)),
        ("conversionEvents", json!([])),
        ("tierSetBy", json!(bea.did)),
    ] {
        let mut forged = record.clone();
        forged["crmData"][field] = made_up;
        let (status, answer) = world.put(CUSTOMER, &bea.did, &forged).await;
        let path = format!("/crmData/{field}");
        let told = answer["message"].as_str().unwrap_or_default().contains(&path);
        assert_eq!((status, &answer["error"], told), (400, &json!("InvalidRequest"), true), "{field}: {answer}");
    }
    record["crmData"]["tags"] = json!(["tall"]);
    record["crmData"]["notes"] = json!("Likes the blue ones.");
    assert_eq!(world.put(CUSTOMER, &bea.did, &record).await.0, 200);
    assert!(world.crm(&bea).await.get("tierSetBy").is_none(), "the tier is as it was");
    let mut record = read().await;
    record["crmData"]["customerTier"] = json!("lead");
    assert_eq!(world.put(CUSTOMER, &bea.did, &record).await.0, 200);
    world.buys(&bea, &cactus).await;
    let crm = world.crm(&bea).await;
    assert_eq!((&crm["customerTier"], &crm["tierSetBy"]), (&json!("lead"), &json!(world.owner.did)));
    assert_eq!((&crm["tags"], &crm["notes"]), (&json!(["tall"]), &json!("Likes the blue ones.")));
    assert_eq!(crm["conversionEvents"].as_array().map(Vec::len), Some(2));
    let query = format!("listCustomers?tenant={}&limit=1", enc(&world.tenant));
    let first = world.ask(&world.owner, &query, None).await.expect("staff");
    let then = format!("{query}&cursor={}", enc(first["cursor"].as_str().expect("there are two")));
    let second = world.ask(&world.owner, &then, None).await.expect("staff");
    let mut both = [&first, &second].map(|page| page["customers"][0]["person"].as_str().expect("a DID").to_owned());
    let mut expected = [bea.did.clone(), cyd.did.clone()];
    both.sort();
    expected.sort();
    assert_eq!(both, expected);
    world.at.stop().await;
}

#[tokio::test]
async fn what_a_message_means_is_told_to_staff_who_may_see_figures() {
    let world = World::new().await;
    let (bea, eve) = (world.customer("bea").await, world.sign_up("eve").await);
    let start = world.start_space().await;
    let channel = json!({ "space": start, "name": "Sales", "channelType": "chat", "department": "sales" });
    let channel = world.record("co.kendev.spaces.createChannel", channel).await["uri"].clone();
    let says = async |who: &Person, channel: Option<&Value>| {
        let mut message = json!({ "space": start, "content": { "type": "text", "text": "What is it?" } });
        if let Some(channel) = channel {
            message["channel"] = channel.clone();
        }
        let (status, sent) = world.send(Some(who), "co.kendev.spaces.sendMessage", Some(&message)).await;
        assert_eq!(status, 200, "{sent}");
        sent
    };
    let name = "co.kendev.spaces.getMessageInsight";
    let insight = async |who: Option<&Person>, message: &Value| {
        let query = format!("{name}?uri={}", enc(message["uri"].as_str().expect("a URI")));
        let (status, answer) = world.send(who, &query, None).await;
        if status == 200 {
            let checked = Schemas::builtin().method(name).expect("documented").validate_output(&answer);
            assert!(checked.is_ok(), "{checked:?} in {answer:#}");
            let expected = json!({ "uri": message["uri"], "cid": message["cid"] });
            assert_eq!(answer["message"], expected, "of this version");
            return Ok(answer["businessIntelligence"].clone());
        }
        Err(answer["error"].as_str().expect("a name").to_owned())
    };
    let (asked, anywhere) = (says(&bea, Some(&channel)).await, says(&bea, None).await);
    // Whoever has joined is in the index, and so is all that was written before.
    world.customer("pat").await;
    assert_eq!(insight(Some(&world.owner), &asked).await, Ok(json!({ "department": "sales" })));
    assert_eq!(insight(Some(&world.owner), &anywhere).await, Ok(json!({})));
    assert_eq!(world.put(LEAD, RKEY, &world.lead(Some(&bea))).await.0, 200);
    let known = json!({ "department": "sales", "leadScore": 10 });
    assert_eq!(insight(Some(&world.owner), &asked).await, Ok(known.clone()));
    let ria = world.staff("ria", "tenant_manager", &["view_analytics"]).await;
    assert_eq!(insight(Some(&ria), &asked).await, Ok(known));

    // Everybody reads the message, and nobody else what it means. No record of it lies anywhere.
    let dan = world.staff("dan", "tenant_member", &[]).await;
    for who in [&bea, &eve, &dan] {
        assert_eq!(insight(Some(who), &asked).await, refused("NotAllowed"));
    }
    assert_eq!(insight(None, &asked).await, refused("AuthMissing"));
    let query = format!("com.atproto.space.listRecords?space={}&repo={}", enc(&world.workspace()), enc(&world.tenant));
    let (_, all) = world.send(Some(&world.owner), &query, None).await;
    assert!(all["records"].is_array() && !all.to_string().contains("messageInsight"), "{all}");
    world.at.stop().await;
}

/// Writes records into the workspace of a tenant whose node is stopped: no method writes them yet.
fn write_aside(store: &Store, root: &Path, tenant: &str, records: &[(String, Value)]) {
    let rooms = || (store.reader().clone(), store.writer().clone());
    let (reader, writer) = rooms();
    let accounts = Accounts::open(reader, writer, &Layout::new(root)).expect("opens");
    let (reader, writer) = rooms();
    let permissioned = Permissioned::new(reader, writer, accounts.clone(), 7, root.join("spool"));
    let did: Did = tenant.parse().expect("a DID");
    let writing = async {
        let account = accounts.by_did(&did).await.expect("reads").expect("there");
        let put = |(path, record): &(String, Value)| {
            let new = NewRecord::new(&from_json(record).expect("data"));
            PermissionedWrite { path: path.parse().expect("a path"), action: Action::Put(new), swap: None }
        };
        permissioned.write(&account, &workspace(&did), records.iter().map(put).collect()).await.expect("written");
    };
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(writing));
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_and_appointments_are_noted_however_they_come_and_the_oldest_events_are_audited() {
    let world = World::new().await;
    let (bea, cyd) = (world.customer("bea").await, world.customer("cyd").await);
    let submission = |by: &Person| {
        json!({ "$type": FORM_SUBMISSION, "tenant": world.tenant, "submitter": by.did, "answers": [],
            "submittedAt": AT, "status": "received", "createdAt": AT,
            "form": { "uri": format!("at://{}/co.kendev.content.form/{RKEY}", world.tenant),
                "cid": "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a" } })
    };
    let appointment = json!({ "$type": "co.kendev.business.appointment", "title": "Cut", "organizer": world.owner.did,
        "attendees": [bea.did], "tenant": world.tenant, "startTime": "2024-11-20T08:00:00.000Z",
        "endTime": "2024-11-20T09:00:00.000Z", "timezone": "Europe/Berlin", "meetingType": "in_person",
        "appointmentType": "beauty_service", "status": "completed", "createdAt": AT,
        "revenueTracking": { "source": "referral_source" },
        "payment": { "required": true, "amount": 4000, "currency": "EUR", "paymentStatus": "paid" } });
    let uri = |rkey: &str| format!("at://{}/{FORM_SUBMISSION}/{rkey}", world.tenant);
    let event = |number: usize| {
        json!({ "event": "form.submitted", "subject": uri(&format!("old{number}")),
            "timestamp": format!("2023-01-{:02}T{:02}:00:00.000Z", 1 + number / 24, number % 24) })
    };
    let full = json!({ "$type": CUSTOMER, "membership": format!("at://{}/co.kendev.spaces.membership/{}", world.tenant, cyd.did),
        "crmData": { "customerTier": "prospect", "conversionEvents": (0..500).map(event).collect::<Vec<_>>() },
        "createdAt": AT });
    let records = [
        (format!("{FORM_SUBMISSION}/{RKEY}"), submission(&bea)),
        (format!("{FORM_SUBMISSION}/3kznmn7xqxl23"), submission(&cyd)),
        (format!("co.kendev.business.appointment/{RKEY}"), appointment),
        (format!("{CUSTOMER}/{}", cyd.did), full),
    ];
    let World { at, tenant, owner } = world;
    let root = at.dir.path().to_owned();
    let at = at.restarted(|_| (), |store| write_aside(store, &root, &tenant, &records)).await;
    let world = World { at, tenant, owner };

    let crm = world.crm(&bea).await;
    let events = [
        json!({ "event": "appointment.completed", "timestamp": "2024-11-20T09:00:00.000Z",
            "subject": format!("at://{}/co.kendev.business.appointment/{RKEY}", world.tenant),
            "value": { "amount": 4000, "currency": "EUR" } }),
        json!({ "event": "form.submitted", "timestamp": AT, "subject": format!("at://{}/{FORM_SUBMISSION}/{RKEY}", world.tenant) }),
    ];
    assert_eq!(crm["conversionEvents"], json!(events));
    assert_eq!((&crm["customerTier"], &crm["lastInteraction"]), (&json!("customer"), &json!(AT)));

    // Of five hundred events the oldest made room, and the audit log has it.
    let crm = world.crm(&cyd).await;
    let events = crm["conversionEvents"].as_array().expect("a list");
    assert_eq!((events.len(), &crm["customerTier"]), (500, &json!("prospect")));
    let ends = |event: &Value, with: &str| event["subject"].as_str().is_some_and(|uri| uri.ends_with(with));
    assert!(ends(&events[0], "/old1") && ends(&events[499], "/3kznmn7xqxl23"), "{} {}", events[0], events[499]);
    let person = cyd.did.clone();
    let audited = move |store: &Store| {
        let rows = store.reader().scan(&TENANT_AUDIT).page(1000).expect("reads").rows;
        let rows = rows.into_iter().map(|(_, row)| row);
        let gone: Vec<_> = rows.filter(|row| row.action == "make room for events of a customer").collect();
        let [row] = gone.as_slice() else { panic!("{gone:?}") };
        assert!(row.subject.starts_with(&person) && row.subject.contains("/old0\""), "{}", row.subject);
    };
    world.at.restarted(|_| (), audited).await.stop().await;
}
