//! Two nodes that keep copies of each other's accounts, as neighbours do: people of both talk in one space as people of
//! any two hosts, and while the space's node is away the other one serves what it holds, and says how old that is.

use std::time::Duration;

use angel_harness::tenancy::{Session, Tenancy};
use angel_harness::wait::until;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// Nobody takes over: what is read from a copy is read while there is no primary.
const SILENCE: Duration = Duration::from_secs(3600);

/// Everything that takes the network a decision may take so long on a busy machine.
const LONG: Duration = Duration::from_secs(120);

/// Where the spaces are, and where the other person lives. Each keeps a copy of the other's account.
const HOME: usize = 0;
const NEXT: usize = 1;

/// Two people of two nodes.
struct Neighbours {
    world: Tenancy,
    ada: Session,
    bob: Session,
}

impl Neighbours {
    async fn meet() -> Result<Self> {
        let world = Tenancy::on_loopback_silent(SILENCE, &[]).await?;
        let (ada, bob) = (world.sign_up("ada").await?, world.sign_up_at(NEXT, "bob", None).await?);
        for (index, other, person) in [(HOME, NEXT, &ada), (NEXT, HOME, &bob)] {
            world.angel(index, &["tenant", "place", &person.did, "--node", &world.node(other)])?;
            let whole = |report: &Value| report["complete"].is_u64() && report["copying"].is_null();
            world.until_reported_of(&person.did, "the copy is whole", other, whole).await?;
            let writable = |report: &Value| report["writable"] == true;
            world.until_reported_of(&person.did, "its primary is confirmed", index, writable).await?;
        }
        Ok(Self { world, ada, bob })
    }

    /// A space of Ada's.
    async fn space(&self, name: &str, visibility: &str) -> Result<String> {
        let wish = json!({ "record": {
            "name": name, "slug": name, "visibility": visibility, "memberApproval": "disabled",
            "businessIdentity": { "type": "service", "industry": "general" },
        } });
        let made = self.post(HOME, "createSpace", &self.ada, &wish).await?;
        Ok(made["uri"].as_str().context("a space")?.to_owned())
    }

    /// Asks Bob into a space of Ada's; he comes.
    async fn let_in(&self, space: &str) -> Result<()> {
        let wish = json!({ "space": space, "user": self.bob.did });
        let asked = self.post(HOME, "inviteMember", &self.ada, &wish).await?;
        let joining = self.speaks("joinSpace").await?;
        let joined =
            self.post(HOME, "joinSpace", &joining, &json!({ "space": space, "token": asked["token"] })).await?;
        ensure!(joined["status"] == "active", "{joined}");
        Ok(())
    }

    /// Bob, as he speaks to the space's node.
    async fn speaks(&self, method: &str) -> Result<Session> {
        let (_, described) = self.world.caller(HOME).get("/xrpc/com.atproto.server.describeServer").await?;
        let audience = described["did"].as_str().context("a DID")?;
        let path = format!("com.atproto.server.getServiceAuth?aud={audience}&lxm=co.kendev.spaces.{method}");
        let (status, answer) = self.world.caller(NEXT).query(&path, &self.bob.token).await?;
        ensure!(status == 200, "{status} {answer}");
        Ok(Session { did: self.bob.did.clone(), token: answer["token"].as_str().context("a token")?.to_owned() })
    }

    async fn post(&self, index: usize, name: &str, person: &Session, body: &Value) -> Result<Value> {
        let name = format!("co.kendev.spaces.{name}");
        let (status, answer) = self.world.caller(index).call(&name, Some(&person.token), body).await?;
        ensure!(status == 200, "{name}: {status} {answer}");
        Ok(answer)
    }

    async fn say(&self, index: usize, person: &Session, space: &str, text: &str) -> Result<Value> {
        let body = json!({ "space": space, "content": { "type": "text", "text": text } });
        self.post(index, "sendMessage", person, &body).await
    }

    /// Asks a node; `None` when it says that there is no such thing.
    async fn ask(&self, index: usize, person: Option<&Session>, query: &str) -> Result<Option<Value>> {
        let caller = self.world.caller(index);
        let (status, answer) = match person {
            Some(person) => caller.query(&format!("co.kendev.spaces.{query}"), &person.token).await?,
            None => caller.get(&format!("/xrpc/co.kendev.spaces.{query}")).await?,
        };
        let is_none = answer["error"].as_str().is_some_and(|name| name.ends_with("NotFound"));
        ensure!(status == 200 || (status == 400 && is_none), "{query}: {status} {answer}");
        Ok((status == 200).then_some(answer))
    }

    /// What was said in a space, the newest first, once it is so much.
    async fn said(&self, index: usize, person: &Session, space: &str, count: usize) -> Result<Value> {
        let (said, _) = until("everything that was said is seen", LONG, async || {
            let answer = self.ask(index, Some(person), &format!("listMessages?space={space}")).await?;
            let answer = answer.context("the space is there")?;
            let seen = texts(&answer);
            ensure!(seen.len() == count, "{seen:?}");
            Ok(Some(answer))
        })
        .await?;
        Ok(said)
    }
}

fn texts(answer: &Value) -> Vec<String> {
    let messages = answer["messages"].as_array().into_iter().flatten();
    messages.filter_map(|message| message["value"]["content"]["text"].as_str().map(ToOwned::to_owned)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn neighbours_talk_and_read_on_while_the_spaces_node_is_away() -> Result<()> {
    let mut it = Neighbours::meet().await?;
    let (market, office) = (it.space("market", "public").await?, it.space("office", "private").await?);
    for space in [&market, &office] {
        it.let_in(space).await?;
    }

    // Who has a copy where the space is, is an author elsewhere all the same.
    let record = json!({
        "$type": "co.kendev.spaces.message", "space": market, "messageType": "user",
        "content": { "type": "text", "text": "from next door" }, "createdAt": "2026-11-21T09:00:00.000Z",
    });
    let body = json!({ "repo": it.bob.did, "collection": "co.kendev.spaces.message", "record": record });
    let (status, answer) =
        it.world.caller(NEXT).call("com.atproto.repo.createRecord", Some(&it.bob.token), &body).await?;
    ensure!(status == 200, "{status} {answer}");
    let listed = it.said(HOME, &it.ada, &market, 1).await?;
    ensure!(texts(&listed) == ["from next door"] && listed["asOf"].is_null(), "{listed}");
    it.say(NEXT, &it.bob, &office, "behind closed doors").await?;
    it.said(HOME, &it.ada, &office, 1).await?;
    let before = it.say(HOME, &it.ada, &office, "welcome").await?;
    let root = before["uri"].as_str().context("a URI")?.to_owned();
    Ok(())
}
