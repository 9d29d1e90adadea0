//! A space whose members live on another node: from the answer of their node until a follower has it at the space's, and
//! how fast a long private history of a member is fetched when they join.

use std::path::Path;
use std::time::{Duration, Instant};

use angel_harness::binary::{Daemon, Launch};
use angel_harness::crowd::Tally;
use angel_harness::peers::QUICK;
use angel_harness::processor;
use angel_harness::wait::until;
use anyhow::{Context, Result, ensure};
use reqwest::Client;
use serde_json::{Value, json};

use super::{PATIENCE, Person, Wishes, follow, post, quantiles, say};

/// A person's messages that a space takes within a minute, but for some.
const A_MINUTE: u64 = 50;

/// Records of one write.
const TOGETHER: u64 = 200;

/// How long the history may take to arrive.
const LONG: Duration = Duration::from_secs(300);

/// What a node says when it has fetched a whole repository.
const COPIED: &str = "a repository elsewhere was copied whole";

fn launch(root: &Path, name: &str, settings: &[(&str, &str)]) -> Result<Daemon> {
    Launch::in_dir(&root.join(name))
        .envs(QUICK)
        .env("ANGEL_NODE_NODE_ID", name)
        .env("ANGEL_NETWORK_ID", "spaces-bench")
        .env("ANGEL_IDENTITY_HANDLE_DOMAINS", format!(".{name}.test"))
        .env("ANGEL_HTTP_RATE_LIMITS", "false")
        .envs(settings.iter().copied())
        .start()
}

async fn sign_up(client: &Client, daemon: &Daemon, handle: &str) -> Result<(String, Person)> {
    let wish = json!({ "handle": handle, "email": format!("{handle}@mail.test"), "password": "open sesame" });
    let made = post(client, daemon, None, "com.atproto.server.createAccount", &wish).await?;
    let text = |field: &str| made[field].as_str().context("an account").map(str::to_owned);
    Ok((text("did")?, Person { token: text("accessJwt")? }))
}

async fn get(client: &Client, daemon: &Daemon, token: &str, method: &str, query: &[(&str, &str)]) -> Result<Value> {
    let request = client.get(format!("{}/xrpc/{method}", daemon.fact("httpUrl"))).query(query);
    let answer: Value = request.bearer_auth(token).send().await?.json().await?;
    ensure!(answer["error"].is_null(), "{method}: {answer}");
    Ok(answer)
}

/// The most memory that a process has used, in MiB.
fn peak_mib(daemon: &Daemon) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid().as_raw_nonzero()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("Linux says")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? / 1024)
}

/// Two nodes: one holds the spaces, the other is home to a member.
pub(crate) async fn elsewhere(root: &Path, wishes: &Wishes) -> Result<()> {
    let client = Client::new();
    let host = launch(root, "first", &[])?;
    let (directory, peer) = (host.fact("httpUrl").to_owned(), host.facts()["p2p"][0].as_str().context("it listens")?);
    let join = [("ANGEL_IDENTITY_PLC", directory.as_str()), ("ANGEL_NETWORK_BOOTSTRAP", peer)];
    let home = launch(root, "second", &join)?;
    let (_, owner) = sign_up(&client, &host, "olga.first.test").await?;
    let (did, member) = sign_up(&client, &home, "milo.second.test").await?;
    let parties = Parties { client, host, home, owner, member, did };

    let public = parties.space("square", "public").await?;
    parties.join(&public).await?;
    parties.delivery(&public, wishes.said.min(A_MINUTE)).await?;
    let private = parties.space("office", "private").await?;
    parties.history(&private, wishes.history).await?;
    parties.home.stop()?;
    parties.host.stop()?;
    Ok(())
}

struct Parties {
    client: Client,
    host: Daemon,
    home: Daemon,
    owner: Person,
    member: Person,
    did: String,
}

impl Parties {
    async fn space(&self, slug: &str, visibility: &str) -> Result<String> {
        let record = json!({ "name": slug, "slug": slug, "visibility": visibility, "memberApproval": "disabled",
            "businessIdentity": { "type": "service", "industry": "general" } });
        let (method, token) = ("co.kendev.spaces.createSpace", Some(self.owner.token.as_str()));
        let made = post(&self.client, &self.host, token, method, &json!({ "record": record })).await?;
        Ok(made["uri"].as_str().context("a URI")?.to_owned())
    }

    /// The member joins, by invitation.
    async fn join(&self, space: &str) -> Result<()> {
        let (client, joining) = (&self.client, "co.kendev.spaces.joinSpace");
        let invite = json!({ "space": space, "user": self.did });
        let owner = Some(self.owner.token.as_str());
        let invited = post(client, &self.host, owner, "co.kendev.spaces.inviteMember", &invite).await?;
        let described = get(client, &self.host, "", "com.atproto.server.describeServer", &[]).await?;
        let query = [("aud", described["did"].as_str().context("a DID")?), ("lxm", joining)];
        let auth = get(client, &self.home, &self.member.token, "com.atproto.server.getServiceAuth", &query).await?;
        let token = auth["token"].as_str().context("a token")?;
        post(client, &self.host, Some(token), joining, &json!({ "space": space, "token": invited["token"] })).await?;
        Ok(())
    }

    /// One message after another, from the answer of the member's node until the follower at the space's has it.
    async fn delivery(&self, space: &str, said: u64) -> Result<()> {
        let tally = Tally::default();
        let crowd = follow(&self.host, space, 1, {
            let tally = tally.clone();
            move |_, heard| {
                tally.note(heard);
                Ok(())
            }
        })?;
        // The first one shows that the member's repository is followed.
        let mut took = vec![];
        for number in 0..=said {
            let answered = say(&self.client, &self.home, space, &self.member, number).await?;
            tally.until(usize::try_from(number)? + 1, PATIENCE).await;
            ensure!(crowd.is_there(), "the follower was sent away");
            tally.look(|all| {
                let (found, at) = all.last().context("a message did not arrive")?;
                ensure!(*found == number, "message {found} came in place of {number}");
                took.push(at.saturating_duration_since(answered));
                Ok(())
            })?;
        }
        println!("from answer to delivery, written on another node: {}", quantiles(&mut took[1..]));
        crowd.leave()
    }

    /// A member who has written much before the space knows them: all of it is fetched when they join.
    async fn history(&self, space: &str, history: u64) -> Result<()> {
        let room = space.replace("co.kendev.spaces.space", "space/co.kendev.spaces.room");
        let (message, mut bytes) = ("co.kendev.spaces.message", 0);
        let token = Some(self.member.token.as_str());
        for first in (0..history - 1).step_by(usize::try_from(TOGETHER)?) {
            let writes: Vec<_> = (first..(history - 1).min(first + TOGETHER))
                .map(|number| {
                    let text = format!("history {number} {}", "with some words in it ".repeat(12));
                    let value = json!({ "$type": message, "space": space, "messageType": "user",
                        "content": { "type": "text", "text": text }, "createdAt": "2026-11-21T12:00:00.000Z" });
                    bytes += value.to_string().len();
                    json!({ "$type": "com.atproto.space.applyWrites#create", "collection": message, "value": value })
                })
                .collect();
            let body = json!({ "space": room, "repo": self.did, "writes": writes });
            post(&self.client, &self.home, token, "com.atproto.space.applyWrites", &body).await?;
        }
        self.join(space).await?;
        let before = (peak_mib(&self.host)?, peak_mib(&self.home)?);
        let used = (processor::of(self.host.pid())?, processor::of(self.home.pid())?);
        let began = Instant::now();
        // Whoever writes has something to tell.
        say(&self.client, &self.home, space, &self.member, history).await?;
        let copied = async || Ok(self.host.log().into_iter().find(|line| line.contains(COPIED)));
        let (line, _) = until("the history is fetched", LONG, copied).await?;
        let took = began.elapsed().as_secs_f64();
        let used = (processor::of(self.host.pid())? - used.0, processor::of(self.home.pid())? - used.1);
        let after = (peak_mib(&self.host)?, peak_mib(&self.home)?);
        println!("{line}");
        println!(
            "{history} private records, {:.0} MB of JSON, were fetched and kept within {took:.1} s; processor {:.1} s and {:.1} s, \
             peaks of memory {} -> {} and {} -> {} MiB, of the space's node and the member's",
            bytes as f64 / 1e6,
            used.0.as_secs_f64(),
            used.1.as_secs_f64(),
            before.0,
            after.0,
            before.1,
            after.1,
        );
        Ok(())
    }
}
