//! The roadmap as the operator's super admins, voters and strangers meet it over HTTP; every answer is held against its
//! lexicon.

mod forms;
mod posts;

use std::ops::Deref;
use std::time::Duration;

use angel_protocol::lexicon::Schemas;
use serde_json::{Value, json};

use crate::config::PlcDirectory;
use crate::xrpc::tests::visited::{Person, Visited};

const PATIENCE: Duration = Duration::from_secs(60);
const AT: &str = "2026-11-21T09:00:00.000Z";
const FEATURE: &str = "co.kendev.content.roadmapFeature";
const VOTE: &str = "co.kendev.content.roadmapVote";
const RKEY: &str = "3kznmn7xqxl22";

/// A node with an account of its own.
struct World {
    at: Visited,
    /// The node's own account.
    did: String,
}

impl Deref for World {
    type Target = Visited;

    fn deref(&self) -> &Visited {
        &self.at
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

impl World {
    async fn new() -> Self {
        let at = Visited::new().await;
        at.operator("admin/lexicons/publish", &json!({})).await;
        let (_, who) = at.send(None, "com.atproto.identity.resolveHandle?handle=node.test", None).await;
        Self { at, did: text(&who["did"]) }
    }

    /// Starts the node anew, with somebody as a super admin.
    async fn with_super_admin(self, who: &Person) -> Self {
        let who = who.did.parse().expect("a DID");
        let at = self.at.restarted(|config| config.accounts.super_admins = vec![who], |_| ()).await;
        Self { at, ..self }
    }

    async fn tenant(&self, slug: &str, owner: &Person, plan: &str) -> String {
        let wish =
            json!({ "slug": slug, "template": "basic-business", "name": slug, "owner": owner.did, "plan": plan });
        text(&self.operator("xrpc/co.kendev.tenants.provision", &wish).await["tenant"]["did"])
    }

    /// Somebody who lives on another node comes into a tenant here.
    async fn lets_in(&self, owner: &Person, tenant: &str, abroad: &Visited, who: &Person) {
        let invite = json!({ "tenant": tenant, "role": "tenant_member", "user": who.did });
        let (status, invited) = self.send(Some(owner), "co.kendev.tenants.invite", Some(&invite)).await;
        assert_eq!(status, 200, "{invited}");
        let speaking = abroad.speaks_to(who, self, "co.kendev.tenants.acceptInvite").await;
        let accept = json!({ "tenant": tenant, "token": invited["token"] });
        let (status, answer) = self.send(Some(&speaking), "co.kendev.tenants.acceptInvite", Some(&accept)).await;
        assert_eq!(status, 200, "{answer}");
    }

    /// What is said in a public space, once it is as many messages.
    async fn said(&self, space: &str, count: usize) {
        let query = format!("co.kendev.spaces.listMessages?space={}", space.replace(':', "%3A").replace('/', "%2F"));
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let (status, said) = self.send(None, &query, None).await;
            if status == 200 && said["messages"].as_array().is_some_and(|messages| messages.len() == count) {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "{count} messages were waited for: {said:#}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn put(&self, who: &Person, repo: &str, collection: &str, record: &Value) -> (u16, Value) {
        let body = json!({ "repo": repo, "collection": collection, "rkey": RKEY, "record": record });
        self.send(Some(who), "com.atproto.repo.putRecord", Some(&body)).await
    }

    fn uri(&self) -> String {
        format!("at://{}/{FEATURE}/{RKEY}", self.did)
    }

    async fn vote(&self, who: &Person) -> (u16, Value) {
        let record = json!({ "$type": VOTE, "feature": self.uri(), "createdAt": AT });
        self.put(who, &who.did, VOTE, &record).await
    }

    async fn feature(&self, who: Option<&Person>) -> Value {
        let uri = self.uri().replace(':', "%3A").replace('/', "%2F");
        let (status, view) = self.send(who, &format!("co.kendev.content.getRoadmapFeature?uri={uri}"), None).await;
        assert_eq!(status, 200, "{view}");
        let checked = Schemas::builtin().method("co.kendev.content.getRoadmapFeature").expect("documented");
        checked.validate_output(&view).unwrap_or_else(|error| panic!("{error} in {view:#}"));
        view
    }

    /// Asks until the feature has so many votes: what was counted a moment ago may be told once more.
    async fn votes(&self, who: Option<&Person>, wanted: u64) -> Value {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let view = self.feature(who).await;
            if view["voting"]["votes"] == wanted {
                return view["voting"]["voters"].clone();
            }
            assert!(tokio::time::Instant::now() < deadline, "{wanted} votes were waited for: {view:#}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn feature(status: &str, allow: bool) -> Value {
    let milestone = |done: bool| json!({ "title": "A step", "completed": done });
    json!({ "$type": FEATURE, "title": "Gardens", "description": { "text": "More of them", "format": "plain" },
        "category": "system", "status": status, "voting": { "allowVoting": allow },
        "progress": { "milestones": [milestone(true), milestone(false), milestone(true)] }, "createdAt": AT })
}

#[tokio::test]
async fn a_roadmap_is_a_super_admins_and_everybody_has_one_vote() {
    let world = World::new().await;
    let ada = world.sign_up("ada").await;
    let refused = world.put(&ada, &world.did, FEATURE, &feature("planned", true)).await;
    assert_eq!((refused.0, &refused.1["error"]), (401, &json!("AuthenticationRequired")), "no super admin yet");

    let world = world.with_super_admin(&ada).await;
    let (bea, carl, dan) = (world.sign_up("bea").await, world.sign_up("carl").await, world.sign_up("dan").await);
    world.tenant("garden", &carl, "free").await;
    world.tenant("house", &carl, "business").await;
    world.tenant("shed", &dan, "starter").await;
    let (status, made) = world.put(&ada, &world.did, FEATURE, &feature("planned", true)).await;
    assert_eq!((status, &made["uri"]), (200, &json!(world.uri())), "{made}");
    assert_eq!(world.put(&bea, &world.did, FEATURE, &feature("planned", true)).await.0, 401);
    // What the node says of itself is nobody's to write.
    let document = json!({ "$type": "co.kendev.network.node", "createdAt": AT });
    assert_eq!(world.put(&ada, &world.did, "co.kendev.network.node", &document).await.0, 401);
    let view = world.feature(None).await;
    assert_eq!(view["progress"]["completionPercentage"], 66);
    assert_eq!(view["voting"], json!({ "votes": 0, "voters": [] }));

    // One, three by the better of two plans, and two.
    for voter in [&bea, &carl, &dan, &bea] {
        let (status, answer) = world.vote(voter).await;
        assert_eq!(status, 200, "{answer}");
    }
    assert_eq!(world.votes(Some(&bea), 6).await, json!([bea.did]));
    assert_eq!(world.votes(None, 6).await, json!([]));
    let mut all = [&bea, &carl, &dan].map(|voter| voter.did.clone());
    all.sort_unstable();
    assert_eq!(world.votes(Some(&ada), 6).await, json!(all));

    // What a vote counts follows the plan, and a vote may be taken back.
    world.operator("xrpc/co.kendev.tenants.updateTenant", &json!({ "tenant": "shed", "plan": "enterprise" })).await;
    world.votes(None, 7).await;
    let back = json!({ "repo": carl.did, "collection": VOTE, "rkey": RKEY });
    assert_eq!(world.send(Some(&carl), "com.atproto.repo.deleteRecord", Some(&back)).await.0, 200);
    world.votes(None, 4).await;

    for closed in [feature("planned", false), feature("completed", true), feature("cancelled", true)] {
        assert_eq!(world.put(&ada, &world.did, FEATURE, &closed).await.0, 200);
        let (status, refused) = world.vote(&carl).await;
        assert_eq!((status, &refused["error"]), (400, &json!("InvalidRequest")), "{refused}");
        assert!(text(&refused["message"]).starts_with("/feature: "), "{refused}");
    }
    world.votes(None, 4).await;
    world.at.stop().await;
}

/// Writes a record of one's own on another node.
async fn write(abroad: &Visited, who: &Person, collection: &str, rkey: &str, record: &Value) {
    let body = json!({ "repo": who.did, "collection": collection, "rkey": rkey, "record": record });
    let (status, answer) = abroad.send(Some(who), "com.atproto.repo.putRecord", Some(&body)).await;
    assert_eq!(status, 200, "{answer}");
}

#[tokio::test]
async fn who_lives_elsewhere_votes_as_one_of_a_tenant_and_not_as_a_guest_of_an_open_space() {
    let home = World::new().await;
    let directory = home.url.replace("127.0.0.1", "localhost").parse().expect("a URL");
    let abroad = Visited::with(|config| config.identity.plc = PlcDirectory::Outside(directory)).await;
    let ada = home.sign_up("ada").await;
    let home = home.with_super_admin(&ada).await;
    let (bob, eve) = (abroad.sign_up("bob").await, abroad.sign_up("eve").await);
    let garden = home.tenant("garden", &ada, "business").await;
    assert_eq!(home.put(&ada, &home.did, FEATURE, &feature("planned", true)).await.0, 200);
    let vote = json!({ "$type": VOTE, "feature": home.uri(), "createdAt": AT });

    // Eve joins what is open to everybody, votes, and says something that is seen: she is followed, and has no vote.
    let spaces = format!("co.kendev.spaces.listSpaces?tenant={}", garden.replace(':', "%3A"));
    let (_, spaces) = home.send(None, &spaces, None).await;
    let open = text(&spaces["spaces"][0]["uri"]);
    let joining = abroad.speaks_to(&eve, &home, "co.kendev.spaces.joinSpace").await;
    let (status, joined) =
        home.send(Some(&joining), "co.kendev.spaces.joinSpace", Some(&json!({ "space": open }))).await;
    assert_eq!(status, 200, "{joined}");
    write(&abroad, &eve, VOTE, RKEY, &vote).await;
    let message = json!({ "$type": "co.kendev.spaces.message", "space": open, "messageType": "user",
        "content": { "type": "text", "text": "I voted" }, "createdAt": AT });
    write(&abroad, &eve, "co.kendev.spaces.message", "3kznmn7xqxl2a", &message).await;
    home.said(&open, 1).await;
    assert_eq!(home.votes(Some(&ada), 0).await, json!([]));

    // Bob is let into the tenant, and into no space; what he voted before counts by the tenant's plan.
    write(&abroad, &bob, VOTE, RKEY, &vote).await;
    home.lets_in(&ada, &garden, &abroad, &bob).await;
    assert_eq!(home.votes(Some(&ada), 3).await, json!([bob.did]));
    let second = json!({ "repo": home.did, "collection": FEATURE, "rkey": "3kznmn7xqxl2b",
        "record": feature("planned", true) });
    let (status, made) = home.send(Some(&ada), "com.atproto.repo.putRecord", Some(&second)).await;
    assert_eq!(status, 200, "{made}");
    // A vote for something else under the same key is none, and one that is taken back is gone.
    let other = json!({ "$type": VOTE, "feature": home.uri().replace(RKEY, "3kznmn7xqxl2b"), "createdAt": AT });
    write(&abroad, &bob, VOTE, RKEY, &other).await;
    home.votes(Some(&ada), 0).await;
    write(&abroad, &bob, VOTE, RKEY, &vote).await;
    home.votes(Some(&ada), 3).await;
    let back = json!({ "repo": bob.did, "collection": VOTE, "rkey": RKEY });
    assert_eq!(abroad.send(Some(&bob), "com.atproto.repo.deleteRecord", Some(&back)).await.0, 200);
    home.votes(Some(&ada), 0).await;

    // Once Eve is let in, the vote that she has counts; the same people and votes are known after a restart.
    home.lets_in(&ada, &garden, &abroad, &eve).await;
    assert_eq!(home.votes(Some(&ada), 3).await, json!([eve.did]));
    let home = World { at: home.at.restarted(|_| (), |_| ()).await, did: home.did };
    home.votes(None, 3).await;
    // Who belongs to a tenant that is closed belongs to none.
    home.operator("xrpc/co.kendev.tenants.suspend", &json!({ "tenant": "garden", "reason": "a test" })).await;
    home.votes(None, 0).await;
    home.at.stop().await;
    abroad.stop().await;
}
