//! A tenant moves while a client writes about a hundred records a second to it and reads all the while; then back, within
//! the grace. What was acknowledged is there, reads never fail, writes wait but for a moment. And daemons of either side
//! are killed in the middle: the move goes on, or is undone.

mod faults;
mod rebalance;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use angel_harness::binary::verb;
use angel_harness::validators::Validators;
use angel_harness::wait::until;
use anyhow::{Context, Result, ensure};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

const PASSWORD: &str = "correct horse battery staple";
const COLLECTION: &str = "com.example.note";

/// Everything that takes the network a decision or a copy may take so long on a busy machine.
const LONG: Duration = Duration::from_secs(120);

/// One write a hundredth of a second, as far as the machine keeps up.
const WRITE_EVERY: Duration = Duration::from_millis(10);

struct World {
    validators: Validators,
    client: Client,
    did: String,
    token: String,
}

impl World {
    /// Four nodes with one ledger; node 3 only decides. The tenant is made on node 0 and has no copies.
    async fn start() -> Result<Self> {
        let mut validators = Validators::found(4, 1)?;
        for (name, value) in [
            ("ANGEL_REPLICAS_ACCEPT_TENANTS", "network"),
            ("ANGEL_IDENTITY_HANDLE_DOMAINS", ".angel.test"),
            ("ANGEL_ACCOUNTS_INVITES_REQUIRED", "false"),
            ("ANGEL_HTTP_RATE_LIMITS", "false"),
        ] {
            validators.set(name, value);
        }
        // One stands elsewhere; each keeps its address when it is started anew, as machines do.
        let genesis = validators.dir(0).parent().context("a directory of all")?.join("genesis.json");
        let mut content: Value = serde_json::from_slice(&std::fs::read(&genesis)?)?;
        content["nodes"][2]["region"] = json!("us-east");
        std::fs::write(&genesis, serde_json::to_vec(&content)?)?;
        validators.set_for(2, "ANGEL_NODE_REGION", "us-east");
        for index in 0..4 {
            let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
            validators.set_for(index, "ANGEL_HTTP_LISTEN", &address.to_string());
            validators.start(index)?;
        }
        let client = Client::new();
        let url = validators.daemon(0).fact("httpUrl").to_owned();
        let body = json!({ "handle": "shop.angel.test", "email": "shop@example.com", "password": PASSWORD });
        let (made, _) = until("the account is made", LONG, async || {
            let answer = client.post(format!("{url}/xrpc/com.atproto.server.createAccount")).json(&body).send().await?;
            let (status, body) = (answer.status(), answer.json::<Value>().await?);
            // The identity goes through the ledger, which may only just be deciding its first heights.
            Ok((status == StatusCode::OK).then_some(body))
        })
        .await?;
        let did = made["did"].as_str().context("a DID")?.to_owned();
        let token = made["accessJwt"].as_str().context("a token")?.to_owned();
        Ok(Self { validators, client, did, token })
    }

    fn url(&self, index: usize) -> String {
        self.validators.daemon(index).fact("httpUrl").to_owned()
    }

    fn node(&self, index: usize) -> String {
        self.validators.daemon(index).fact("did").to_owned()
    }

    fn password(&self, index: usize) -> Result<String> {
        Ok(std::fs::read_to_string(self.validators.daemon(index).fact("adminPasswordFile"))?.trim().to_owned())
    }

    async fn ask(&self, index: usize, method: &str, body: Option<&Value>) -> Result<(StatusCode, Value)> {
        let url = format!("{}{method}", self.url(index));
        let request = if let Some(body) = body { self.client.post(url).json(body) } else { self.client.get(url) };
        let answer = request.basic_auth("admin", Some(self.password(index)?)).send().await?;
        Ok((answer.status(), answer.json().await.unwrap_or_default()))
    }

    /// Begins a move from node `from` to node `to`, and answers its id.
    async fn begin(&self, from: usize, to: usize) -> Result<String> {
        let wish = json!({ "tenant": self.did, "toNode": self.node(to) });
        let (status, view) = self.ask(from, "/api/federation/migrate-tenant", Some(&wish)).await?;
        ensure!(status == StatusCode::OK, "{status} {view}");
        Ok(view["id"].as_str().context("an id")?.to_owned())
    }

    async fn view(&self, index: usize, id: &str) -> Result<Value> {
        Ok(self.ask(index, &format!("/api/federation/migrate-tenant/{id}"), None).await?.1)
    }

    /// Waits until a move at node `index` is in one of these phases, and answers what is known of it.
    async fn until_in(&self, index: usize, id: &str, phases: &[&str]) -> Result<Value> {
        let what = format!("the move is in {phases:?}");
        let mut last = Value::Null;
        let waited = until(&what, LONG, async || {
            last = self.view(index, id).await?;
            Ok(last["phase"].as_str().is_some_and(|phase| phases.contains(&phase)).then(|| last.clone()))
        })
        .await;
        waited.map(|(view, _)| view).with_context(|| format!("{last:#}"))
    }

    async fn report(&self, index: usize) -> Result<Value> {
        let (_, answer) = self.ask(index, "/admin/replicas", None).await?;
        let tenants = answer["tenants"].as_array().cloned().unwrap_or_default();
        Ok(tenants.into_iter().find(|tenant| tenant["did"] == self.did).unwrap_or_default())
    }

    async fn until_role(&self, index: usize, role: &str) -> Result<()> {
        until(&format!("node {index} is {role}"), LONG, async || {
            let report = self.report(index).await?;
            Ok((report["role"] == role && (role != "primary" || report["writable"] == true)).then_some(()))
        })
        .await
        .map(drop)
    }

    /// Waits until both nodes have the same revision and root.
    async fn until_equal(&self, nodes: [usize; 2]) -> Result<()> {
        until("both copies are equal", LONG, async || {
            let [one, two] = [self.report(nodes[0]).await?, self.report(nodes[1]).await?];
            let same = ["rev", "root"].iter().all(|name| one[*name].is_string() && one[*name] == two[*name]);
            Ok(same.then_some(()))
        })
        .await
        .map(drop)
    }

    fn clients(&self, index: usize, prefix: &'static str) -> Clients {
        Clients::start(&self.client, self.url(index), self.did.clone(), self.token.clone(), prefix)
    }

    /// Whether everything that was acknowledged is served by node `index`, each as it was written.
    async fn has_all(&self, index: usize, written: &BTreeMap<String, String>) -> Result<()> {
        let mut found = BTreeMap::new();
        let mut cursor = String::new();
        loop {
            let url = format!(
                "{}/xrpc/com.atproto.repo.listRecords?repo={}&collection={COLLECTION}&limit=100{cursor}",
                self.url(index),
                self.did
            );
            let page: Value = self.client.get(url).send().await?.error_for_status()?.json().await?;
            for record in page["records"].as_array().into_iter().flatten() {
                let uri = record["uri"].as_str().context("a URI")?;
                let cid = record["cid"].as_str().context("a CID")?;
                found.insert(uri.rsplit('/').next().unwrap_or_default().to_owned(), cid.to_owned());
            }
            let Some(next) = page["cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        for (rkey, cid) in written {
            ensure!(found.get(rkey) == Some(cid), "{rkey} was acknowledged as {cid} and is {:?}", found.get(rkey));
        }
        Ok(())
    }
}

/// A writer and a reader at work at one address.
struct Clients {
    stop: Arc<AtomicBool>,
    written: Arc<Mutex<BTreeMap<String, String>>>,
    reads: Arc<AtomicUsize>,
    writer: JoinHandle<Result<Written>>,
    reader: JoinHandle<Result<Duration>>,
}

/// What a writer went through.
struct Written {
    longest: Duration,
    refused: Vec<(StatusCode, Value)>,
}

impl Clients {
    fn start(client: &Client, url: String, did: String, token: String, prefix: &'static str) -> Self {
        let (stop, reads) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let written: Arc<Mutex<BTreeMap<String, String>>> = Arc::default();
        let writer = {
            let (client, url, did) = (client.clone(), url.clone(), did.clone());
            let (stop, written) = (Arc::clone(&stop), Arc::clone(&written));
            tokio::spawn(async move {
                let mut tick = tokio::time::interval(WRITE_EVERY);
                tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
                let mut all = Written { longest: Duration::ZERO, refused: Vec::new() };
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    tick.tick().await;
                    let rkey = format!("{prefix}-{number}");
                    let body = json!({
                        "repo": did, "collection": COLLECTION, "rkey": rkey,
                        "record": { "$type": COLLECTION, "text": format!("note {rkey}") },
                    });
                    let began = Instant::now();
                    let request = client.post(format!("{url}/xrpc/com.atproto.repo.createRecord"));
                    let answer = request.bearer_auth(&token).json(&body).send().await?;
                    let (status, body) = (answer.status(), answer.json::<Value>().await.unwrap_or_default());
                    all.longest = all.longest.max(began.elapsed());
                    if status == StatusCode::OK {
                        let cid = body["cid"].as_str().context("a CID")?.to_owned();
                        written.lock().await.insert(rkey, cid);
                    } else {
                        all.refused.push((status, body));
                    }
                }
                Ok(all)
            })
        };
        let reader = {
            let (client, stop) = (client.clone(), Arc::clone(&stop));
            let (reads, written) = (Arc::clone(&reads), Arc::clone(&written));
            tokio::spawn(async move {
                let mut longest = Duration::ZERO;
                let mut tick = tokio::time::interval(WRITE_EVERY);
                while !stop.load(Ordering::Relaxed) {
                    let newest = written.lock().await.keys().next_back().cloned();
                    let Some(rkey) = newest else {
                        tokio::task::yield_now().await;
                        continue;
                    };
                    let began = Instant::now();
                    let url =
                        format!("{url}/xrpc/com.atproto.repo.getRecord?repo={did}&collection={COLLECTION}&rkey={rkey}");
                    let answer = client.get(url).send().await?;
                    let (status, body) = (answer.status(), answer.text().await?);
                    ensure!(status == StatusCode::OK, "a read of {rkey} failed: {status} {body}");
                    longest = longest.max(began.elapsed());
                    reads.fetch_add(1, Ordering::Relaxed);
                    tick.tick().await;
                }
                Ok(longest)
            })
        };
        Self { stop, written, reads, writer, reader }
    }

    async fn until_written(&self, count: usize) -> Result<()> {
        let before = self.written.lock().await.len();
        until("writes are acknowledged", LONG, async || {
            ensure!(!self.reader.is_finished(), "the reader has ended");
            Ok((self.written.lock().await.len() >= before + count).then_some(()))
        })
        .await
        .map(drop)
    }

    /// Ends both: what was written, the longest wait for a write and for a read, and what was refused.
    async fn stop(self) -> Result<(BTreeMap<String, String>, Duration, Duration, Vec<(StatusCode, Value)>)> {
        self.stop.store(true, Ordering::Relaxed);
        let Written { longest, refused } = self.writer.await??;
        let longest_read = self.reader.await??;
        ensure!(self.reads.load(Ordering::Relaxed) > 10, "the reader was at work");
        Ok((std::mem::take(&mut *self.written.lock().await), longest, longest_read, refused))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_moves_under_load_and_back_within_the_grace() -> Result<()> {
    let world = World::start().await?;
    let output = verb(
        &world.validators.dir(0),
        &["tenant", "migrate", "shop.angel.test", "--to", &world.node(1), "--dry-run", "--json"],
    )?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    ensure!(world.report(0).await?.is_null(), "a dry run changes nothing");

    let clients = world.clients(0, "there");
    clients.until_written(100).await?;
    let id = world.begin(0, 1).await?;
    let again = json!({ "tenant": world.did, "toNode": world.node(2) });
    let (status, refusal) = world.ask(0, "/api/federation/migrate-tenant", Some(&again)).await?;
    ensure!(status == StatusCode::CONFLICT && refusal["error"] == "MigrationInProgress", "{status} {refusal}");
    let view = world.until_in(0, &id, &["grace", "ended"]).await?;
    ensure!(view["status"] == "completed", "{view:#}");
    ensure!(view["sourceRoot"].is_string() && view["sourceRoot"] == view["targetRoot"], "{view:#}");
    // The client that knows nothing of it goes on at the old address.
    clients.until_written(100).await?;
    let (there, longest, longest_read, refused) = clients.stop().await?;
    // On a machine with too much to do a new backup may confirm late; nothing is written then, and it is said.
    let named = |(status, body): &(StatusCode, Value)| {
        *status == StatusCode::SERVICE_UNAVAILABLE && body["error"] == "PrimaryUnconfirmed"
    };
    ensure!(refused.iter().all(named), "writes are refused for nothing else: {refused:?}");
    println!(
        "moved under load: writes waited {} ms at the freeze, the longest write took {longest:?}, the longest read {longest_read:?}, {} acknowledged",
        view["writesWaitedMs"],
        there.len()
    );
    world.until_role(1, "primary").await?;
    world.has_all(1, &there).await?;
    let expected = world.url(1).replace("127.0.0.1", "localhost");
    let document = world.validators.get(3, &format!("/plc/{}", world.did)).await?;
    ensure!(document.pointer("/service/0/serviceEndpoint") == Some(&json!(expected)), "the identity leads there");

    // Back, with all that was written at the target.
    world.until_equal([0, 1]).await?;
    let output = verb(&world.validators.dir(0), &["tenant", "rollback", &world.did, "--json"])?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    world.until_role(0, "primary").await?;
    world.has_all(0, &there).await?;
    let ended = world.until_in(0, &id, &["ended"]).await?;
    ensure!(ended["status"] == "rolled_back", "{ended:#}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_moved_is_refused_by_name() -> Result<()> {
    let world = World::start().await?;
    let refused = async |to: &str, status: u16, name: &str| {
        let wish = json!({ "tenant": "shop.angel.test", "toNode": to });
        let (found, refusal) = world.ask(0, "/xrpc/co.kendev.network.migrateTenant", Some(&wish)).await?;
        ensure!(found.as_u16() == status && refusal["error"] == name, "{found} {refusal}");
        Ok(())
    };
    refused("did:key:z6MkpTHR8VNsBxYAAWHut2Geadd9jSwuBV8xRoAnwWsdvktH", 507, "NoRoom").await?;
    refused(&world.node(0), 409, "NotPrimary").await?;
    // An owner may, a stranger may not, nor may an app.
    let url = format!("{}/xrpc/co.kendev.network.migrateTenant", world.url(0));
    let wish = json!({ "tenant": world.did, "toNode": world.node(1), "dryRun": true });
    let owner = world.client.post(&url).bearer_auth(&world.token).json(&wish).send().await?;
    ensure!(owner.status() == StatusCode::OK, "{}", owner.text().await?);
    let nobody = world.client.post(&url).json(&wish).send().await?;
    ensure!(nobody.status() == StatusCode::UNAUTHORIZED, "{}", nobody.text().await?);
    let unknown = json!({ "tenant": "nobody.angel.test", "toNode": world.node(1) });
    let (status, refusal) = world.ask(0, "/api/federation/migrate-tenant", Some(&unknown)).await?;
    ensure!(status == StatusCode::NOT_FOUND && refusal["error"] == "UnknownTenant", "{status} {refusal}");
    // A tenant that is bound to Europe does not go to America.
    let place = ["tenant", "place", &world.did, "--strategy", "single-node", "--residency", "eu", "--json"];
    let output = verb(&world.validators.dir(0), &place)?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    refused(&world.node(2), 412, "ResidencyViolation").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_goes_on_or_is_undone_when_either_side_is_killed() -> Result<()> {
    let mut world = World::start().await?;
    let clients = world.clients(0, "calm");
    clients.until_written(200).await?;
    let (written, ..) = clients.stop().await?;
    // The target is killed while it copies or follows, the source right after: both come back, and it goes on.
    let id = world.begin(0, 1).await?;
    let early = ["snapshot", "copy", "catch_up", "freeze", "verify", "cutover", "grace"];
    let at = world.until_in(0, &id, &early).await?["phase"].clone();
    world.validators.kill(1)?;
    world.validators.start(1)?;
    let then = world.view(0, &id).await?["phase"].clone();
    world.validators.kill(0)?;
    world.validators.start(0)?;
    let view = world.until_in(0, &id, &["grace", "ended"]).await?;
    println!("killed the target in {at}, the source in {then}: {}", view["status"]);
    let home = usize::from(view["status"] == "completed");
    world.until_role(home, "primary").await?;
    world.has_all(home, &written).await?;
    if home == 0 {
        return Ok(());
    }
    // And the way back, with the node that drives it killed at once.
    world.until_role(0, "standby").await?;
    let (status, back) =
        world.ask(1, "/xrpc/co.kendev.network.rollBackMigration", Some(&json!({ "tenant": world.did }))).await?;
    ensure!(status == StatusCode::OK, "{status} {back}");
    let id = back["id"].as_str().context("an id")?.to_owned();
    let then = world.until_in(1, &id, &["catch_up", "freeze", "verify", "cutover", "cleanup", "ended"]).await?;
    world.validators.kill(1)?;
    world.validators.start(1)?;
    let view = world.until_in(1, &id, &["ended"]).await?;
    println!("killed the driver of the way back in {}: {}", then["phase"], view["status"]);
    let home = usize::from(view["status"] != "completed");
    world.until_role(home, "primary").await?;
    world.has_all(home, &written).await?;
    Ok(())
}
