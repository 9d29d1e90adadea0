//! A tenant outlives its machine: copies, a primary that is killed while it is written to, a standby that takes over with
//! everything that was acknowledged, and the old primary that comes back and gives way. Real daemons, real keys, one
//! ledger that four validators decide; only the silence after which a primary counts as gone is shorter than usual.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use angel_harness::binary::{PATIENCE, verb};
use angel_harness::validators::Validators;
use angel_harness::wait::until;
use anyhow::{Context, Result, ensure};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Mutex;

const SILENCE: Duration = Duration::from_secs(4);
const PASSWORD: &str = "correct horse battery staple";
const COLLECTION: &str = "com.example.note";

/// Everything that takes the network a decision, a copy or a failover may take so long on a busy machine.
const LONG: Duration = Duration::from_secs(90);

pub(super) struct World {
    validators: Validators,
    client: Client,
    pub(super) did: String,
}

impl World {
    /// Four nodes with one ledger, and a tenant on node 0 with copies on 1 and 2. Node 3 only decides, so that the
    /// ledger goes on without any one of the others.
    pub(super) async fn start() -> Result<Self> {
        let mut validators = Validators::found(4, 1)?;
        let genesis = validators.dir(0).parent().context("a directory of all")?.join("genesis.json");
        let mut content: Value = serde_json::from_slice(&std::fs::read(&genesis)?)?;
        content["parameters"]["silence"] = json!(SILENCE.as_millis() as u64);
        std::fs::write(&genesis, serde_json::to_vec(&content)?)?;
        for (name, value) in [
            ("ANGEL_REPLICAS_ACCEPT_TENANTS", "network"),
            ("ANGEL_IDENTITY_HANDLE_DOMAINS", ".angel.test"),
            ("ANGEL_ACCOUNTS_INVITES_REQUIRED", "false"),
            ("ANGEL_HTTP_RATE_LIMITS", "false"),
        ] {
            validators.set(name, value);
        }
        for index in 0..4 {
            validators.start(index)?;
        }
        let client = Client::new();
        let url = validators.daemon(0).fact("httpUrl").to_owned();
        let body = json!({
            "handle": "shop.angel.test", "email": "shop@example.com", "password": PASSWORD,
        });
        let (made, _) = until("the account is made", LONG, async || {
            let answer = client.post(format!("{url}/xrpc/com.atproto.server.createAccount")).json(&body).send().await?;
            let (status, body) = (answer.status(), answer.json::<Value>().await?);
            // The identity goes through the ledger, which may only just be deciding its first heights.
            Ok((status == StatusCode::OK).then_some(body))
        })
        .await?;
        let did = made["did"].as_str().context("a DID")?.to_owned();
        Ok(Self { validators, client, did })
    }

    fn url(&self, index: usize, path: &str) -> String {
        format!("{}{path}", self.validators.daemon(index).fact("httpUrl"))
    }

    fn node(&self, index: usize) -> String {
        self.validators.daemon(index).fact("did").to_owned()
    }

    pub(super) fn angel(&self, index: usize, words: &[&str]) -> Result<Value> {
        let output = verb(&self.validators.dir(index), &[words, &["--json"]].concat())?;
        ensure!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    pub(super) fn place(&self, ack: &str) -> Result<Value> {
        let (one, two) = (self.node(1), self.node(2));
        self.angel(0, &["tenant", "place", &self.did, "--node", &one, "--node", &two, "--ack", ack])
    }

    /// How a node reports the tenant; nothing while it does not know of it.
    async fn report(&self, index: usize) -> Result<Option<Value>> {
        let password = std::fs::read_to_string(self.validators.daemon(index).fact("adminPasswordFile"))?;
        let request = self.client.get(self.url(index, "/admin/replicas")).basic_auth("admin", Some(password.trim()));
        let answer: Value = request.send().await?.error_for_status()?.json().await?;
        let tenants = answer["tenants"].as_array().cloned().unwrap_or_default();
        Ok(tenants.into_iter().find(|tenant| tenant["did"] == self.did))
    }

    /// Waits until a node reports the tenant as `fits` wants it.
    pub(super) async fn until_reported(
        &self,
        what: &str,
        index: usize,
        fits: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let (report, _) = until(what, LONG, async || Ok(self.report(index).await?.filter(&fits))).await?;
        Ok(report)
    }

    /// Waits until all of `nodes` have the same revision and root, and nothing is on its way.
    async fn until_equal(&self, nodes: &[usize]) -> Result<String> {
        let (root, _) = until("all copies are equal", LONG, async || {
            let mut found = BTreeSet::new();
            for index in nodes {
                let report = self.report(*index).await?.unwrap_or_default();
                found.insert((report["rev"].to_string(), report["root"].to_string(), report["stopped"].is_null()));
            }
            let first = found.first().cloned().unwrap_or_default();
            Ok((found.len() == 1 && first.1 != "null" && first.2).then_some(first.1))
        })
        .await?;
        Ok(root)
    }

    /// Waits until one of the standbys is primary and takes writes.
    async fn until_taken_over(&self) -> Result<usize> {
        let (new, _) = until("a standby is primary", LONG, async || {
            for index in [1, 2] {
                let report = self.report(index).await?.unwrap_or_default();
                if report["role"] == "primary" && report["writable"] == true {
                    return Ok(Some(index));
                }
            }
            Ok(None)
        })
        .await?;
        Ok(new)
    }

    async fn log_in(&self, index: usize) -> Result<String> {
        let body = json!({ "identifier": self.did, "password": PASSWORD });
        let request = self.client.post(self.url(index, "/xrpc/com.atproto.server.createSession")).json(&body);
        let session: Value = request.send().await?.error_for_status()?.json().await?;
        Ok(session["accessJwt"].as_str().context("a token")?.to_owned())
    }

    async fn has(&self, index: usize, rkey: &str) -> Result<bool> {
        let path = format!("/xrpc/com.atproto.repo.getRecord?repo={}&collection={COLLECTION}&rkey={rkey}", self.did);
        Ok(self.client.get(self.url(index, &path)).send().await?.status() == StatusCode::OK)
    }

    /// Where the identity leads, as a node tells.
    async fn endpoint(&self, index: usize) -> Result<Option<String>> {
        let answer = self.client.get(self.url(index, &format!("/plc/{}", self.did))).send().await?;
        let document: Value = answer.json().await?;
        Ok(document.pointer("/service/0/serviceEndpoint").and_then(Value::as_str).map(ToOwned::to_owned))
    }
}

async fn write(client: &Client, url: &str, did: &str, token: &str, rkey: &str) -> Result<(StatusCode, Value)> {
    let body = json!({
        "repo": did, "collection": COLLECTION, "rkey": rkey,
        "record": { "$type": COLLECTION, "text": format!("note {rkey}") },
    });
    let url = format!("{url}/xrpc/com.atproto.repo.createRecord");
    let answer = client.post(url).bearer_auth(token).json(&body).timeout(Duration::from_secs(10)).send().await?;
    Ok((answer.status(), answer.json().await.unwrap_or_default()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_outlives_its_machine() -> Result<()> {
    let mut world = World::start().await?;
    world.place("replicated")?;
    for index in [1, 2] {
        world.until_reported("the copy is whole", index, |report| report["complete"].is_u64()).await?;
    }
    world.until_reported("the primary is confirmed", 0, |report| report["writable"] == true).await?;

    // A client writes without pause; what is answered with success is on a standby's disk.
    let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
    let token = world.log_in(0).await?;
    let writer = {
        let (client, did, url) = (world.client.clone(), world.did.clone(), world.url(0, ""));
        let acknowledged = Arc::clone(&acknowledged);
        tokio::spawn(async move {
            for number in 0.. {
                let rkey = format!("before-{number}");
                match write(&client, &url, &did, &token, &rkey).await {
                    Ok((StatusCode::OK, _)) => drop(acknowledged.lock().await.insert(rkey)),
                    Ok((status, body)) => return Some((status, body)),
                    Err(_) => return None,
                }
            }
            None
        })
    };
    until("writes are acknowledged", LONG, async || Ok((acknowledged.lock().await.len() >= 40).then_some(()))).await?;
    world.validators.kill(0)?;
    let killed = Instant::now();
    let ended = writer.await?;
    ensure!(ended.is_none(), "the writer was refused before the primary was gone: {ended:?}");

    // One of the standbys takes over; the identity leads to it, and it takes writes.
    let new = world.until_taken_over().await?;
    let token = world.log_in(new).await?;
    let (status, body) = write(&world.client, &world.url(new, ""), &world.did, &token, "after-0").await?;
    ensure!(status == StatusCode::OK, "the first write after the failover: {status} {body}");
    println!("{} ms from the kill to the first accepted write", killed.elapsed().as_millis());
    let expected = world.validators.daemon(new).fact("httpUrl").replace("127.0.0.1", "localhost");
    for index in [1, 2, 3] {
        ensure!(world.endpoint(index).await?.as_deref() == Some(&expected), "the identity leads to the new host");
    }
    let acknowledged = acknowledged.lock().await.clone();
    for rkey in &acknowledged {
        ensure!(world.has(new, rkey).await?, "{rkey} was acknowledged and is lost");
    }
    println!("{} acknowledged writes, none lost", acknowledged.len());

    // The old primary comes back, gives way and becomes a copy like the others.
    world.validators.start(0)?;
    world.until_reported("the old primary is a standby", 0, |report| report["role"] == "standby").await?;
    let (status, body) = write(&world.client, &world.url(new, ""), &world.did, &token, "after-1").await?;
    ensure!(status == StatusCode::OK, "a write with the old primary back: {status} {body}");
    world.until_equal(&[0, 1, 2]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_nobody_confirms_refuses_writes() -> Result<()> {
    let mut world = World::start().await?;
    world.place("local")?;
    world.until_reported("the primary is confirmed", 0, |report| report["writable"] == true).await?;
    let token = world.log_in(0).await?;
    let (status, body) = write(&world.client, &world.url(0, ""), &world.did, &token, "one").await?;
    ensure!(status == StatusCode::OK, "{status} {body}");
    // It cannot know whether the two have replaced it: it must not go on.
    world.validators.kill(1)?;
    world.validators.kill(2)?;
    world.until_reported("the lease has ended", 0, |report| report["writable"] == false).await?;
    let (status, body) = write(&world.client, &world.url(0, ""), &world.did, &token, "two").await?;
    ensure!(status == StatusCode::SERVICE_UNAVAILABLE && body["error"] == "PrimaryUnconfirmed", "{status} {body}");
    ensure!(world.has(0, "one").await?, "reads go on");
    ensure!(PATIENCE > SILENCE, "the test would not tell otherwise");
    Ok(())
}
