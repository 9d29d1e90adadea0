//! Spaces of a whole node, as clients meet them: over HTTP and WebSockets, every answer held against its lexicon.

mod agents;
mod elsewhere;
mod hostile;
mod imports;
mod live;
mod members;
mod rebuild;
mod reports;
mod rooms;
mod staff;

use std::time::Duration;

use angel_protocol::lexicon::Schemas;
use angel_storage::spaces::{FACTS, MEMBERS, MESSAGES, SPACES};
use angel_storage::{Store, cursors};
use futures::{SinkExt, StreamExt};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message as Sent;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::config::{Config, PlcDirectory};
use crate::xrpc::tests::visited::{Person, Visited as World};

const PATIENCE: Duration = Duration::from_secs(20);

impl World {
    async fn ask(&self, who: Option<&Person>, method: &str, body: Option<&Value>) -> Result<Value, String> {
        let name = method.split('?').next().expect("a name");
        let name = format!("co.kendev.spaces.{name}");
        let (status, answer) = self.send(who, &format!("co.kendev.spaces.{method}"), body).await;
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

    /// Waits until the index has everything: whoever makes a space is answered when it has that, too.
    async fn indexed(&self, who: &Person) {
        let space = self.space(who, "beacon", "automatic").await;
        self.post(who, "deleteSpace", &json!({ "space": space })).await.expect("one's own");
    }

    /// Writes a message as any AT Protocol client does.
    async fn write(&self, who: &Person, space: &str, text: &str) -> String {
        let record = json!({
            "$type": "co.kendev.spaces.message", "space": space, "messageType": "user",
            "content": { "type": "text", "text": text }, "createdAt": "2026-11-21T09:00:00.000Z",
        });
        self.record(who, "co.kendev.spaces.message", &record).await
    }

    /// Writes a reaction as any AT Protocol client does.
    async fn react(&self, who: &Person, message: &Value, emoji: &str) -> String {
        let record = json!({
            "$type": "co.kendev.spaces.reaction", "emoji": emoji, "createdAt": "2026-11-21T09:00:00.000Z",
            "subject": { "uri": message["uri"], "cid": message["cid"] },
        });
        self.record(who, "co.kendev.spaces.reaction", &record).await
    }

    async fn record(&self, who: &Person, collection: &str, record: &Value) -> String {
        let body = json!({ "repo": who.did, "collection": collection, "record": record });
        let (status, answer) = self.send(Some(who), "com.atproto.repo.createRecord", Some(&body)).await;
        assert_eq!(status, 200, "{answer}");
        answer["uri"].as_str().expect("a URI").to_owned()
    }

    /// Takes a record away as any AT Protocol client does.
    async fn delete(&self, who: &Person, uri: &str) {
        let mut parts = uri.rsplit('/');
        let (rkey, collection) = (parts.next(), parts.next());
        let body = json!({ "repo": who.did, "collection": collection, "rkey": rkey });
        let (status, answer) = self.send(Some(who), "com.atproto.repo.deleteRecord", Some(&body)).await;
        assert_eq!(status, 200, "{answer}");
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
async fn what_does_not_fit_is_refused_and_what_is_not_there_is_answered_alike() {
    let world = World::new().await;
    let (ada, eve) = (world.sign_up("ada").await, world.sign_up("eve").await);
    let nowhere = format!("at://{}/co.kendev.spaces.space/3kznmn7xqxl22", ada.did);
    let space = world.space(&ada, "open", "automatic").await;
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
    for uri in [&nowhere[..], other, "at://did:plc:nobody"] {
        assert_eq!(
            world.get(Some(&eve), &format!("getSpace?space={}", enc(uri))).await,
            Err("SpaceNotFound".to_owned())
        );
    }
    assert_eq!(world.get(Some(&eve), "getSpace?space=nonsense").await, Err("InvalidRequest".to_owned()));
    assert_eq!(world.get(None, "listSpaces?member=true").await, Err("AuthMissing".to_owned()));
    world.node.shutdown().await.expect("stops");
}

/// Takes the index away, as if it had never been.
fn lose_the_index(store: &Store) {
    angel_storage::spaces::forget_index(store.reader(), store.writer()).expect("forgets");
    let mut batch = angel_storage::Batch::new();
    cursors::remove(&mut batch, "index", "spaces").expect("fits");
    store.writer().commit(batch).expect("commits");
    assert!(store.reader().scan(&MESSAGES).page(1).expect("reads").rows.is_empty());
    assert!(store.reader().scan(&SPACES).page(1).expect("reads").rows.is_empty());
    assert!(store.reader().scan(&MEMBERS).page(1).expect("reads").rows.is_empty());
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
    let world = world.restarted(|_| (), |_| ()).await;
    world.write(&ada, &space, "three").await;
    assert_eq!(world.said(None, &query, 3).await, ["three", "two", "one"]);

    // The index is made anew from the repositories, and from what was kept besides.
    let world = world.restarted(|_| (), lose_the_index).await;
    world.indexed(&ada).await;
    assert_eq!(world.said(None, &query, 3).await, ["three", "two", "one"]);

    let rkey = two.rsplit('/').next().expect("a key");
    let body = json!({ "repo": bob.did, "collection": "co.kendev.spaces.message", "rkey": rkey });
    world.send(Some(&bob), "com.atproto.repo.deleteRecord", Some(&body)).await;
    assert_eq!(world.said(None, &query, 2).await, ["three", "one"]);
    world.node.shutdown().await.expect("stops");
}
