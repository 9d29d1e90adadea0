//! Recognitions and karma as the people of a business, those of another and strangers meet them over HTTP; every answer is
//! held against its lexicon.

use std::ops::Deref;

use angel_protocol::lexicon::Schemas;
use serde_json::{Value, json};

use crate::config::PlcDirectory;
use crate::xrpc::tests::visited::{Person, Visited};

const AT: &str = "2026-11-21T09:00:00.000Z";
const RECOGNITION: &str = "co.kendev.people.recognition";

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

fn enc(text: &str) -> String {
    text.replace('%', "%25").replace(':', "%3A").replace('/', "%2F")
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

fn refused(name: &str) -> Result<Value, String> {
    Err(name.to_owned())
}

impl World {
    async fn new() -> Self {
        let at = Visited::new().await;
        let owner = at.sign_up("olga").await;
        let tenant = business(&at, "club", &owner).await;
        Self { at, tenant, owner }
    }

    /// Somebody with an account who belongs to the business.
    async fn member(&self, name: &str) -> Person {
        let person = self.sign_up(name).await;
        self.enters(&person, &self.owner, &self.tenant, "tenant_member").await;
        person
    }

    async fn enters(&self, person: &Person, owner: &Person, tenant: &str, role: &str) {
        let wish = json!({ "tenant": tenant, "role": role, "user": person.did });
        let invited = self.done(owner, "co.kendev.tenants.invite", wish).await;
        let accept = json!({ "tenant": tenant, "token": invited["token"] });
        self.done(person, "co.kendev.tenants.acceptInvite", accept).await;
    }

    async fn done(&self, who: &Person, method: &str, body: Value) -> Value {
        let (status, answer) = self.send(Some(who), method, Some(&body)).await;
        assert_eq!(status, 200, "{method}: {answer}");
        answer
    }

    /// Asks a method of people; a refusal is one that it documents.
    async fn ask(&self, who: &Person, method: &str, body: Option<Value>) -> Result<Value, String> {
        let name = format!("co.kendev.people.{}", method.split('?').next().expect("a name"));
        let (status, answer) = self.send(Some(who), &format!("co.kendev.people.{method}"), body.as_ref()).await;
        let schema = Schemas::builtin().method(&name).expect("documented");
        if status == 200 {
            let checked = schema.validate_output(&answer);
            assert!(checked.is_ok(), "{name}: {checked:?} in {answer:#}");
            return Ok(answer);
        }
        let error = text(&answer["error"]);
        assert!(error == "InvalidRequest" || schema.errors().any(|named| named == error), "{name}: {answer}");
        Err(error)
    }

    /// Recognises somebody for something that is numbered.
    async fn thank(&self, who: &Person, to: &Person, kind: &str, about: usize) -> Result<Value, String> {
        let content = format!("at://{}/co.kendev.spaces.message/thing{about}", to.did);
        let body = json!({ "tenant": self.tenant, "toUser": to.did, "type": kind, "relatedContent": content,
            "reason": "It helped" });
        self.ask(who, "recognise", Some(body)).await
    }

    async fn karma(&self, asker: &Person, person: &Person) -> Result<Value, String> {
        let query = format!("getKarma?tenant={}&person={}", enc(&self.tenant), enc(&person.did));
        Ok(self.ask(asker, &query, None).await?["karma"].clone())
    }

    async fn list(&self, asker: &Person, more: &str) -> Result<Vec<Value>, String> {
        let answer = self.ask(asker, &format!("listRecognitions?tenant={}{more}", enc(&self.tenant)), None).await?;
        Ok(answer["recognitions"].as_array().expect("a list").clone())
    }

    async fn own_record(&self, who: &Person, collection: &str, rkey: &str, record: Value) {
        let body = json!({ "repo": who.did, "collection": collection, "rkey": rkey, "record": record });
        self.done(who, "com.atproto.repo.putRecord", body).await;
    }
}

async fn business(at: &Visited, slug: &str, owner: &Person) -> String {
    let wish = json!({ "slug": slug, "template": "basic-business", "name": slug, "owner": owner.did,
        "plan": "enterprise" });
    text(&at.operator("xrpc/co.kendev.tenants.provision", &wish).await["tenant"]["did"])
}

fn score(points: u64, angel: bool) -> Result<Value, String> {
    Ok(json!({ "score": points, "guardianAngelStatus": angel }))
}

#[tokio::test]
async fn people_of_a_business_recognise_each_other_and_nobody_else_hears_of_it() {
    let world = World::new().await;
    let (ada, bea, eve) = (world.member("ada").await, world.member("bea").await, world.sign_up("eve").await);
    let rival = business(&world.at, "rival", &eve).await;
    assert_eq!(world.karma(&ada, &bea).await, score(0, false));
    let given = world.thank(&ada, &bea, "technical_excellence", 1).await.expect("both belong to it");
    let value = &given["value"];
    assert_eq!(
        (&value["points"], &value["awardedBy"], &value["toUser"]),
        (&json!(25), &json!(ada.did), &json!(bea.did))
    );
    assert!(value["awardedAt"].is_string() && value["tenant"] == json!(world.tenant), "{value}");
    assert!(text(&given["uri"]).starts_with(&format!("at://{}/{RECOGNITION}/", world.tenant)), "{given}");
    assert_eq!(world.karma(&ada, &bea).await, score(25, false));
    assert_eq!(world.karma(&bea, &bea).await, score(25, false));
    assert_eq!(world.karma(&ada, &ada).await, score(0, false));
    let own = world.ask(&bea, &format!("getKarma?tenant={}", enc(&world.tenant)), None).await.expect("hers");
    assert_eq!((&own["person"], &own["karma"]["score"]), (&json!(bea.did), &json!(25)));

    // Whom it concerns sees it, who manages people does, and no other member.
    let carl = world.member("carl").await;
    for (who, seen) in [(&ada, 1), (&bea, 1), (&world.owner, 1), (&carl, 0)] {
        assert_eq!(world.list(who, "").await.map(|all| all.len()), Ok(seen));
    }
    let of_ada = format!("&person={}", enc(&ada.did));
    assert_eq!(world.list(&world.owner, &of_ada).await.map(|all| all.len()), Ok(1));
    assert_eq!(world.list(&carl, &of_ada).await, Ok(vec![]));

    // To strangers there is no such business, whatever they ask.
    for stranger in [&eve] {
        assert_eq!(world.karma(stranger, &bea).await, refused("TenantNotFound"));
        assert_eq!(world.list(stranger, "").await.map(|_| Value::Null), refused("TenantNotFound"));
        assert_eq!(world.thank(stranger, &bea, "quality_content", 1).await, refused("TenantNotFound"));
        let back = json!({ "recognition": given["uri"] });
        assert_eq!(world.ask(stranger, "revokeRecognition", Some(back)).await, refused("RecordNotFound"));
    }
    assert_eq!(world.thank(&ada, &eve, "quality_content", 1).await, refused("PersonNotFound"));
    assert_eq!(world.karma(&ada, &eve).await, refused("PersonNotFound"));
    // What was earned in one business is nothing in another.
    world.enters(&bea, &eve, &rival, "tenant_member").await;
    let query = format!("getKarma?tenant={}&person={}", enc(&rival), enc(&bea.did));
    assert_eq!(world.ask(&eve, &query, None).await.expect("a member")["karma"]["score"], 0);
    // Nothing of it is public, and nobody writes one past the method or into the records of their own.
    let (_, described) = world.send(None, &format!("com.atproto.repo.describeRepo?repo={}", world.tenant), None).await;
    assert!(!described["collections"].to_string().contains(RECOGNITION), "{described}");
    let space = format!("at://{}/space/co.kendev.tenants.workspace/self", world.tenant);
    let mut record = value.clone();
    record["toUser"] = json!(world.owner.did);
    for repo in [&world.tenant, &world.owner.did] {
        let forged = json!({ "space": space, "repo": repo, "collection": RECOGNITION, "record": record });
        let (status, answer) = world.send(Some(&world.owner), "com.atproto.space.createRecord", Some(&forged)).await;
        assert!(status >= 400, "{answer}");
        let forged = json!({ "repo": repo, "collection": RECOGNITION, "record": record });
        let (status, answer) = world.send(Some(&world.owner), "com.atproto.repo.createRecord", Some(&forged)).await;
        assert!(status >= 400, "{answer}");
    }
    let read = format!(
        "com.atproto.space.listRecords?space={}&repo={}&collection={RECOGNITION}",
        enc(&space),
        enc(&world.tenant)
    );
    for member in [&ada, &bea, &eve] {
        assert!(world.send(Some(member), &read, None).await.0 >= 400, "the workspace is no member's to read");
    }
    assert_eq!(world.karma(&ada, &world.owner).await, score(0, false));
    let told = world.told(&world.owner, &world.tenant, &["recognition.awarded"]).await;
    assert_eq!(told.iter().filter(|event| *event == "recognition.awarded").count(), 1, "{told:?}");
    world.at.stop().await;
}

#[tokio::test]
async fn every_limit_refuses_by_its_name() {
    let world = World::new().await;
    let (ada, bea, bot) = (world.member("ada").await, world.member("bea").await, world.member("leo").await);
    assert_eq!(world.thank(&ada, &ada, "quality_content", 1).await, refused("RecognitionOfOneself"));
    assert_eq!(world.thank(&ada, &bea, "guardian_angel_action", 1).await, refused("NotGuardianAngel"));
    assert_eq!(world.thank(&ada, &bea, "applause", 1).await, refused("InvalidRequest"));
    let by_handle = json!({ "tenant": world.tenant, "toUser": bea.did, "type": "quality_content",
        "relatedContent": "at://bea.test/co.kendev.spaces.message/thing1" });
    assert_eq!(world.ask(&ada, "recognise", Some(by_handle)).await, refused("InvalidRequest"));

    // An agent's owner is known by the word of either, and an agent thanks nobody.
    let ownership = json!({ "$type": "co.kendev.agents.ownership", "agent": bot.did, "createdAt": AT });
    world.own_record(&ada, "co.kendev.agents.ownership", &bot.did.replace('%', "~"), ownership).await;
    assert_eq!(world.thank(&ada, &bot, "quality_content", 1).await, refused("RecognitionOfOwnAgent"));
    let profile = json!({ "$type": "co.kendev.agents.agentProfile", "owner": bea.did, "role": "ship_mind",
        "createdAt": AT });
    world.own_record(&bot, "co.kendev.agents.agentProfile", "self", profile).await;
    assert_eq!(world.thank(&bea, &bot, "quality_content", 1).await, refused("RecognitionOfOwnAgent"));
    assert_eq!(world.thank(&bot, &ada, "quality_content", 1).await, refused("AgentNotPerson"));
    world.thank(&world.owner, &bot, "quality_content", 1).await.expect("somebody else's agent");

    // Once for one thing, whatever it is called; and for nothing in particular once.
    world.thank(&ada, &bea, "quality_content", 1).await.expect("the first");
    assert_eq!(world.thank(&ada, &bea, "helpful_response", 1).await, refused("RecognitionRepeated"));
    let vague = || Some(json!({ "tenant": world.tenant, "toUser": bea.did, "type": "quality_content" }));
    world.ask(&ada, "recognise", vague()).await.expect("the first");
    assert_eq!(world.ask(&ada, "recognise", vague()).await, refused("RecognitionRepeated"));

    // Ten a day, of which two are given. Of many at once no more get through.
    let many = (2..14).map(|about| world.thank(&ada, &bea, "quality_content", about));
    let many = futures::future::join_all(many).await;
    let late = many.iter().filter(|answer| **answer == refused("TooManyRecognitions")).count();
    // The day may end in between, after which there is room for more.
    let given = many.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(given + late, 12, "{many:?}");
    assert!(given >= 8, "{many:?}");
    let expected = 10 * (2 + u64::try_from(given).expect("few"));
    assert_eq!(world.karma(&world.owner, &bea).await, score(expected, false));
    world.at.stop().await;
}

#[tokio::test]
async fn two_who_thank_each_other_alone_earn_nothing_from_the_sixth_on() {
    let world = World::new().await;
    let (ada, bea) = (world.member("ada").await, world.member("bea").await);
    for about in 0..7 {
        let (by, to) = if about % 2 == 0 { (&ada, &bea) } else { (&bea, &ada) };
        let given = world.thank(by, to, "quality_content", about).await.expect("within the day's ten");
        let (points, anomaly) = if about < 5 { (10, None) } else { (0, Some(json!("reciprocal_recognition"))) };
        assert_eq!((&given["value"]["points"], given["value"].get("anomaly")), (&json!(points), anomaly.as_ref()));
    }
    assert_eq!(world.karma(&ada, &bea).await, score(30, false));
    assert_eq!(world.karma(&ada, &ada).await, score(20, false));
    // Somebody else thanked is a way out of it.
    world.thank(&ada, &world.owner, "quality_content", 1).await.expect("a third");
    let open = world.thank(&ada, &bea, "quality_content", 99).await.expect("within the day's ten");
    assert_eq!((&open["value"]["points"], open["value"].get("anomaly")), (&json!(10), None));
    world.at.stop().await;
}

#[tokio::test]
async fn a_thousand_points_make_an_angel_and_fewer_make_none() {
    let world = World::new().await;
    let bea = world.member("bea").await;
    let mut givers = vec![world.owner.clone()];
    for name in ["ann", "ben", "cat", "dan"] {
        givers.push(world.member(name).await);
    }
    // 975 by 39, then ten and ten: 995.
    for number in 0..39 {
        world.thank(&givers[number / 10], &bea, "technical_excellence", number).await.expect("ten each");
    }
    for number in 39..41 {
        world.thank(&givers[4], &bea, "quality_content", number).await.expect("ten each");
    }
    assert_eq!(world.karma(&givers[0], &bea).await, score(995, false));
    assert_eq!(world.thank(&bea, &givers[0], "guardian_angel_action", 1).await, refused("NotGuardianAngel"));
    let last = world.thank(&givers[4], &bea, "quality_content", 41).await.expect("ten each");
    assert_eq!(world.karma(&givers[0], &bea).await, score(1005, true));
    let angelic = world.thank(&bea, &givers[4], "guardian_angel_action", 1).await.expect("she is one");
    assert_eq!(angelic["value"]["points"], 50);
    let told = world.told(&world.owner, &world.tenant, &["guardian_angel.assigned"]).await;
    assert_eq!(told.iter().filter(|event| *event == "guardian_angel.assigned").count(), 1, "{told:?}");

    // Who gave it takes it back, and who got it does not; it counts nothing then, and the mark goes with it.
    let back = || Some(json!({ "recognition": last["uri"] }));
    assert_eq!(world.ask(&bea, "revokeRecognition", back()).await, refused("NotAllowed"));
    assert_eq!(world.ask(&givers[1], "revokeRecognition", back()).await, refused("RecordNotFound"));
    let revoked = world.ask(&givers[4], "revokeRecognition", back()).await.expect("theirs");
    assert_eq!(revoked["value"]["revokedBy"], json!(givers[4].did));
    assert_eq!((&revoked["value"]["points"], &revoked["uri"]), (&json!(10), &last["uri"]));
    assert_eq!(world.karma(&givers[0], &bea).await, score(995, false));
    assert_eq!(world.ask(&givers[4], "revokeRecognition", back()).await.expect("is taken back"), revoked);
    assert_eq!(world.thank(&bea, &givers[0], "guardian_angel_action", 2).await, refused("NotGuardianAngel"));
    // Whoever manages the people may, too. Pages lead from the newest to the oldest.
    let other = Some(json!({ "recognition": angelic["uri"] }));
    world.ask(&world.owner, "revokeRecognition", other).await.expect("the owner");
    let mut seen = vec![];
    let mut cursor = String::new();
    loop {
        let query = format!("listRecognitions?tenant={}&limit=20{cursor}", enc(&world.tenant));
        let page = world.ask(&world.owner, &query, None).await.expect("a member");
        seen.extend(page["recognitions"].as_array().expect("a list").iter().map(|one| text(&one["uri"])));
        match page["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!((seen.len(), &seen[1]), (43, &text(&last["uri"])));
    assert!(seen.is_sorted_by(|one, other| one > other), "{seen:?}");
    world.at.stop().await;
}

#[tokio::test]
async fn karma_is_told_as_its_person_wants() {
    let world = World::new().await;
    let (ada, bea) = (world.member("ada").await, world.member("bea").await);
    world.thank(&ada, &bea, "quality_content", 1).await.expect("a member");
    let own = json!({ "spaceType": "com.example.mine", "skey": "self",
        "readPolicy": { "$type": "com.atproto.simplespace.defs#memberListPolicy" },
        "writePolicy": { "$type": "com.atproto.simplespace.defs#memberListPolicy" },
        "appAccess": { "$type": "com.atproto.simplespace.defs#open" } });
    let made = world.done(&bea, "com.atproto.simplespace.createSpace", own).await;
    let space = text(&made["uri"]);
    let says = async |profile: &str, score: bool| {
        let record = json!({ "$type": "co.kendev.people.account", "email": "bea@mail.test", "firstName": "Bea",
            "lastName": "B", "createdAt": AT,
            "preferences": { "privacy": { "profileVisibility": profile, "karmaScoreVisible": score } } });
        let body = json!({ "space": space, "repo": bea.did, "collection": "co.kendev.people.account", "rkey": "self",
            "record": record });
        world.done(&bea, "com.atproto.space.putRecord", body).await;
    };
    says("members", false).await;
    assert_eq!(world.karma(&ada, &bea).await, Ok(json!({ "guardianAngelStatus": false })));
    assert_eq!(world.karma(&world.owner, &bea).await, Ok(json!({ "guardianAngelStatus": false })));
    assert_eq!(world.karma(&bea, &bea).await, score(10, false), "her own");
    says("private", true).await;
    assert_eq!(world.karma(&ada, &bea).await, Ok(json!({ "score": 10 })));
    says("private", false).await;
    assert_eq!(world.karma(&ada, &bea).await, Ok(json!({})));
    says("public", true).await;
    assert_eq!(world.karma(&ada, &bea).await, score(10, false));
    world.at.stop().await;
}

#[tokio::test]
async fn who_lives_elsewhere_gives_and_receives_and_is_told_alone_what_they_earned() {
    let world = World::new().await;
    let directory = world.url.replace("127.0.0.1", "localhost").parse().expect("a URL");
    let abroad = Visited::with(|config| config.identity.plc = PlcDirectory::Outside(directory)).await;
    let (ada, bob) = (world.member("ada").await, abroad.sign_up("bob").await);
    let speaks = async |method: &str| abroad.speaks_to(&bob, &world, &format!("co.kendev.{method}")).await;
    let accepting = speaks("tenants.acceptInvite").await;
    world.enters(&accepting, &world.owner, &world.tenant, "tenant_member").await;
    world.thank(&speaks("people.recognise").await, &ada, "quality_content", 1).await.expect("he belongs to it");
    assert_eq!(world.karma(&world.owner, &ada).await, score(10, false));
    world.thank(&ada, &bob, "helpful_response", 1).await.expect("he belongs to it");
    assert_eq!(world.karma(&speaks("people.getKarma").await, &bob).await, score(20, false));
    assert_eq!(world.karma(&ada, &bob).await, Ok(json!({})), "what he wants told is not known here");

    // An agent that lives elsewhere is its owner's by its own word there.
    let profile = json!({ "$type": "co.kendev.agents.agentProfile", "owner": ada.did, "role": "ship_mind",
        "createdAt": AT });
    let body = json!({ "repo": bob.did, "collection": "co.kendev.agents.agentProfile", "rkey": "self",
        "record": profile });
    let (status, answer) = abroad.send(Some(&bob), "com.atproto.repo.putRecord", Some(&body)).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(world.thank(&ada, &bob, "helpful_response", 2).await, refused("RecognitionOfOwnAgent"));
    world.at.stop().await;
    abroad.stop().await;
}
