//! Spaces of a whole node, as clients meet them: over HTTP and WebSockets, every answer held against its lexicon.

use std::time::Duration;

use angel_protocol::lexicon::Schemas;
use angel_storage::spaces::{MEMBERS, MESSAGES, SPACES};
use angel_storage::{Options, Store, cursors};
use futures::{SinkExt, StreamExt};
use reqwest::Client;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message as Sent;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::config::{Config, PlcDirectory};
use crate::data_dir::DataDir;
use crate::node::{Node, NodeHandle};

const PATIENCE: Duration = Duration::from_secs(20);

/// A node.
struct World {
    dir: TempDir,
    node: NodeHandle,
    client: Client,
    url: String,
}

/// Somebody with an account.
#[derive(Clone)]
struct Person {
    did: String,
    token: String,
}

fn config(dir: &TempDir) -> Config {
    let mut config = Config::on_loopback(dir.path());
    config.http.rate_limits = false;
    config.accounts.invites_required = false;
    config
}

impl World {
    async fn new() -> Self {
        Self::with(|_| ()).await
    }

    async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut config = config(&dir);
        change(&mut config);
        let node = Node::start(config).await.expect("starts");
        let url = node.facts().run_file().http_url;
        Self { dir, node, client: Client::new(), url }
    }

    async fn restarted(self, between: impl FnOnce(&Store)) -> Self {
        let Self { dir, node, client, .. } = self;
        let mut config = config(&dir);
        // Tokens are for this host by its address.
        config.http.listen = node.facts().http_addr;
        node.shutdown().await.expect("stops");
        {
            let data = DataDir::open(dir.path()).expect("opens");
            let options = Options::new(config.storage.engine, "a test");
            let store = Store::open(&data.layout().storage(), options).expect("opens");
            between(&store);
            store.close().expect("closes");
        }
        let node = Node::start(config).await.expect("starts");
        let url = node.facts().run_file().http_url;
        Self { dir, node, client, url }
    }

    async fn sign_up(&self, name: &str) -> Person {
        let wish = json!({
            "handle": format!("{name}.test"), "email": format!("{name}@mail.test"), "password": "open sesame",
        });
        let (status, answer) = self.raw(None, "com.atproto.server.createAccount", Some(&wish)).await;
        assert_eq!(status, 200, "{answer}");
        let text = |field: &str| answer[field].as_str().expect("text").to_owned();
        Person { did: text("did"), token: text("accessJwt") }
    }

    async fn raw(&self, who: Option<&Person>, method: &str, body: Option<&Value>) -> (u16, Value) {
        let url = format!("{}/xrpc/{method}", self.url);
        let mut request = match body {
            Some(body) => self.client.post(url).json(body),
            None => self.client.get(url),
        };
        if let Some(person) = who {
            request = request.bearer_auth(&person.token);
        }
        let response = request.send().await.expect("answered");
        let status = response.status().as_u16();
        (status, response.json().await.expect("JSON"))
    }

    async fn ask(&self, who: Option<&Person>, method: &str, body: Option<&Value>) -> Result<Value, String> {
        let name = method.split('?').next().expect("a name");
        let name = format!("co.kendev.spaces.{name}");
        let (status, answer) = self.raw(who, &format!("co.kendev.spaces.{method}"), body).await;
        let schema = Schemas::builtin().method(&name).expect("documented");
        if status == 200 {
            let checked = schema.validate_output(&answer);
            assert!(checked.is_ok(), "{name}: {checked:?} in {answer:#}");
            return Ok(answer);
        }
        let error = answer["error"].as_str().expect("a name").to_owned();
        let general = ["InvalidRequest", "AuthMissing", "RateLimitExceeded"].contains(&error.as_str());
        assert!(general || schema.errors().any(|named| named == error), "{name} does not document {error}: {answer}");
        Err(error)
    }

    /// Reads.
    async fn get(&self, who: Option<&Person>, method: &str) -> Result<Value, String> {
        self.ask(who, method, None).await
    }

    /// Acts.
    async fn post(&self, who: &Person, method: &str, body: &Value) -> Result<Value, String> {
        self.ask(Some(who), method, Some(body)).await
    }

    async fn space(&self, holder: &Person, slug: &str, approval: &str) -> String {
        let record = json!({
            "name": slug, "slug": slug, "visibility": "public", "memberApproval": approval,
            "businessIdentity": { "type": "service", "industry": "general" },
        });
        let made = self.post(holder, "createSpace", &json!({ "record": record })).await.expect("made");
        made["uri"].as_str().expect("a URI").to_owned()
    }

    async fn join(&self, who: &Person, space: &str) -> Result<Value, String> {
        self.post(who, "joinSpace", &json!({ "space": space })).await
    }

    async fn say(&self, who: &Person, space: &str, text: &str) -> Result<String, String> {
        let message = json!({ "space": space, "content": { "type": "text", "text": text } });
        let sent = self.post(who, "sendMessage", &message).await?;
        Ok(sent["uri"].as_str().expect("a URI").to_owned())
    }

    /// What is said in a space, once it is as many messages.
    async fn said(&self, who: Option<&Person>, query: &str, count: usize) -> Vec<String> {
        let began = tokio::time::Instant::now();
        loop {
            let page = self.get(who, query).await.expect("reads");
            let texts: Vec<String> = page["messages"]
                .as_array()
                .expect("a list")
                .iter()
                .map(|view| view["value"]["content"]["text"].as_str().unwrap_or_default().to_owned())
                .collect();
            if texts.len() == count || began.elapsed() > PATIENCE {
                return texts;
            }
            tokio::task::yield_now().await;
        }
    }

    /// A token by which somebody who lives here speaks to another node.
    async fn speaks_to(&self, who: &Person, other: &Self, method: &str) -> Person {
        let (_, described) = other.raw(None, "com.atproto.server.describeServer", None).await;
        let audience = enc(described["did"].as_str().expect("a DID"));
        let query = format!("com.atproto.server.getServiceAuth?aud={audience}&lxm=co.kendev.spaces.{method}");
        let (status, answer) = self.raw(Some(who), &query, None).await;
        assert_eq!(status, 200, "{answer}");
        Person { did: who.did.clone(), token: answer["token"].as_str().expect("a token").to_owned() }
    }

    /// Writes a message as any AT Protocol client does.
    async fn write(&self, who: &Person, space: &str, text: &str) -> String {
        let record = json!({
            "$type": "co.kendev.spaces.message", "space": space, "messageType": "user",
            "content": { "type": "text", "text": text }, "createdAt": "2026-11-21T09:00:00.000Z",
        });
        let body = json!({ "repo": who.did, "collection": "co.kendev.spaces.message", "record": record });
        let (status, answer) = self.raw(Some(who), "com.atproto.repo.createRecord", Some(&body)).await;
        assert_eq!(status, 200, "{answer}");
        answer["uri"].as_str().expect("a URI").to_owned()
    }

    async fn follow(&self, who: Option<&Person>, query: &str) -> Follower {
        let url = format!("{}/xrpc/co.kendev.spaces.subscribeSpace?{query}", self.url.replace("http", "ws"));
        let mut request = url.into_client_request().expect("a URL");
        if let Some(person) = who {
            let value = format!("Bearer {}", person.token).parse().expect("a header");
            request.headers_mut().insert("authorization", value);
        }
        Follower(connect_async(request).await.expect("connects").0)
    }
}

struct Follower(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Follower {
    /// The next JSON object that is no presence.
    async fn next(&mut self) -> Value {
        loop {
            let told = self.any().await;
            if told["$type"] != "co.kendev.spaces.subscribeSpace#presence" {
                return told;
            }
        }
    }

    async fn any(&mut self) -> Value {
        loop {
            match timeout(PATIENCE, self.0.next()).await.expect("something comes").expect("open").expect("in order") {
                Sent::Text(text) => return serde_json::from_str(&text).expect("JSON"),
                Sent::Ping(_) | Sent::Pong(_) => {}
                Sent::Close(close) => return json!({ "closed": close.map(|close| close.reason.to_string()) }),
                other => panic!("{other:?}"),
            }
        }
    }
}

fn enc(uri: &str) -> String {
    uri.replace('%', "%25").replace(':', "%3A").replace('/', "%2F")
}

#[tokio::test]
async fn a_conversation_from_beginning_to_end() {
    let world = World::new().await;
    let (ada, bob) = (world.sign_up("ada").await, world.sign_up("bob").await);
    let space = world.space(&ada, "workshop", "automatic").await;
    let at = enc(&space);

    let view = world.get(None, &format!("getSpace?space={at}")).await.expect("public");
    assert_eq!((&view["value"]["tenant"], &view["stats"]["memberCount"]), (&json!(ada.did), &json!(1)));
    assert_eq!(world.say(&bob, &space, "too early").await, Err("NotAllowed".to_owned()));
    assert_eq!(world.join(&bob, &space).await.expect("open")["status"], "active");
    assert_eq!(world.join(&bob, &space).await.expect("again")["role"], "member");
    let channel = json!({ "space": space, "name": "Sales", "channelType": "chat", "department": "sales" });
    assert_eq!(world.post(&bob, "createChannel", &channel).await, Err("NotAllowed".to_owned()));
    let sales = world.post(&ada, "createChannel", &channel).await.expect("made")["uri"].clone();
    let listed = world.get(None, &format!("listChannels?space={at}")).await.expect("public");
    assert_eq!(listed["channels"][0]["department"], "sales");

    let first = world.say(&bob, &space, "The bay is free from nine.").await.expect("a member");
    let cid = world.get(None, &format!("getMessage?uri={}", enc(&first))).await;
    let first_view = match cid {
        Ok(view) => view,
        // The index follows the write.
        Err(_) => {
            world.said(None, &format!("listMessages?space={at}"), 1).await;
            world.get(None, &format!("getMessage?uri={}", enc(&first))).await.expect("there")
        }
    };
    let reference = json!({ "uri": first, "cid": first_view["cid"] });
    let answer = json!({
        "space": space, "channel": sales, "priority": "urgent",
        "content": {
            "type": "text", "text": "Then I book it.", "metadata": "{\"customerJourney\":\"purchase\"}",
        },
        "replyTo": { "root": reference, "parent": reference },
    });
    world.post(&ada, "sendMessage", &answer).await.expect("sent");
    let all = world.said(None, &format!("listMessages?space={at}"), 2).await;
    assert_eq!(all, ["Then I book it.", "The bay is free from nine."]);
    for (filter, count) in [
        ("department=sales", 1),
        ("department=support", 0),
        ("priority=urgent", 1),
        ("priority=normal", 1),
        ("customerJourney=purchase", 1),
        ("workflow=x", 0),
        ("messageType=user", 2),
    ] {
        let found = world.said(None, &format!("listMessages?space={at}&{filter}"), count).await;
        assert_eq!(found.len(), count, "{filter}");
    }
    let sales_uri = enc(sales.as_str().expect("a URI"));
    assert_eq!(world.said(None, &format!("listMessages?space={at}&channel={sales_uri}"), 1).await.len(), 1);
    let thread = world.get(None, &format!("getThread?uri={}", enc(&first))).await.expect("there");
    assert_eq!(thread["root"]["uri"], first.as_str());
    assert_eq!(thread["replies"][0]["value"]["content"]["text"], "Then I book it.");
    assert_eq!(world.said(None, &format!("searchMessages?space={at}&q=BAY+free"), 1).await.len(), 1);
    assert_eq!(world.said(None, &format!("searchMessages?space={at}&q=bay+book"), 0).await.len(), 0);

    let edit = json!({ "uri": first, "content": { "type": "text", "text": "The bay is free from ten." } });
    assert_eq!(world.post(&ada, "editMessage", &edit).await, Err("NotAllowed".to_owned()));
    world.post(&bob, "editMessage", &edit).await.expect("one's own");
    assert_eq!(world.said(None, &format!("searchMessages?space={at}&q=ten"), 1).await.len(), 1);
    let versions = world.get(None, &format!("listMessageVersions?uri={}", enc(&first))).await.expect("there");
    assert_eq!(versions["versions"][0]["value"]["content"]["text"], "The bay is free from nine.");

    let smile = json!({ "uri": first, "emoji": "🙂" });
    let once = world.post(&ada, "react", &smile).await.expect("a member");
    assert_eq!(world.post(&ada, "react", &smile).await.expect("again"), once, "one of a kind by each");
    world.post(&ada, "markRead", &json!({ "message": first })).await.expect("a member");
    let view = world.get(Some(&ada), &format!("getMessage?uri={}", enc(&first))).await.expect("there");
    assert_eq!(view["reactions"], json!([{ "emoji": "🙂", "count": 1, "own": true }]));
    assert_eq!(view["readBy"], json!([ada.did]));
    let outside = world.get(None, &format!("getMessage?uri={}", enc(&first))).await.expect("there");
    assert!(outside.get("readBy").is_none(), "for members only");
    world.post(&ada, "react", &json!({ "uri": first, "emoji": "🙂", "remove": true })).await.expect("taken back");

    let hide = json!({ "uri": first, "reason": "off topic" });
    assert_eq!(world.post(&bob, "hideMessage", &hide).await, Err("NotAllowed".to_owned()));
    world.post(&ada, "hideMessage", &hide).await.expect("hidden");
    assert_eq!(world.said(None, &format!("listMessages?space={at}"), 1).await.len(), 1);
    let told = world.get(Some(&bob), &format!("getMessage?uri={}", enc(&first))).await.expect("the author's own");
    assert_eq!((&told["hidden"]["reason"], &told["reactions"]), (&json!("off topic"), &json!([])));
    assert_eq!(world.get(None, &format!("getMessage?uri={}", enc(&first))).await, Err("MessageNotFound".to_owned()));
    world.post(&ada, "hideMessage", &json!({ "uri": first, "lift": true })).await.expect("shown again");
    world.post(&bob, "reportMessage", &json!({ "uri": first, "reason": "spam" })).await.expect("kept");
    world.post(&bob, "deleteMessage", &json!({ "uri": first })).await.expect("one's own");
    assert_eq!(world.said(None, &format!("listMessages?space={at}"), 1).await, ["Then I book it."]);
    let stats = world.get(None, &format!("getSpace?space={at}")).await.expect("there")["stats"].clone();
    assert_eq!((&stats["messageCount"], &stats["memberCount"]), (&json!(1), &json!(2)));

    assert_eq!(world.post(&bob, "deleteSpace", &json!({ "space": space })).await, Err("NotAllowed".to_owned()));
    world.post(&ada, "deleteSpace", &json!({ "space": space })).await.expect("the owner");
    assert_eq!(world.get(Some(&ada), &format!("getSpace?space={at}")).await, Err("SpaceNotFound".to_owned()));
    world.node.shutdown().await.expect("stops");
}

#[tokio::test]
async fn membership_goes_by_rules_and_roles() {
    let world = World::new().await;
    let (ada, bob, eve) = (world.sign_up("ada").await, world.sign_up("bob").await, world.sign_up("eve").await);
    let closed = world.space(&ada, "closed", "disabled").await;
    let manual = world.space(&ada, "manual", "manual").await;
    let member = |space: &str, user: &Person| json!({ "space": space, "user": user.did });
    let refused = |name: &str| Err::<Value, _>(name.to_owned());

    assert_eq!(world.join(&bob, &closed).await, refused("InvitationNeeded"));
    let invite = json!({ "space": closed, "role": "moderator" });
    assert_eq!(world.post(&bob, "inviteMember", &invite).await, refused("NotAllowed"));
    let token = world.post(&ada, "inviteMember", &invite).await.expect("the owner")["token"].clone();
    let with = |token: &Value| json!({ "space": closed, "token": token });
    assert_eq!(world.post(&bob, "joinSpace", &with(&json!("guess"))).await, refused("InvalidInvitation"));
    assert_eq!(world.post(&bob, "joinSpace", &with(&token)).await.expect("invited")["role"], "moderator");
    assert_eq!(world.post(&eve, "joinSpace", &with(&token)).await, refused("InvalidInvitation"), "once");
    let for_bob = json!({ "space": closed, "user": eve.did });
    let own = world.post(&ada, "inviteMember", &for_bob).await.expect("the owner")["token"].clone();
    assert_eq!(world.join(&eve, &closed).await.expect("invited by name")["status"], "active");
    assert!(world.post(&bob, "joinSpace", &with(&own)).await.is_err(), "somebody else's");

    assert_eq!(world.join(&bob, &manual).await.expect("asked")["status"], "pending");
    assert_eq!(world.say(&bob, &manual, "too early").await, Err("NotAllowed".to_owned()));
    assert_eq!(world.post(&bob, "approveMember", &member(&manual, &bob)).await, refused("NotAllowed"));
    let approved = world.post(&ada, "approveMember", &member(&manual, &bob)).await.expect("the owner");
    assert_eq!(approved["status"], "active");

    let mut role = member(&closed, &eve);
    role["role"] = json!("space_admin");
    assert_eq!(world.post(&bob, "setMemberRole", &role).await, refused("NotAllowed"), "above their own");
    role["role"] = json!("guest");
    assert_eq!(world.post(&bob, "setMemberRole", &role).await.expect("a moderator")["role"], "guest");
    assert_eq!(world.post(&bob, "banMember", &member(&closed, &ada)).await, refused("NotAllowed"), "the owner");
    assert_eq!(world.post(&bob, "banMember", &member(&closed, &eve)).await.expect("a moderator")["status"], "banned");
    assert_eq!(world.join(&eve, &closed).await, refused("NotAllowed"));
    let at = enc(&closed);
    assert_eq!(world.get(Some(&eve), &format!("listMessages?space={at}")).await, refused("SpaceNotFound"));
    assert_eq!(world.get(None, &format!("listMembers?space={at}")).await, refused("NotAllowed"));
    let members = world.get(Some(&bob), &format!("listMembers?space={at}")).await.expect("a member");
    assert_eq!(members["members"].as_array().expect("a list").len(), 2);
    assert_eq!(world.post(&ada, "leaveSpace", &json!({ "space": closed })).await, refused("NotAllowed"));
    world.post(&bob, "leaveSpace", &json!({ "space": closed })).await.expect("may leave");
    let mine = world.get(Some(&bob), "listSpaces?member=true").await.expect("reads");
    assert_eq!(mine["spaces"].as_array().expect("a list").len(), 1);
    world.node.shutdown().await.expect("stops");
}

#[tokio::test]
async fn what_is_not_public_is_not_kept_and_what_is_not_there_is_answered_alike() {
    let world = World::new().await;
    let (ada, eve) = (world.sign_up("ada").await, world.sign_up("eve").await);
    let nowhere = format!("at://{}/co.kendev.spaces.space/3kznmn7xqxl22", ada.did);
    let space = world.space(&ada, "open", "automatic").await;
    let private = json!({ "space": space, "name": "x", "channelType": "chat", "visibility": "private" });
    assert_eq!(world.post(&ada, "createChannel", &private).await, Err("PermissionedDataUnavailable".to_owned()));
    let computed = json!({ "space": space, "record": { "stats": { "memberCount": 7 } } });
    assert_eq!(world.post(&ada, "updateSpace", &computed).await, Err("InvalidRequest".to_owned()));
    for bad in [
        json!({ "type": "text" }),
        json!({ "type": "text", "text": "a", "html": "<script>alert(1)</script>" }),
        json!({ "type": "system", "systemData": { "event": 7 } }),
    ] {
        let sent = world.post(&ada, "sendMessage", &json!({ "space": space, "content": bad })).await;
        assert_eq!(sent, Err("InvalidRequest".to_owned()));
    }
    world.join(&eve, &space).await.expect("open");
    let house = json!({ "space": space, "messageType": "system", "content": { "type": "text", "text": "a" } });
    assert_eq!(world.post(&eve, "sendMessage", &house).await, Err("InvalidRequest".to_owned()));
    world.post(&ada, "sendMessage", &house).await.expect("the house speaks");
    let other = "at://did:plc:nobody/co.kendev.spaces.space/3kznmn7xqxl22";
    for uri in [&nowhere[..], other, "at://did:plc:nobody", "nonsense"] {
        assert_eq!(
            world.get(Some(&eve), &format!("getSpace?space={}", enc(uri))).await,
            Err("SpaceNotFound".to_owned())
        );
    }
    assert_eq!(world.get(None, "listSpaces?member=true").await, Err("AuthMissing".to_owned()));
    world.node.shutdown().await.expect("stops");
}

#[tokio::test]
async fn followers_hear_everything_once_in_order_until_they_are_turned_out() {
    let world = World::new().await;
    let (ada, bob) = (world.sign_up("ada").await, world.sign_up("bob").await);
    let space = world.space(&ada, "live", "automatic").await;
    world.join(&bob, &space).await.expect("open");
    let at = enc(&space);
    let query = format!("space={at}&format=json");
    let (mut owner, mut stranger) = (world.follow(Some(&ada), &query).await, world.follow(None, &query).await);
    let mut member = world.follow(Some(&bob), &query).await;
    let here = owner.any().await;
    assert_eq!((&here["did"], &here["state"]), (&json!(bob.did), &json!("online")));

    let mut sent = vec![];
    for number in 0..20 {
        sent.push(
            world.say(if number % 2 == 0 { &ada } else { &bob }, &space, &format!("n{number}")).await.expect("in"),
        );
    }
    let mut last = 0;
    let mut cursor = 0;
    for follower in [&mut owner, &mut stranger, &mut member] {
        last = 0;
        for (number, uri) in sent.iter().enumerate() {
            let told = follower.next().await;
            assert_eq!(told["$type"], "co.kendev.spaces.subscribeSpace#message", "{told}");
            assert_eq!(told["uri"], uri.as_str());
            let number_in_space = told["seq"].as_u64().expect("a number");
            assert!(number_in_space > last);
            last = number_in_space;
            if number == 9 {
                cursor = last;
            }
        }
    }

    // Whoever comes back hears what they missed, as frames too.
    let mut back = world.follow(None, &format!("{query}&cursor={cursor}")).await;
    for uri in &sent[10..] {
        assert_eq!(back.next().await["uri"], uri.as_str());
    }
    let mut frames = world.follow(None, &format!("space={at}&cursor={cursor}")).await;
    match timeout(PATIENCE, frames.0.next()).await.expect("comes").expect("open").expect("in order") {
        Sent::Binary(frame) => {
            let header = angel_protocol::data::cbor::decode(&frame[..16]).expect("a header");
            assert_eq!(header.get("t").and_then(|t| t.as_str()), Some("#message"));
        }
        other => panic!("{other:?}"),
    }
    let mut future = world.follow(None, &format!("{query}&cursor={}", last + 1_000_000)).await;
    assert_eq!(future.next().await["error"], "FutureCursor");

    // Typing is told to the others and kept by nobody; who comes and goes is for members.
    member.0.send(Sent::text(json!({ "type": "typing" }).to_string())).await.expect("sent");
    let typing = owner.next().await;
    assert_eq!(typing["$type"], "co.kendev.spaces.subscribeSpace#typing");
    assert_eq!(stranger.next().await["did"], bob.did.as_str());

    world.post(&ada, "banMember", &json!({ "space": space, "user": bob.did })).await.expect("the owner");
    let banned = tokio::time::Instant::now();
    let told = member.next().await;
    assert_eq!(told["error"], "AccessEnded", "{told}");
    assert!(banned.elapsed() < Duration::from_secs(1), "within a second");
    let told = owner.next().await;
    assert_eq!((&told["did"], &told["status"]), (&json!(bob.did), &json!("banned")));
    world.say(&ada, &space, "after").await.expect("in");
    assert_eq!(stranger.next().await["value"]["content"]["text"], "after", "a stranger hears of no membership");
    assert_eq!(owner.next().await["value"]["content"]["text"], "after");

    world.post(&ada, "deleteSpace", &json!({ "space": space })).await.expect("the owner");
    let mut ended = stranger.next().await;
    while ended["error"].is_null() {
        ended = stranger.next().await;
    }
    assert_eq!(ended["error"], "SpaceGone");
    world.node.shutdown().await.expect("stops");
}

#[tokio::test]
async fn the_index_follows_plain_records_a_restart_and_its_own_loss() {
    let world = World::new().await;
    let (ada, bob, eve) = (world.sign_up("ada").await, world.sign_up("bob").await, world.sign_up("eve").await);
    let space = world.space(&ada, "records", "automatic").await;
    world.join(&bob, &space).await.expect("open");
    let query = format!("listMessages?space={}", enc(&space));
    world.write(&eve, &space, "from a stranger").await;
    world.write(&bob, &space, "one").await;
    let two = world.write(&bob, &space, "two").await;
    assert_eq!(world.said(None, &query, 2).await, ["two", "one"], "a stranger's record is no message");

    // Nothing is lost or done twice by a restart.
    let world = world.restarted(|_| ()).await;
    world.write(&ada, &space, "three").await;
    assert_eq!(world.said(None, &query, 3).await, ["three", "two", "one"]);

    // The index of records is made anew from the repositories; who is in it and what was decided is not of records.
    let world = world
        .restarted(|store| {
            angel_storage::spaces::forget_messages(store.reader(), store.writer()).expect("forgets");
            assert!(store.reader().scan(&MESSAGES).page(1).expect("reads").rows.is_empty());
            let mut batch = angel_storage::Batch::new();
            cursors::remove(&mut batch, "index", "spaces").expect("fits");
            store.writer().commit(batch).expect("commits");
            assert!(!store.reader().scan(&SPACES).page(1).expect("reads").rows.is_empty());
            assert!(!store.reader().scan(&MEMBERS).page(1).expect("reads").rows.is_empty());
        })
        .await;
    assert_eq!(world.said(None, &query, 3).await, ["three", "two", "one"]);

    let rkey = two.rsplit('/').next().expect("a key");
    let body = json!({ "repo": bob.did, "collection": "co.kendev.spaces.message", "rkey": rkey });
    world.raw(Some(&bob), "com.atproto.repo.deleteRecord", Some(&body)).await;
    assert_eq!(world.said(None, &query, 2).await, ["three", "one"]);
    world.node.shutdown().await.expect("stops");
}

#[tokio::test]
async fn an_author_on_another_node_takes_part() {
    let home = World::new().await;
    let directory = home.url.replace("127.0.0.1", "localhost").parse().expect("a URL");
    let abroad = World::with(|config| config.identity.plc = PlcDirectory::Outside(directory)).await;
    let (ada, bob) = (home.sign_up("ada").await, abroad.sign_up("bob").await);
    let space = home.space(&ada, "abroad", "disabled").await;
    let invite = json!({ "space": space, "user": bob.did });
    home.post(&ada, "inviteMember", &invite).await.expect("the owner");
    abroad.write(&bob, &space, "before joining").await;

    let speaking = abroad.speaks_to(&bob, &home, "joinSpace").await;
    assert_eq!(home.join(&speaking, &space).await.expect("invited")["status"], "active");
    let (status, answer) = home.raw(Some(&speaking), "co.kendev.spaces.leaveSpace", Some(&json!({}))).await;
    assert_eq!((status, &answer["error"]), (401, &json!("BadJwtLexiconMethod")), "a token is for one method");
    let sending = abroad.speaks_to(&bob, &home, "sendMessage").await;
    assert_eq!(home.say(&sending, &space, "here").await, Err("AuthorElsewhere".to_owned()));
    let query = format!("listMessages?space={}", enc(&space));
    assert_eq!(home.said(None, &query, 1).await, ["before joining"], "what was written before is seen");

    let mut follower = home.follow(None, &format!("space={}&format=json", enc(&space))).await;
    let uri = abroad.write(&bob, &space, "from abroad").await;
    let written = tokio::time::Instant::now();
    let told = follower.next().await;
    let took = written.elapsed();
    assert_eq!((&told["uri"], &told["author"]), (&json!(uri), &json!(bob.did)));
    assert!(took < Duration::from_secs(1), "{took:?}");
    println!("seen on the other node after {took:?}");

    // What is written while this node is away is seen when it comes back, and what is taken away is gone.
    let home_dir = home.dir;
    let addr = home.node.facts().http_addr;
    home.node.shutdown().await.expect("stops");
    abroad.write(&bob, &space, "meanwhile").await;
    let mut config = config(&home_dir);
    config.http.listen = addr;
    let node = Node::start(config).await.expect("starts");
    let home = World { url: node.facts().run_file().http_url, dir: home_dir, node, client: Client::new() };
    assert_eq!(home.said(None, &query, 3).await, ["meanwhile", "from abroad", "before joining"]);
    let rkey = uri.rsplit('/').next().expect("a key");
    let body = json!({ "repo": bob.did, "collection": "co.kendev.spaces.message", "rkey": rkey });
    abroad.raw(Some(&bob), "com.atproto.repo.deleteRecord", Some(&body)).await;
    assert_eq!(home.said(None, &query, 2).await, ["meanwhile", "before joining"]);

    home.post(&ada, "banMember", &json!({ "space": space, "user": bob.did })).await.expect("the owner");
    abroad.write(&bob, &space, "turned out").await;
    home.say(&ada, &space, "quiet now").await.expect("the owner");
    assert_eq!(home.said(None, &query, 3).await, ["quiet now", "meanwhile", "before joining"]);
    home.node.shutdown().await.expect("stops");
    abroad.node.shutdown().await.expect("stops");
}

/// Everything that a node shows to everybody about an account, as bytes.
async fn public_face(world: &World, did: &str) -> Vec<u8> {
    let repo = format!("{}/xrpc/com.atproto.sync.getRepo?did={}", world.url, enc(did));
    let mut shown = world.client.get(repo).send().await.expect("answered").bytes().await.expect("a file").to_vec();
    let url = format!("{}/xrpc/com.atproto.sync.subscribeRepos?cursor=0", world.url.replace("http", "ws"));
    let mut stream = connect_async(url).await.expect("connects").0;
    // Something public, written last: when it comes, everything before it has come.
    while let Some(Ok(message)) = timeout(PATIENCE, stream.next()).await.expect("something comes") {
        shown.extend_from_slice(&message.clone().into_data());
        if message.into_data().windows(9).any(|part| part == b"publicend") {
            break;
        }
    }
    shown
}

#[tokio::test]
async fn a_private_space_is_for_its_members_alone() {
    let world = World::new().await;
    let (ada, bob, eve) = (world.sign_up("ada").await, world.sign_up("bob").await, world.sign_up("eve").await);
    for visibility in ["private", "invite_only"] {
        let record = json!({
            "name": "Secretname", "slug": "office", "visibility": visibility, "memberApproval": "automatic",
            "businessIdentity": { "type": "service", "industry": "general" },
        });
        let create = json!({ "record": record, "inviteCode": "open sesame please" });
        let space = world.post(&ada, "createSpace", &create).await.expect("made")["uri"].clone();
        let space = space.as_str().expect("a URI").to_owned();
        let at = enc(&space);
        let channel = json!({ "space": space, "name": "Ideas", "channelType": "chat", "visibility": "private" });
        let ideas = world.post(&ada, "createChannel", &channel).await.expect("made")["uri"].clone();

        // A stranger is told what they are told of nothing, by every method and in every word.
        let nowhere = enc(&format!("at://{}/co.kendev.spaces.space/3kznmn7xqxl22", ada.did));
        for query in ["getSpace", "listChannels", "listMembers", "listMessages"] {
            for who in [None, Some(&eve)] {
                let ask = async |at: &str| {
                    let (status, mut told) =
                        world.raw(who, &format!("co.kendev.spaces.{query}?space={at}"), None).await;
                    told["requestId"] = Value::Null;
                    (status, told)
                };
                let told = ask(&at).await;
                assert_eq!(told, ask(&nowhere).await, "{query}");
                assert_eq!(told.1["error"], "SpaceNotFound");
            }
        }
        let search = format!("searchMessages?space={at}&q=marker");
        assert_eq!(world.get(Some(&eve), &search).await, Err("SpaceNotFound".to_owned()));
        assert_eq!(world.join(&eve, &space).await, Err("SpaceNotFound".to_owned()));
        let guess = json!({ "space": space, "token": "guess" });
        assert_eq!(world.post(&eve, "joinSpace", &guess).await, Err("SpaceNotFound".to_owned()));
        assert_eq!(world.say(&eve, &space, "x").await, Err("SpaceNotFound".to_owned()));
        let listed = world.get(Some(&eve), "listSpaces").await.expect("reads");
        assert_eq!(listed["spaces"], json!([]));
        let refused = connect_async(format!(
            "{}/xrpc/co.kendev.spaces.subscribeSpace?space={at}",
            world.url.replace("http", "ws")
        ));
        assert!(refused.await.is_err(), "no stream for strangers");

        let code = json!({ "space": space, "code": "open sesame please" });
        let by_code = world.post(&bob, "joinSpace", &code).await;
        if visibility == "private" {
            assert_eq!(by_code, Err("SpaceNotFound".to_owned()), "a code does not open a private space");
            let token = world.post(&ada, "inviteMember", &json!({ "space": space })).await.expect("the owner");
            let join = json!({ "space": space, "token": token["token"] });
            assert_eq!(world.post(&bob, "joinSpace", &join).await.expect("invited")["status"], "active");
        } else {
            assert_eq!(by_code.expect("it opens one by invitation")["status"], "active");
        }
        let mut follower = world.follow(Some(&bob), &format!("space={at}&format=json")).await;
        let said = world.say(&ada, &space, "privatemarker one").await.expect("the owner");
        assert_eq!(follower.next().await["value"]["content"]["text"], "privatemarker one");
        let body = json!({
            "space": space, "channel": ideas, "content": { "type": "text", "text": "privatemarker two" },
        });
        let second = world.post(&bob, "sendMessage", &body).await.expect("a member")["uri"].clone();
        follower.next().await;
        let edit = json!({ "uri": second, "content": { "type": "text", "text": "privatemarker three" } });
        world.post(&bob, "editMessage", &edit).await.expect("one's own");
        assert_eq!(follower.next().await["value"]["content"]["text"], "privatemarker three");
        world.post(&bob, "react", &json!({ "uri": said, "emoji": "👍" })).await.expect("a member");
        assert_eq!(follower.next().await["emoji"], "👍");
        let all = world.said(Some(&bob), &format!("searchMessages?space={at}&q=privatemarker"), 2).await;
        assert_eq!(all, ["privatemarker three", "privatemarker one"]);
        assert_eq!(
            world.get(Some(&eve), &format!("getMessage?uri={}", enc(&said))).await,
            Err("MessageNotFound".to_owned())
        );

        // Plain record writes do not reach a room, and nothing of it is public.
        let plain = json!({
            "repo": eve.did, "collection": "co.kendev.spaces.message", "record": {
                "$type": "co.kendev.spaces.message", "space": space, "messageType": "user",
                "content": { "type": "text", "text": "publicend" }, "createdAt": "2026-11-21T09:00:00.000Z",
            },
        });
        world.raw(Some(&eve), "com.atproto.repo.createRecord", Some(&plain)).await;
        let note = json!({
            "repo": eve.did, "collection": "com.example.note", "record": { "text": "publicend" },
        });
        world.raw(Some(&eve), "com.atproto.repo.createRecord", Some(&note)).await;
        for did in [&ada.did, &bob.did] {
            let shown = public_face(&world, did).await;
            for secret in ["privatemarker", "Secretname", "Ideas"] {
                assert!(!shown.windows(secret.len()).any(|part| part == secret.as_bytes()), "{secret} is public");
            }
        }
        let listed = world.said(Some(&bob), &format!("listMessages?space={at}"), 2).await;
        assert_eq!(listed, ["privatemarker three", "privatemarker one"]);

        // Turned out, one is a stranger again, within a second.
        world.post(&ada, "banMember", &json!({ "space": space, "user": bob.did })).await.expect("the owner");
        let banned = tokio::time::Instant::now();
        assert_eq!(follower.next().await["error"], "AccessEnded");
        assert!(banned.elapsed() < Duration::from_secs(1));
        assert_eq!(world.get(Some(&bob), &format!("listMessages?space={at}")).await, Err("SpaceNotFound".to_owned()));
        world.post(&ada, "deleteSpace", &json!({ "space": space })).await.expect("the owner");
        assert_eq!(world.get(Some(&ada), &format!("getSpace?space={at}")).await, Err("SpaceNotFound".to_owned()));
    }
    world.node.shutdown().await.expect("stops");
}

#[tokio::test]
async fn simple_clients_listen_to_server_sent_events() {
    let world = World::new().await;
    let ada = world.sign_up("ada").await;
    let space = world.space(&ada, "events", "automatic").await;
    let listen = async |cursor: &str| {
        let url = format!("{}/api/spaces/events?space={}{cursor}", world.url, enc(&space));
        let response = world.client.get(url).send().await.expect("answered");
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        response
    };
    let heard = async |response: &mut reqwest::Response, wanted: &str| {
        let mut text = String::new();
        while !text.contains(wanted) {
            let chunk = timeout(PATIENCE, response.chunk()).await.expect("something comes").expect("in order");
            text.push_str(&String::from_utf8_lossy(&chunk.expect("open")));
        }
        text
    };
    let mut first = listen("").await;
    world.say(&ada, &space, "event one").await.expect("the owner");
    let told = heard(&mut first, "event one").await;
    assert!(told.contains("event: message"), "{told}");
    let id = told.lines().find_map(|line| line.strip_prefix("id: ")).expect("an id").to_owned();
    world.say(&ada, &space, "event two").await.expect("the owner");
    let mut back = listen(&format!("&cursor={id}")).await;
    let told = heard(&mut back, "event two").await;
    assert!(!told.contains("event one"), "only what came after: {told}");
    world.post(&ada, "deleteSpace", &json!({ "space": space })).await.expect("the owner");
    heard(&mut back, "SpaceGone").await;
    world.node.shutdown().await.expect("stops");
}
