//! Forms, as visitors, the people of the business and those of another one meet them over HTTP.

use angel_protocol::ids::Datetime;
use angel_storage::accounts::MAIL_OUTBOX;

use super::*;
use crate::config::Secret;

const FORM: &str = "co.kendev.content.form";
const SETTINGS: &str = "co.kendev.content.formSettings";
const SUBMISSION: &str = "co.kendev.content.formSubmission";
const LEAD: &str = "co.kendev.business.lead";
const TASK: &str = "co.kendev.business.task";

/// A business with a form, and another one.
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

fn enc(uri: &str) -> String {
    uri.replace(':', "%3A").replace('/', "%2F")
}

fn answers(answers: &[(&str, &str)]) -> Value {
    json!(answers.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect::<Vec<_>>())
}

impl Shop {
    async fn new(template: &str) -> Self {
        Self::on(Visited::new().await, template).await
    }

    async fn on(at: Visited, template: &str) -> Self {
        let (owner, rival) = (at.sign_up("olga").await, at.sign_up("rita").await);
        let mut made = vec![];
        for (slug, owner) in [("shop", &owner), ("rival", &rival)] {
            let wish = json!({ "slug": slug, "template": template, "name": slug, "owner": owner.did });
            made.push(text(&at.operator("xrpc/co.kendev.tenants.provision", &wish).await["tenant"]["did"]));
        }
        let tenant = made.swap_remove(0);
        Self { at, owner, rival, tenant }
    }

    fn workspace(&self) -> String {
        format!("at://{}/space/co.kendev.tenants.workspace/self", self.tenant)
    }

    /// Asks a method of forms; what is answered, and what is refused, is as its document says.
    async fn ask(&self, who: Option<&Person>, method: &str, body: Option<Value>) -> Result<Value, Value> {
        let name = format!("co.kendev.content.{}", method.split('?').next().expect("a name"));
        let (status, answer) = self.send(who, &format!("co.kendev.content.{method}"), body.as_ref()).await;
        let schema = Schemas::builtin().method(&name).expect("documented");
        if status == 200 {
            schema.validate_output(&answer).unwrap_or_else(|error| panic!("{name}: {error} in {answer:#}"));
            return Ok(answer);
        }
        let error = text(&answer["error"]);
        assert!(error == "InvalidRequest" || schema.errors().any(|named| named == error), "{name}: {answer}");
        Err(answer)
    }

    async fn submit(
        &self,
        who: Option<&Person>,
        form: &str,
        sent: &[(&str, &str)],
        consent: bool,
    ) -> Result<Value, Value> {
        let body = json!({ "form": form, "answers": answers(sent), "consent": consent, "completionSeconds": 30,
            "utm": { "utmSource": "newsletter" } });
        self.ask(who, "submitForm", Some(body)).await
    }

    async fn refused(&self, form: &str, sent: &[(&str, &str)], consent: bool) -> String {
        text(&self.submit(None, form, sent, consent).await.expect_err("refused")["error"])
    }

    /// The form of a template with this name.
    async fn form(&self, name: &str) -> String {
        let query = format!("com.atproto.repo.listRecords?repo={}&collection={FORM}", enc(&self.tenant));
        let (_, listed) = self.send(None, &query, None).await;
        let listed = listed["records"].as_array().unwrap_or_else(|| panic!("{listed}")).clone();
        let found = listed.iter().find(|record| record["value"]["name"] == name);
        text(&found.unwrap_or_else(|| panic!("{listed:?}"))["uri"])
    }

    async fn written(&self, method: &str, body: Value) -> Value {
        let (status, answer) = self.send(Some(&self.owner), method, Some(&body)).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// What is done with answers to a form.
    async fn settle(&self, form: &str, action: Value, workflow: Value) {
        let rkey = form.rsplit('/').next().expect("a key");
        let record =
            json!({ "$type": SETTINGS, "form": form, "submitAction": action, "workflow": workflow, "createdAt": AT });
        let body = json!({ "space": self.workspace(), "repo": self.tenant, "collection": SETTINGS, "rkey": rkey, "record": record });
        self.written("com.atproto.space.putRecord", body).await;
    }

    async fn settings(&self, form: &str) -> Value {
        let uri = form.replace(FORM, SETTINGS);
        let query = format!("getFormSettings?uri={}", enc(&uri));
        self.ask(Some(&self.owner), &query, None).await.expect("staff")
    }

    async fn list(&self, who: Option<&Person>, collection: &str) -> (u16, Vec<Value>) {
        let (space, repo) = (enc(&self.workspace()), enc(&self.tenant));
        let query = format!("com.atproto.space.listRecords?space={space}&repo={repo}&collection={collection}");
        let (status, page) = self.send(who, &query, None).await;
        let keys: Vec<_> = page["records"].as_array().cloned().unwrap_or_default();
        let mut records = vec![];
        for key in keys {
            let query = format!(
                "com.atproto.space.getRecord?space={space}&repo={repo}&collection={collection}&rkey={}",
                text(&key["rkey"])
            );
            let (_, mut record) = self.send(who, &query, None).await;
            record["uri"] = json!(format!("at://{}/{collection}/{}", self.tenant, text(&key["rkey"])));
            records.push(record);
        }
        (status, records)
    }

    /// The records of a collection of the workspace, as the owner reads them.
    async fn all(&self, collection: &str) -> Vec<Value> {
        let (status, records) = self.list(Some(&self.owner), collection).await;
        assert_eq!(status, 200);
        records
    }
}

const DATABASE: fn() -> Value = || json!({ "type": "database", "destination": "submissions" });

#[tokio::test]
async fn a_stranger_fills_in_a_form_and_the_business_has_what_follows() {
    let shop = Shop::new("ecommerce-store").await;
    let contact = shop.form("Contact").await;
    let workflow = json!({ "assignTo": shop.owner.did, "priority": "high", "makesLeads": true,
        "followUpActions": ["Call them back", "Send the catalogue"] });
    shop.settle(&contact, DATABASE(), workflow).await;
    let seen = shop.ask(None, &format!("getForm?uri={}", enc(&contact)), None).await.expect("open to all");
    assert_eq!((&seen["value"]["name"], &seen["uri"]), (&json!("Contact"), &json!(contact)));

    let sent = [("name", "Ada King Lovelace"), ("email", "ada@mail.example"), ("message", "a marked word: quince")];
    let taken = shop.submit(None, &contact, &sent, true).await.expect("taken in");
    let at = |field: &str| text(&taken[field]).parse::<Datetime>().expect("a time").unix_micros();
    assert_eq!(at("deleteAfter") - at("submittedAt"), 365 * 24 * 3600 * 1_000_000, "as the form says");

    // The owner reads what came, and what follows from it.
    let submissions = shop.all(SUBMISSION).await;
    let [submission] = submissions.as_slice() else { panic!("{submissions:?}") };
    let record = &submission["value"];
    assert_eq!(record["answers"], answers(&sent));
    assert_eq!((&record["form"]["uri"], &record["consentGiven"]), (&json!(contact), &json!(true)));
    assert_eq!((&record["status"], &record["assignedTo"]), (&json!("assigned"), &json!(shop.owner.did)));
    assert_eq!((&record["completionSeconds"], record.get("submitter")), (&json!(30), None));
    assert_eq!(record["deleteAfter"], taken["deleteAfter"]);
    let leads = shop.all(LEAD).await;
    let [lead] = leads.as_slice() else { panic!("{leads:?}") };
    assert_eq!(record["lead"], lead["uri"]);
    let lead = &lead["value"];
    assert_eq!((&lead["firstName"], &lead["lastName"]), (&json!("Ada King"), &json!("Lovelace")));
    assert_eq!((&lead["email"], &lead["priority"]), (&json!("ada@mail.example"), &json!("high")));
    assert_eq!((&lead["source"], &lead["sourceDetails"]["utmSource"]), (&json!("website"), &json!("newsletter")));
    assert_eq!((&lead["scoring"]["behaviorScore"], &lead["assignedTo"]), (&json!(12), &json!(shop.owner.did)));
    let tasks = shop.all(TASK).await;
    let mut titles: Vec<_> = tasks.iter().map(|task| text(&task["value"]["title"])).collect();
    titles.sort();
    assert_eq!(titles, ["Call them back", "Send the catalogue"]);
    for task in &tasks {
        let task = &task["value"];
        assert_eq!((&task["assignee"], &task["priority"]), (&json!(shop.owner.did), &json!("high")));
        assert!(text(&task["description"]["text"]).contains(&text(&submission["uri"])), "{task}");
    }
    let told = shop.told(&shop.owner, &shop.tenant, &["form.submitted", "lead.created"]).await;
    for event in ["form.submitted", "lead.created"] {
        assert_eq!(told.iter().filter(|one| *one == event).count(), 1, "{event} in {told:?}");
    }

    // The same address again is the same lead: it learns what it lacked, and nothing of it is changed by a stranger.
    let again = [("name", "Somebody Else"), ("email", "Ada@mail.example"), ("message", "me again")];
    shop.submit(None, &contact, &again, true).await.expect("taken in");
    let leads = shop.all(LEAD).await;
    assert_eq!((leads.len(), &leads[0]["value"]["lastName"]), (1, &json!("Lovelace")));
    assert_eq!(leads[0]["value"]["scoring"]["behaviorScore"], 24);
    let told = shop.told(&shop.owner, &shop.tenant, &["lead.scored"]).await;
    assert_eq!(told.iter().filter(|event| *event == "lead.created").count(), 1, "{told:?}");

    // Of somebody with an account it is known who they are.
    let message = [("name", "Rita"), ("email", "rita@mail.example"), ("message", "from next door")];
    shop.submit(Some(&shop.rival), &contact, &message, true).await.expect("taken in");
    assert!(shop.all(SUBMISSION).await.iter().any(|one| one["value"]["submitter"] == shop.rival.did));

    // Nobody else reads any of it, nor finds it in what is public.
    for who in [None, Some(&shop.rival)] {
        let (status, found) = shop.list(who, SUBMISSION).await;
        assert!(status != 200 && found.is_empty(), "{status} {found:?}");
    }
    let (_, described) = shop.send(None, &format!("com.atproto.repo.describeRepo?repo={}", shop.tenant), None).await;
    assert!(!described["collections"].to_string().contains("formSubmission"), "{described}");
    let mine = json!({ "submission": submission["uri"] });
    let refused = shop.ask(Some(&shop.rival), "deleteSubmission", Some(mine)).await.expect_err("a rival");
    assert_eq!(refused["error"], "RecordNotFound");
    let forged = json!({ "space": shop.workspace(), "repo": shop.tenant, "collection": SUBMISSION, "record": record });
    let (status, refused) = shop.send(Some(&shop.owner), "com.atproto.space.createRecord", Some(&forged)).await;
    assert_eq!(status, 403, "answers come by the form alone: {refused}");
    shop.at.stop().await;
}

#[tokio::test]
async fn what_a_form_does_not_ask_for_is_refused_and_nothing_is_kept() {
    let shop = Shop::new("ecommerce-store").await;
    let contact = shop.form("Contact").await;
    let whole = [("name", "Ada"), ("email", "ada@mail.example"), ("message", "hello")];
    assert_eq!(shop.refused(&contact, &whole, false).await, "ConsentRequired");
    let left_out = json!({ "form": contact, "answers": answers(&whole) });
    let refused = shop.ask(None, "submitForm", Some(left_out)).await.expect_err("no consent");
    assert_eq!(refused["error"], "ConsentRequired");

    let field = |name: &str, kind: &str, more: Value| {
        let mut field = json!({ "id": name, "name": name, "label": name, "type": kind, "required": true });
        more.as_object().expect("fields").iter().for_each(|(part, value)| field[part] = value.clone());
        field
    };
    let form = |condition: &str| {
        json!({ "$type": FORM, "name": "Quote", "tenant": shop.tenant, "createdAt": AT, "fields": [
            field("kind", "select", json!({ "options": ["private", "business"] })),
            field("vat", "text", json!({ "conditionalLogic": { "showIf": condition },
                "validation": { "pattern": "[A-Z]{2}[0-9]{9}", "message": "Two letters and nine digits" } })),
        ] })
    };
    let put =
        |condition: &str| json!({ "repo": shop.tenant, "collection": FORM, "rkey": RKEY, "record": form(condition) });
    for unreadable in ["kind", "nobody = here", "kind = business and"] {
        let (status, refused) =
            shop.send(Some(&shop.owner), "com.atproto.repo.putRecord", Some(&put(unreadable))).await;
        let named = text(&refused["message"]).starts_with("/fields/1/conditionalLogic/showIf: ");
        assert!(status == 400 && named, "{unreadable}: {refused}");
    }
    shop.written("com.atproto.repo.putRecord", put("kind = business")).await;
    let quote = format!("at://{}/{FORM}/{RKEY}", shop.tenant);
    let wrong = shop.submit(None, &quote, &[("kind", "business"), ("vat", "a secret number")], false).await;
    let wrong = wrong.expect_err("the form says what it has to be");
    let fault = json!({ "path": "/answers/1/value", "field": "vat", "message": "Two letters and nine digits" });
    assert_eq!((&wrong["error"], &wrong["faults"]), (&json!("InvalidAnswer"), &json!([fault])));
    assert!(!wrong.to_string().contains("secret number"), "{wrong}");
    let missing =
        shop.submit(None, &quote, &[("kind", "business")], false).await.expect_err("it is shown, and required");
    assert_eq!((&missing["faults"][0]["path"], &missing["faults"][0]["field"]), (&json!("/answers"), &json!("vat")));
    let unknown =
        shop.submit(None, &quote, &[("kind", "private"), ("role", "admin")], false).await.expect_err("unknown");
    assert_eq!(unknown["faults"][0]["field"], "role");
    assert_eq!(shop.all(SUBMISSION).await, Vec::<Value>::new(), "nothing of all that is kept");

    // What is hidden is not asked for, and not kept.
    shop.submit(None, &quote, &[("kind", "private"), ("vat", "whatever")], false).await.expect("taken in");
    let kept = shop.all(SUBMISSION).await;
    assert_eq!((kept.len(), &kept[0]["value"]["answers"]), (1, &answers(&[("kind", "private")])));
    assert_eq!((kept[0]["value"].get("deleteAfter"), kept[0]["value"].get("lead")), (None, None));

    // A form that there is not, and one of a business that is closed, are the same.
    let nothing = quote.replace(RKEY, "3nothing22222");
    assert_eq!(shop.refused(&nothing, &[], false).await, "FormNotFound");
    let nobodys = format!("at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/{FORM}/{RKEY}");
    let absent = shop.submit(None, &nobodys, &[], false).await.expect_err("no such business");
    shop.operator("xrpc/co.kendev.tenants.suspend", &json!({ "tenant": shop.tenant })).await;
    let closed = shop.submit(None, &quote, &[("kind", "private")], false).await.expect_err("closed");
    let without_id = |answer: &Value| (answer["error"].clone(), answer["message"].clone());
    assert_eq!(without_id(&closed), without_id(&absent));
    let unseen = shop.ask(None, &format!("getForm?uri={}", enc(&quote)), None).await.expect_err("closed");
    assert_eq!(without_id(&unseen), without_id(&absent));
    shop.at.stop().await;
}

#[tokio::test]
async fn answers_are_forgotten_with_what_a_lead_learned_from_them_alone() {
    let shop = Shop::new("ecommerce-store").await;
    let contact = shop.form("Contact").await;
    shop.settle(&contact, DATABASE(), json!({ "makesLeads": true })).await;
    let first = [("name", "Ada Lovelace"), ("email", "ada@mail.example"), ("message", "one")];
    shop.submit(Some(&shop.rival), &contact, &first, true).await.expect("taken in");
    let second = [("name", "A. Lovelace"), ("email", "ada@mail.example"), ("message", "two")];
    shop.submit(None, &contact, &second, true).await.expect("taken in");
    let at = |records: &[Value], word: &str| {
        let found = records.iter().find(|record| record["value"]["answers"].to_string().contains(word));
        found.unwrap_or_else(|| panic!("{records:?}")).clone()
    };
    let both = shop.all(SUBMISSION).await;
    let (one, two) = (at(&both, "one"), at(&both, "two"));
    assert_eq!(one["value"]["lead"], two["value"]["lead"]);
    // Staff know better how she is called, and when she was last seen.
    let lead = shop.all(LEAD).await.swap_remove(0);
    let mut record = lead["value"].clone();
    record["company"] = json!("Engines");
    let rkey = text(&lead["uri"]).rsplit('/').next().expect("a key").to_owned();
    let put =
        json!({ "space": shop.workspace(), "repo": shop.tenant, "collection": LEAD, "rkey": rkey, "record": record });
    shop.written("com.atproto.space.putRecord", put).await;

    let forget = async |submission: &Value| {
        let body = json!({ "submission": submission["uri"] });
        shop.ask(Some(&shop.owner), "deleteSubmission", Some(body)).await.expect("staff");
    };
    forget(&one).await;
    forget(&one).await;
    assert_eq!(shop.all(SUBMISSION).await.len(), 1);
    let lead = shop.all(LEAD).await.swap_remove(0)["value"].clone();
    assert_eq!((&lead["firstName"], lead.get("user")), (&json!(""), None), "from those answers alone");
    assert_eq!(
        (&lead["lastName"], &lead["email"]),
        (&json!("Lovelace"), &json!("ada@mail.example")),
        "the others say so too"
    );
    assert_eq!((&lead["fullName"], &lead["company"]), (&json!("Lovelace"), &json!("Engines")));
    forget(&two).await;
    let lead = shop.all(LEAD).await.swap_remove(0)["value"].clone();
    assert_eq!((&lead["lastName"], &lead["email"]), (&json!(""), &json!(format!("{rkey}@forgotten.invalid"))));
    assert_eq!((lead.get("fullName"), &lead["company"]), (None, &json!("Engines")), "what staff wrote stays");

    // Whoever comes back is somebody new; and a lead that staff made keeps its address.
    shop.submit(None, &contact, &first, true).await.expect("taken in");
    assert_eq!(shop.all(LEAD).await.len(), 2);
    let made = json!({ "tenant": shop.tenant, "record":
        { "firstName": "Bob", "lastName": "Fox", "email": "bob@mail.example", "source": "referral" } });
    shop.written("co.kendev.business.createLead", made).await;
    let known = [("name", "Robert Fox"), ("email", "bob@mail.example"), ("message", "three")];
    shop.submit(None, &contact, &known, true).await.expect("taken in");
    forget(&at(&shop.all(SUBMISSION).await, "three")).await;
    let leads = shop.all(LEAD).await;
    let bob = leads.iter().find(|lead| lead["value"]["email"] == "bob@mail.example").expect("his address is staff's");
    assert_eq!(bob["value"]["fullName"], "Bob Fox");
    shop.at.stop().await;
}

#[tokio::test]
async fn views_are_counted_and_staff_see_what_is_not_done() {
    let shop = Shop::new("basic-business").await;
    let contact = shop.form("Contact").await;
    let view = format!("getForm?uri={}", enc(&contact));
    assert_eq!(shop.settings(&contact).await["analytics"], json!({ "views": 0, "submissions": 0 }));
    for who in [None, None, Some(&shop.rival), None, Some(&shop.owner)] {
        shop.ask(who, &view, None).await.expect("open to all");
    }
    let sent = [("name", "Ada"), ("email", "ada@mail.example"), ("message", "hello")];
    shop.submit(None, &contact, &sent, true).await.expect("taken in");
    let counted = json!({ "views": 4, "submissions": 1, "conversionRate": 2500, "averageCompletionTime": 30 });
    let settings = shop.settings(&contact).await;
    assert_eq!((&settings["analytics"], settings.get("warnings")), (&counted, None), "its own people do not count");

    // The plan has no leads, and the node no mail server: the answers are kept, and staff are told why nothing else is.
    let action = json!({ "type": "email", "destination": "nobody", "autoResponse": true });
    let workflow = json!({ "makesLeads": true, "assignTo": shop.rival.did, "followUpActions": ["Call"] });
    shop.settle(&contact, action, workflow).await;
    shop.submit(None, &contact, &sent, true).await.expect("taken in");
    assert_eq!((shop.all(SUBMISSION).await.len(), shop.all(LEAD).await.len()), (2, 0));
    assert_eq!(shop.all(TASK).await[0]["value"].get("assignee"), None, "a stranger is given no work");
    let settings = shop.settings(&contact).await;
    let warnings: Vec<_> = settings["warnings"].as_array().expect("a list").iter().map(text).collect();
    for told in ["submitAction: ", "submitAction/destination: ", "workflow/makesLeads: ", "workflow/assignTo: "] {
        assert_eq!(warnings.iter().filter(|warning| warning.starts_with(told)).count(), 1, "{told} in {warnings:?}");
    }
    for (other, told) in [("webhook", "the plan has no webhooks"), ("integration", "this node calls no")] {
        shop.settle(&contact, json!({ "type": other, "destination": "https://hooks.example/x" }), json!({})).await;
        let settings = shop.settings(&contact).await;
        assert!(settings["warnings"].to_string().contains(told), "{settings}");
    }

    // What was counted is there after a restart.
    let Shop { at, owner, rival, tenant } = shop;
    let shop = Shop { at: at.restarted(|_| (), |_| ()).await, owner, rival, tenant };
    let again = shop.settings(&contact).await;
    assert_eq!((&again["analytics"]["views"], &again["analytics"]["conversionRate"]), (&json!(4), &json!(5000)));
    shop.at.stop().await;
}

#[tokio::test]
async fn letters_about_answers_wait_in_the_outbox_and_a_sender_gets_one_in_an_hour() {
    // Nobody listens there: what is to be sent stays.
    let at = Visited::with(|config| config.mail.smtp_url = Some(Secret::new("smtp://127.0.0.1:9".to_owned()))).await;
    let shop = Shop::on(at, "basic-business").await;
    let contact = shop.form("Contact").await;
    let action = json!({ "type": "email", "destination": "desk@shop.example", "autoResponse": true,
        "template": "From {{ name }}: {{message}} {{nothing}}" });
    shop.settle(&contact, action, json!({})).await;
    for message in ["first <b>", "second"] {
        let sent = [("name", "Ada"), ("email", "ada@mail.example"), ("message", message)];
        shop.submit(None, &contact, &sent, true).await.expect("taken in");
    }
    let Shop { at, .. } = shop;
    let letters = std::cell::RefCell::new(vec![]);
    let at = at.restarted(
        |_| (),
        |store| {
            let page = store.reader().scan(&MAIL_OUTBOX).page(100).expect("reads");
            letters.borrow_mut().extend(page.rows.into_iter().map(|(_, mail)| mail));
        },
    );
    let at = at.await;
    let letters = letters.into_inner();
    let to =
        |whom: &str| letters.iter().filter(|mail| mail.to == whom).map(|mail| mail.text.clone()).collect::<Vec<_>>();
    let desk = to("desk@shop.example");
    assert_eq!(desk.len(), 2, "{desk:?}");
    assert!(desk[0].starts_with("New answers to the form Contact of shop.\n\nFrom Ada: first <b> \n"), "{desk:?}");
    let thanks = to("ada@mail.example");
    assert_eq!(thanks.len(), 1, "{thanks:?}");
    assert!(!thanks[0].contains("first") && !thanks[0].contains("Ada"), "{thanks:?}");
    at.stop().await;
}

#[tokio::test]
async fn strangers_are_held_to_limits_and_learn_nothing_of_the_plan() {
    let at = Visited::with(|config| config.http.rate_limits = true).await;
    let shop = Shop::on(at, "basic-business").await;
    let contact = shop.form("Contact").await;
    let calls = |calls: u64| json!({ "tenant": shop.tenant, "limits": [{ "resource": "apiCalls", "limit": calls }] });
    shop.operator("xrpc/co.kendev.tenants.updateTenant", &calls(0)).await;
    let sent = [("name", "Ada"), ("email", "ada@mail.example"), ("message", "hello")];
    let refused = shop.submit(None, &contact, &sent, true).await.expect_err("no room");
    assert_eq!((&refused["error"], refused.get("limit"), refused.get("plan")), (&json!("FormClosed"), None, None));
    let refused = shop.submit(Some(&shop.owner), &contact, &sent, true).await.expect_err("no room");
    assert_eq!((&refused["error"], &refused["limit"]), (&json!("UsageLimitExceeded"), &json!(0)));
    shop.operator("xrpc/co.kendev.tenants.updateTenant", &calls(1000)).await;
    let mut taken = 0;
    let refused = loop {
        match shop.submit(None, &contact, &sent, true).await {
            Ok(_) => taken += 1,
            Err(refused) => break refused,
        }
    };
    assert_eq!(
        (&refused["error"], taken),
        (&json!("RateLimitExceeded"), 28),
        "thirty from one address, two of them above"
    );
    shop.at.stop().await;
}

#[tokio::test]
async fn who_lives_elsewhere_answers_by_a_word_of_their_own_host() {
    let shop = Shop::new("basic-business").await;
    let directory = shop.url.replace("127.0.0.1", "localhost").parse().expect("a URL");
    let abroad = Visited::with(|config| config.identity.plc = PlcDirectory::Outside(directory)).await;
    let contact = shop.form("Contact").await;
    let bob = abroad.sign_up("bob").await;
    let sent = [("name", "Bob"), ("email", "bob@mail.example"), ("message", "from afar")];
    let speaking = abroad.speaks_to(&bob, &shop, "co.kendev.content.submitForm").await;
    shop.submit(Some(&speaking), &contact, &sent, true).await.expect("taken in");
    assert_eq!(shop.all(SUBMISSION).await[0]["value"]["submitter"], bob.did);
    // A word for something else is no word for this; and it is not as if nobody had said who they are.
    let other = abroad.speaks_to(&bob, &shop, "co.kendev.spaces.joinSpace").await;
    let body = json!({ "form": contact, "answers": answers(&sent), "consent": true });
    let (status, refused) = shop.send(Some(&other), "co.kendev.content.submitForm", Some(&body)).await;
    assert_eq!((status, &refused["error"]), (400, &json!("InvalidToken")), "{refused}");
    assert_eq!(shop.all(SUBMISSION).await.len(), 1);
    abroad.stop().await;
    shop.at.stop().await;
}
