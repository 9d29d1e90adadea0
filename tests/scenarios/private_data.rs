//! Private data between three hosts of one network: written, read with credentials, refused by name to everybody else,
//! and found nowhere that is public.

mod apps;
mod business;
mod exports;
mod followers;
mod moved;
mod nowhere;
mod person;
mod reader;
mod rooms;

use std::path::{Path, PathBuf};
use std::time::Duration;

use angel_harness::binary::{Daemon, Launch, PATIENCE, verb};
use angel_harness::peers::QUICK;
use angel_harness::wait::until;
use angel_protocol::ids::Did;
use angel_protocol::permissioned::wire::car::{Found, RepoCarReader};
use angel_protocol::permissioned::{Head, SpaceUri};
use anyhow::{Context, Result, ensure};
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use tempfile::TempDir;

use reader::{Reader, name};

const NETWORK: &str = "private-dev";
const TYPE: &str = "co.kendev.spaces.space";
const MESSAGE: &str = "com.example.chat.message";

/// A host with its data.
struct Host {
    daemon: Daemon,
    dir: PathBuf,
    url: String,
    client: Client,
}

/// An account on a host.
#[derive(Clone)]
struct Account {
    did: Did,
    token: String,
}

/// Three hosts that know each other. The first keeps the identities of all accounts.
struct Hosts {
    hosts: [Host; 3],
    _root: TempDir,
}

impl Hosts {
    fn start() -> Result<Self> {
        let root = tempfile::tempdir()?;
        let first = Host::start(root.path(), "first", &[])?;
        let directory = first.url.clone();
        let bootstrap = first.daemon.facts()["p2p"][0].as_str().context("it listens")?.to_owned();
        let join = [("ANGEL_IDENTITY_PLC", directory.as_str()), ("ANGEL_NETWORK_BOOTSTRAP", bootstrap.as_str())];
        let second = Host::start(root.path(), "second", &join)?;
        let third = Host::start(root.path(), "third", &join)?;
        Ok(Self { hosts: [first, second, third], _root: root })
    }
}

impl Host {
    fn start(root: &Path, name: &str, settings: &[(&str, &str)]) -> Result<Self> {
        let dir = root.join(name);
        let launch = Launch::in_dir(&dir).envs(QUICK).env("ANGEL_NODE_NODE_ID", name);
        let launch = launch.env("ANGEL_IDENTITY_HANDLE_DOMAINS", format!(".{name}.test"));
        let launch = launch.env("ANGEL_NETWORK_ID", NETWORK).env("ANGEL_HTTP_RATE_LIMITS", "false");
        // Whatever can be logged of this node is: what is private must not be in it.
        let launch = launch.env("ANGEL_LOG_FILTER", "debug,angel_node=trace,libp2p=info,hyper=info");
        let daemon = launch.envs(settings.iter().copied()).start()?;
        let url = daemon.fact("httpUrl").replace("127.0.0.1", "localhost");
        Ok(Self { daemon, dir, url, client: Client::new() })
    }

    fn get(&self, method: &str, query: &[(&str, &str)]) -> RequestBuilder {
        self.client.get(format!("{}/xrpc/{method}", self.url)).query(query)
    }

    fn post(&self, method: &str, body: &Value) -> RequestBuilder {
        self.client.post(format!("{}/xrpc/{method}", self.url)).json(body)
    }

    /// The answer to a request that succeeds.
    async fn answer(&self, request: RequestBuilder) -> Result<Value> {
        let (status, body) = answer(request).await?;
        ensure!(status == 200, "{status}: {body}");
        Ok(body)
    }

    async fn sign_up(&self, name: &str) -> Result<Account> {
        let described = self.answer(self.get("com.atproto.server.describeServer", &[])).await?;
        ensure!(described["permissionedData"]["proposal"] == "0016", "it says what it serves: {described}");
        let domain = described["availableUserDomains"][0].as_str().context("it gives out handles")?.to_owned();
        let body = json!({ "handle": format!("{name}{domain}"), "email": format!("{name}@mail.test"),
            "password": format!("a password of {name}") });
        let made = self.answer(self.post("com.atproto.server.createAccount", &body)).await?;
        let text = |field: &str| made[field].as_str().context("an account").map(str::to_owned);
        Ok(Account { did: text("did")?.parse()?, token: text("accessJwt")? })
    }

    /// A space under `owner` with members who read and write.
    async fn space(&self, owner: &Account, key: &str, members: &[&Account]) -> Result<SpaceUri> {
        let list = json!({ "$type": "com.atproto.simplespace.defs#memberListPolicy" });
        let body = json!({ "spaceType": TYPE, "skey": key, "readPolicy": list, "writePolicy": list,
            "appAccess": { "$type": "com.atproto.simplespace.defs#open" } });
        let request = self.post("com.atproto.simplespace.createSpace", &body).bearer_auth(&owner.token);
        let space: SpaceUri = self.answer(request).await?["uri"].as_str().context("a space")?.parse()?;
        for member in members {
            self.put_member(owner, &space, member).await?;
        }
        Ok(space)
    }

    async fn put_member(&self, owner: &Account, space: &SpaceUri, member: &Account) -> Result<()> {
        let body = json!({ "space": space, "did": member.did, "read": true, "write": true });
        self.answer(self.post("com.atproto.simplespace.putMember", &body).bearer_auth(&owner.token)).await?;
        Ok(())
    }

    /// Writes a record of `author`, who lives here, into a space.
    async fn write(&self, author: &Account, space: &SpaceUri, collection: &str, record: &Value) -> Result<Value> {
        let body = json!({ "space": space, "repo": author.did, "collection": collection, "record": record });
        self.answer(self.post("com.atproto.space.createRecord", &body).bearer_auth(&author.token)).await
    }

    async fn message(&self, author: &Account, space: &SpaceUri, text: &str) -> Result<Value> {
        self.write(author, space, MESSAGE, &message(space, text)).await
    }
}

fn message(space: &SpaceUri, text: &str) -> Value {
    let uri = format!("at://{}/{TYPE}/{}", space.authority, space.key);
    json!({ "$type": MESSAGE, "space": uri, "messageType": "user", "content": { "type": "text", "text": text },
        "createdAt": "2026-11-21T12:00:00.000Z" })
}

/// Status and body of an answer, whatever it is.
async fn answer(request: RequestBuilder) -> Result<(u16, Value)> {
    let answer = request.send().await?;
    let status = answer.status().as_u16();
    let text = answer.text().await?;
    Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
}

#[tokio::test]
async fn members_on_three_hosts_read_each_other_and_nobody_else_learns_that_there_is_a_space() -> Result<()> {
    let Hosts { hosts: [first, second, third], _root } = Hosts::start()?;
    let (shop, bob, carol) =
        (first.sign_up("shop").await?, second.sign_up("bob").await?, third.sign_up("carol").await?);
    let eve = second.sign_up("eve").await?;
    let space = first.space(&shop, "self", &[&bob, &carol]).await?;
    first.message(&shop, &space, "from the shop").await?;
    second.message(&bob, &space, "from bob").await?;

    // The space hears of a repository on another host.
    let carols = Reader::admitted(&third, &carol, &first, &space).await?;
    let all = async || {
        let repos = carols.list_repos(&first).await?;
        Ok((repos.len() == 2).then_some(repos))
    };
    let (repos, _) = until("the space knows both writers", PATIENCE, all).await?;
    for (host, author, text) in [(&first, &shop, "from the shop"), (&second, &bob, "from bob")] {
        let records = carols.list(host, &author.did).await?;
        ensure!(records.len() == 1 && records[0]["value"]["content"]["text"] == text, "{records:?}");
        let known = repos.iter().find(|repo| repo["did"] == author.did.as_str()).context("listed")?;
        let commit = carols.commit(host, &author.did).await?;
        ensure!(known["repoRev"] == commit.rev.to_string(), "{known}");
    }

    // Bob goes on writing; the operations lead from what Carol holds to where he is, and so does his whole repository.
    let mut copy = Head::empty();
    carols.catch_up(&second, &bob.did, &mut copy).await?;
    for n in 0..30 {
        second.message(&bob, &space, &format!("number {n}")).await?;
    }
    ensure!(carols.catch_up(&second, &bob.did, &mut copy).await? == 30, "the operations since");
    let car = carols.repo(&second, &bob.did).await?;
    let (commit, hash, records) = read_car(&car)?;
    let key = reader::key_of(&first, &bob.did).await?;
    commit.verify(&space, &bob.did, key)?;
    ensure!((hash.digest(), records, commit.rev) == (copy.hash.digest(), 31, copy.rev), "the same by both ways");

    // A stranger with an account, and one without, are told what they would be told of a space that does not exist.
    let nowhere: SpaceUri = space.to_string().replace("/self", "/nowhere").parse()?;
    let mut told = Vec::new();
    for place in [&space, &nowhere] {
        let refused = Reader::refused(&second, &eve, &first, place).await?;
        let text = place.to_string();
        let settings = first.get("com.atproto.simplespace.getSpace", &[("space", &text)]);
        let session = answer(settings.bearer_auth(&shop.token)).await?;
        if place == &nowhere {
            ensure!(name(&session.1) == "SpaceNotFound", "{session:?}");
        }
        let query = [("space", text.as_str()), ("repo", shop.did.as_str())];
        let own = second.get("com.atproto.space.listRecords", &query).bearer_auth(&eve.token);
        let anybody = first.get("com.atproto.space.listRecords", &query);
        let body = json!({ "space": place, "did": eve.did, "read": true, "write": true });
        let manage = first.post("com.atproto.simplespace.putMember", &body);
        let mut answers = vec![refused];
        for request in [own, anybody, manage] {
            answers.push(answer(request).await?);
        }
        told.push(
            answers
                .into_iter()
                .map(|(status, body)| (status, body["error"].clone(), body["message"].clone()))
                .collect::<Vec<_>>(),
        );
    }
    ensure!(told[0] == told[1], "{told:#?}");
    Ok(())
}

/// Reads a repository that came as a file: its commit, the hash over its index, and how many records it has.
fn read_car(
    car: &[u8],
) -> Result<(angel_protocol::permissioned::wire::commit::SignedCommit, angel_protocol::permissioned::SetHash, usize)> {
    let mut file = RepoCarReader::default();
    let (mut commit, mut hash, mut records) = (None, None, 0);
    for mut piece in car.chunks(1000) {
        while let Some(found) = file.read(&mut piece)? {
            match found {
                Found::Commit(found) => commit = Some(found),
                Found::IndexEnd(found) => hash = Some(found),
                Found::Record(_) => records += 1,
                Found::Entry(..) => {}
            }
        }
    }
    file.finish()?;
    Ok((commit.context("a commit")?, hash.context("an index")?, records))
}

#[tokio::test]
async fn credentials_that_do_not_count_are_refused_by_name() -> Result<()> {
    let Hosts { hosts: [first, second, third], _root } = Hosts::start()?;
    let (shop, bob, carol) =
        (first.sign_up("shop").await?, second.sign_up("bob").await?, third.sign_up("carol").await?);
    let space = first.space(&shop, "self", &[&bob, &carol]).await?;
    let other = first.space(&shop, "other", &[&carol]).await?;
    for (host, author) in [(&first, &shop), (&second, &bob)] {
        host.message(author, &space, "hello").await?;
    }
    first.message(&shop, &other, "hello").await?;
    let carols = Reader::admitted(&third, &carol, &first, &space).await?;
    let mut refusals = Vec::new();
    for host in [&first, &second] {
        let author = if host.url == first.url { &shop.did } else { &bob.did };
        ensure!(carols.list(host, author).await?.len() == 1);
        for (case, (status, body)) in carols.misuse(host, author, &carol.did, &other).await? {
            refusals.push((case, status, name(&body).to_owned()));
        }
    }
    let expected = |case: &str| match case {
        "no signature" | "another key" => (401, "BadSpaceSignature"),
        "another audience" => (401, "BadSpaceAudience"),
        "another space" => (400, "InvalidCredential"),
        "as bearer" => (400, "InvalidToken"),
        "expired" => (401, "JwtExpired"),
        "forged" => (401, "BadJwtSignature"),
        _ => (0, "no such case"),
    };
    for (case, status, name) in &refusals {
        assert_eq!((*status, name.as_str()), expected(case), "{case}");
    }
    assert_eq!(refusals.len(), 14);

    // A delegation token counts once.
    let again = Reader::exchanged_twice(&third, &carol, &first, &space).await?;
    assert_eq!((again.0, name(&again.1)), (400, "InvalidDelegationToken"));

    // Taken off the list, Carol reads nothing more within a second, on no host, and gets no new credential.
    let body = json!({ "space": space, "did": carol.did });
    first.answer(first.post("com.atproto.simplespace.removeMember", &body).bearer_auth(&shop.token)).await?;
    for (host, author) in [(&first, &shop.did), (&second, &bob.did)] {
        let revoked = async || {
            let (status, body) = carols.try_list(host, author).await?;
            Ok((status == 401 && name(&body) == "CredentialRevoked").then_some(()))
        };
        let ((), took) = until("the credential counts no more", PATIENCE, revoked).await?;
        println!("revoked on {} after {} ms", host.url, took.as_millis());
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
    let refused = Reader::refused(&third, &carol, &first, &space).await?;
    assert_eq!((refused.0, name(&refused.1)), (400, "SpaceNotFound"));

    // A deleted space is read by nobody but each author their own part.
    let bobs = Reader::admitted(&second, &bob, &first, &space).await?;
    ensure!(bobs.list(&first, &shop.did).await?.len() == 1);
    let body = json!({ "space": space });
    first.answer(first.post("com.atproto.simplespace.deleteSpace", &body).bearer_auth(&shop.token)).await?;
    for (host, author) in [(&first, &shop.did), (&second, &bob.did)] {
        let gone = async || {
            let (_, body) = bobs.try_list(host, author).await?;
            Ok((name(&body) == "SpaceDeleted").then_some(()))
        };
        until("the space is gone", PATIENCE, gone).await?;
    }
    let text = space.to_string();
    let query = [("space", text.as_str()), ("repo", bob.did.as_str())];
    let own = second.get("com.atproto.space.listRecords", &query).bearer_auth(&bob.token);
    ensure!(second.answer(own).await?["records"].as_array().context("a list")?.len() == 1, "still Bob's own");
    Ok(())
}
