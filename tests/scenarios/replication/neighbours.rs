//! Two nodes that keep copies of each other's accounts, as neighbours do: people of both talk in one space as people of
//! any two hosts, and while the space's node is away the other one serves what it holds, and says how old that is.

use std::collections::BTreeSet;
use std::time::Duration;

use angel_harness::tenancy::{Session, Tenancy};
use angel_harness::wait::until;
use angel_protocol::time::Timestamp;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// Nobody takes over: what is read from a copy is read while there is no primary.
const SILENCE: Duration = Duration::from_secs(3600);

/// Everything that takes the network a decision may take so long on a busy machine.
const LONG: Duration = Duration::from_secs(120);

/// Where the spaces are, and where the other person lives. Each keeps a copy of the other's account.
const HOME: usize = 0;
const NEXT: usize = 1;

/// Has copies of both, and says nothing here.
const THIRD: usize = 2;

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
            let (first, second) = (world.node(other), world.node(THIRD));
            world.angel(index, &["tenant", "place", &person.did, "--node", &first, "--node", &second])?;
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

    /// Asks somebody who lives next door into a space of Ada's; they come.
    async fn let_in(&self, person: &Session, space: &str) -> Result<()> {
        let wish = json!({ "space": space, "user": person.did });
        let asked = self.post(HOME, "inviteMember", &self.ada, &wish).await?;
        let joining = self.speaks(person, "joinSpace").await?;
        let joined =
            self.post(HOME, "joinSpace", &joining, &json!({ "space": space, "token": asked["token"] })).await?;
        ensure!(joined["status"] == "active", "{joined}");
        Ok(())
    }

    /// Somebody who lives next door, as they speak to the space's node.
    async fn speaks(&self, person: &Session, method: &str) -> Result<Session> {
        let (_, described) = self.world.caller(HOME).get("/xrpc/com.atproto.server.describeServer").await?;
        let audience = described["did"].as_str().context("a DID")?.replace('%', "%25");
        let path = format!("com.atproto.server.getServiceAuth?aud={audience}&lxm=co.kendev.spaces.{method}");
        let (status, answer) = self.world.caller(NEXT).query(&path, &person.token).await?;
        ensure!(status == 200, "{status} {answer}");
        Ok(Session { did: person.did.clone(), token: answer["token"].as_str().context("a token")?.to_owned() })
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

impl Neighbours {
    /// Waits until a copy shows that this was said, the newest first; answers how old it says to be.
    async fn until_copied_are(&self, person: &Session, space: &str, expected: &[&str]) -> Result<String> {
        let (as_of, _) = until("the copy has everything", LONG, async || {
            let Some(answer) = self.ask(NEXT, Some(person), &format!("listMessages?space={space}")).await? else {
                return Ok(None);
            };
            let as_of = answer["asOf"].as_str().context("it says how old it is")?;
            Ok((texts(&answer) == expected).then(|| as_of.to_owned()))
        })
        .await?;
        Ok(as_of)
    }

    /// What members and strangers read at the neighbour's while the space's node is away.
    async fn reads_on(&self, market: &str, office: &str, root: &str) -> Result<()> {
        let bob = Some(&self.bob);
        let aged = |answer: Option<Value>| {
            let answer = answer.context("it is there")?;
            ensure!(answer["asOf"].is_string(), "it says how old it is: {answer}");
            Ok(answer)
        };
        // A stranger sees the public one only.
        let space = aged(self.ask(NEXT, None, &format!("getSpace?space={market}")).await?)?;
        ensure!(space["value"]["slug"] == "market" && space["stats"]["memberCount"] == 2, "{space}");
        let listed = aged(self.ask(NEXT, None, &format!("listSpaces?tenant={}", self.ada.did)).await?)?;
        ensure!(listed["spaces"].as_array().map(Vec::len) == Some(1), "{listed}");
        aged(self.ask(NEXT, None, &format!("listChannels?space={market}")).await?)?;
        for query in [
            format!("getSpace?space={office}"),
            format!("listMessages?space={office}"),
            format!("listChannels?space={office}"),
            format!("getMessage?uri={root}"),
            format!("getThread?uri={root}"),
            format!("listMessageVersions?uri={root}"),
        ] {
            ensure!(self.ask(NEXT, None, &query).await?.is_none(), "a stranger is told nothing by {query}");
        }
        // A member sees both.
        let space = aged(self.ask(NEXT, bob, &format!("getSpace?space={office}")).await?)?;
        ensure!(space["value"]["slug"] == "office" && space["viewer"]["status"] == "active", "{space}");
        let listed = format!("listSpaces?tenant={}&member=true", self.ada.did);
        let listed = aged(self.ask(NEXT, bob, &listed).await?)?;
        ensure!(listed["spaces"].as_array().map(Vec::len) == Some(2), "{listed}");
        let members = aged(self.ask(NEXT, bob, &format!("listMembers?space={office}")).await?)?;
        ensure!(members["members"].as_array().map(Vec::len) == Some(2), "{members}");
        let message = aged(self.ask(NEXT, bob, &format!("getMessage?uri={root}")).await?)?;
        ensure!(message["value"]["content"]["text"] == "welcome", "{message}");
        let thread = aged(self.ask(NEXT, bob, &format!("getThread?uri={root}")).await?)?;
        let reply = &thread["replies"][0]["value"]["content"]["text"];
        ensure!(thread["root"]["uri"] == root && reply == "glad to be here", "{thread}");
        aged(self.ask(NEXT, bob, &format!("listMessageVersions?uri={root}")).await?)?;
        let found = aged(self.ask(NEXT, bob, &format!("searchMessages?space={office}&q=closed")).await?)?;
        ensure!(texts(&found) == ["behind closed doors"], "{found}");
        // Nothing is told live of a copy, and nobody joins there.
        let typing = json!({ "space": office });
        let caller = self.world.caller(NEXT);
        let (status, answer) = caller.call("co.kendev.spaces.setTyping", Some(&self.bob.token), &typing).await?;
        ensure!(status == 400 && answer["error"] == "HolderElsewhere", "{status} {answer}");
        let joining = json!({ "space": market });
        let (status, answer) = caller.call("co.kendev.spaces.joinSpace", Some(&self.bob.token), &joining).await?;
        ensure!(status == 400 && answer["error"] == "SpaceNotFound", "{status} {answer}");
        Ok(())
    }
}

impl Neighbours {
    /// Bob's account becomes one of the space's node, and goes home again: what he says is seen, and each of it once.
    async fn moves_to_the_space_and_back(&mut self, market: &str, office: &str) -> Result<()> {
        let (mut of_market, mut of_office) = (2, 3);
        for (index, place) in [(HOME, "at the space's"), (NEXT, "at home again")] {
            // On a busy machine the verb may give up waiting for what is decided after all.
            until(&format!("he may write {place}"), LONG * 3, async || {
                let report = self.world.report_of(index, &self.bob.did).await?.context("it is placed here")?;
                if report["writable"] == true {
                    return Ok(Some(()));
                }
                self.world.angel(index, &["tenant", "promote", &self.bob.did])?;
                Ok(None)
            })
            .await?;
            self.bob.token = self.world.caller(index).of(&self.bob.did).log_in().await?;
            self.write(index, market, place).await?;
            self.say(index, &self.bob, office, place).await?;
            (of_market, of_office) = (of_market + 1, of_office + 1);
            for (space, count) in [(market, of_market), (office, of_office)] {
                let said = self.said(HOME, &self.ada, space, count).await?;
                let said = texts(&said);
                ensure!(said[0] == place && said.iter().collect::<BTreeSet<_>>().len() == count, "{said:?}");
            }
        }
        Ok(())
    }

    /// Bob writes a message as any client of AT Protocol does.
    async fn write(&self, index: usize, space: &str, text: &str) -> Result<()> {
        let record = json!({
            "$type": "co.kendev.spaces.message", "space": space, "messageType": "user",
            "content": { "type": "text", "text": text }, "createdAt": "2026-11-21T09:00:00.000Z",
        });
        let body = json!({ "repo": self.bob.did, "collection": "co.kendev.spaces.message", "record": record });
        let caller = self.world.caller(index);
        let (status, answer) = caller.call("com.atproto.repo.createRecord", Some(&self.bob.token), &body).await?;
        ensure!(status == 200, "{status} {answer}");
        Ok(())
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
        it.let_in(&it.bob, space).await?;
    }

    // Who has a copy where the space is, is an author elsewhere all the same.
    it.write(NEXT, &market, "from next door").await?;
    let listed = it.said(HOME, &it.ada, &market, 1).await?;
    ensure!(texts(&listed) == ["from next door"] && listed["asOf"].is_null(), "{listed}");
    it.say(NEXT, &it.bob, &office, "behind closed doors").await?;
    it.said(HOME, &it.ada, &office, 1).await?;
    let before = it.say(HOME, &it.ada, &office, "welcome").await?;
    let root = before["uri"].as_str().context("a URI")?.to_owned();
    let reply = json!({
        "space": office, "content": { "type": "text", "text": "glad to be here" },
        "replyTo": { "root": before, "parent": before },
    });
    it.post(NEXT, "sendMessage", &it.bob, &reply).await?;
    it.said(HOME, &it.ada, &office, 3).await?;
    let carl = it.world.sign_up_at(NEXT, "carl", None).await?;
    it.let_in(&carl, &office).await?;
    let of_office = ["glad to be here", "welcome", "behind closed doors"];
    it.until_copied_are(&carl, &office, &of_office).await?;

    // Whoever is turned out is turned out next door, too.
    it.post(HOME, "banMember", &it.ada, &json!({ "space": office, "user": carl.did })).await?;
    until("a member who was turned out is a stranger next door", LONG, async || {
        let seen = it.ask(NEXT, Some(&carl), &format!("getSpace?space={office}")).await?;
        Ok(seen.is_none().then_some(()))
    })
    .await?;
    let written = now();
    it.say(HOME, &it.ada, &market, "open to all").await?;
    let of_market = ["open to all", "from next door"];
    it.until_copied_are(&it.bob, &market, &of_market).await?;

    // The space's node is gone, and nobody takes over.
    it.world.validators.kill(HOME)?;
    let killed = now();
    it.reads_on(&market, &office, &root).await?;
    let as_of = it.until_copied_are(&it.bob, &office, &of_office).await?;
    ensure!(written <= as_of && as_of <= killed, "between {written} and {killed}: {as_of}");
    ensure!(it.ask(NEXT, Some(&carl), &format!("listMessages?space={office}")).await?.is_none(), "he was turned out");

    // So it is when the neighbour starts anew, and it does not take itself for younger than it is.
    it.world.validators.kill(NEXT)?;
    it.world.validators.start(NEXT)?;
    it.reads_on(&market, &office, &root).await?;
    let as_of = it.until_copied_are(&it.bob, &market, &of_market).await?;
    ensure!(as_of <= killed, "not after {killed}: {as_of}");

    // Once it is back, what it says counts, and the copy is of now.
    it.world.validators.start(HOME)?;
    let back = it.said(HOME, &it.ada, &office, 3).await?;
    ensure!(back["asOf"].is_null(), "{back}");
    until("the copy is of now", LONG, async || {
        let as_of = it.until_copied_are(&it.bob, &market, &of_market).await?;
        Ok((as_of > killed).then_some(()))
    })
    .await?;
    it.moves_to_the_space_and_back(&market, &office).await
}

fn now() -> String {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX)).to_string()
}
