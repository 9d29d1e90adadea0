//! What nobody but its hosts may see of a business outlives its machine too: members and roles, a private space with its
//! messages, orders, preferences, passwords. Everything that was answered is there on the node that takes over, and
//! nothing of it lies on a node that holds no copy.

use std::path::Path;
use std::time::Duration;

use angel_harness::binary::verb;
use angel_harness::validators::Validators;
use angel_harness::wait::until;
use anyhow::{Context, Result, ensure};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

const SILENCE: Duration = Duration::from_secs(4);

/// Everything that takes the network a decision, a copy or a failover may take so long on a busy machine.
const LONG: Duration = Duration::from_secs(90);

/// Stands in everything that is private.
const MARK: &str = "Kolibri-4711-private";

/// The primary, its standbys, and the node that only decides and hosts nothing of the business.
const PRIMARY: usize = 0;
const STANDBYS: [usize; 2] = [1, 2];
const OTHER: usize = 3;

struct World {
    validators: Validators,
    client: Client,
}

/// Somebody who logged in.
struct Person {
    did: String,
    token: String,
}

impl World {
    fn start() -> Result<Self> {
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
        Ok(Self { validators, client: Client::new() })
    }

    fn node(&self, index: usize) -> String {
        self.validators.daemon(index).fact("did").to_owned()
    }

    fn angel(&self, index: usize, words: &[&str]) -> Result<Value> {
        let output = verb(&self.validators.dir(index), &[words, &["--json"]].concat())?;
        ensure!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    async fn ask(
        &self,
        index: usize,
        method: Method,
        name: &str,
        person: Option<&Person>,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value)> {
        let url = format!("{}/xrpc/{name}", self.validators.daemon(index).fact("httpUrl"));
        let request = self.client.request(method, url).timeout(Duration::from_secs(20));
        let request = if let Some(person) = person { request.bearer_auth(&person.token) } else { request };
        let request = if let Some(body) = body { request.json(body) } else { request };
        let answer = request.send().await?;
        let status = answer.status();
        Ok((status, serde_json::from_slice(&answer.bytes().await?).unwrap_or_default()))
    }

    async fn post(&self, index: usize, name: &str, person: &Person, body: &Value) -> Result<Value> {
        let (status, answer) = self.ask(index, Method::POST, name, Some(person), Some(body)).await?;
        ensure!(status == StatusCode::OK, "{name}: {status} {answer}");
        Ok(answer)
    }

    async fn get(&self, index: usize, name: &str, person: &Person) -> Result<Value> {
        let (status, answer) = self.ask(index, Method::GET, name, Some(person), None).await?;
        ensure!(status == StatusCode::OK, "{name}: {status} {answer}");
        Ok(answer)
    }

    async fn sign_up(&self, index: usize, name: &str) -> Result<Person> {
        let body = json!({
            "handle": format!("{name}.angel.test"), "email": format!("{name}@example.com"), "password": "correct horse",
        });
        let made = "com.atproto.server.createAccount";
        let (made, _) = until("the account is made", LONG, async || {
            // The identity goes through the ledger, which may only just be deciding its first heights.
            let (status, answer) = self.ask(index, Method::POST, made, None, Some(&body)).await?;
            Ok((status == StatusCode::OK).then_some(answer))
        })
        .await?;
        person(&made)
    }

    async fn log_in(&self, index: usize, identifier: &str, password: &str) -> Result<Person> {
        let body = json!({ "identifier": identifier, "password": password });
        let name = "com.atproto.server.createSession";
        let (status, answer) = self.ask(index, Method::POST, name, None, Some(&body)).await?;
        ensure!(status == StatusCode::OK, "{identifier} logs in: {status} {answer}");
        person(&answer)
    }

    fn place(&self, did: &str) -> Result<()> {
        let [one, two] = STANDBYS.map(|index| self.node(index));
        self.angel(PRIMARY, &["tenant", "place", did, "--node", &one, "--node", &two, "--ack", "replicated"])?;
        Ok(())
    }

    /// How a node reports an account; nothing while it does not know of it.
    async fn report(&self, index: usize, did: &str) -> Result<Option<Value>> {
        let password = std::fs::read_to_string(self.validators.daemon(index).fact("adminPasswordFile"))?;
        let url = format!("{}/admin/replicas", self.validators.daemon(index).fact("httpUrl"));
        let request = self.client.get(&url).basic_auth("admin", Some(password.trim()));
        let answer: Value = request.send().await?.error_for_status()?.json().await?;
        let tenants = answer["tenants"].as_array().cloned().unwrap_or_default();
        Ok(tenants.into_iter().find(|tenant| tenant["did"] == did))
    }

    /// Waits until a node reports an account as `fits` wants it.
    async fn until_reported(
        &self,
        what: &str,
        index: usize,
        did: &str,
        fits: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let (report, _) = until(what, LONG, async || {
            let report = self.report(index, did).await?.unwrap_or_default();
            ensure!(fits(&report), "node {index} reports {report}");
            Ok(Some(report))
        })
        .await
        .with_context(|| self.validators.daemon(index).log().join("\n"))?;
        Ok(report)
    }

    /// Waits until a standby is primary of an account and takes writes, with a copy of which nothing had to be mended.
    async fn until_taken_over(&self, did: &str) -> Result<usize> {
        let waited = until("a standby is primary", LONG, async || {
            let mut reports = Vec::new();
            for index in STANDBYS {
                let report = self.report(index, did).await?.unwrap_or_default();
                if report["role"] == "primary" && report["writable"] == true {
                    return Ok(Some((index, report)));
                }
                reports.push(report.to_string());
            }
            anyhow::bail!("{reports:?}")
        });
        let logs = || STANDBYS.map(|index| self.validators.daemon(index).log().join("\n")).join("\n\n");
        let ((index, report), _) = waited.await.with_context(logs)?;
        ensure!(report["mended"] == 0, "nothing was to be mended: {report}");
        Ok(index)
    }
}

fn person(answer: &Value) -> Result<Person> {
    let text = |name: &str| answer[name].as_str().map(ToOwned::to_owned).context("a session");
    Ok(Person { did: text("did")?, token: text("accessJwt")? })
}

fn order(number: u32) -> Value {
    // One that fits a row of the store, and one that does not.
    let note = MARK.repeat(if number == 1 { 1 } else { 2_000 });
    json!({ "$type": "com.example.order", "number": number, "note": note, "createdAt": "2026-11-21T12:00:00.000Z" })
}

fn preferences(word: &str) -> Value {
    json!({ "preferences": [
        { "$type": "app.bsky.actor.defs#interestsPref", "tags": [MARK, word] },
    ] })
}

/// How often the mark stands in the files under a directory, its log and store among them.
fn marks_under(dir: &Path) -> Result<usize> {
    let mut found = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found += marks_under(&entry.path())?;
        } else if entry.file_type()?.is_file() {
            let bytes = std::fs::read(entry.path()).unwrap_or_default();
            found += bytes.windows(MARK.len()).filter(|window| *window == MARK.as_bytes()).count();
        }
    }
    Ok(found)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_private_outlives_its_machine() -> Result<()> {
    let mut world = World::start()?;
    let manager = world.sign_up(PRIMARY, "mila").await?;
    let made = world.angel(PRIMARY, &["tenant", "create", "--template", "ecommerce-store", "hays"])?;
    let text = |path: &str| made.pointer(path).and_then(Value::as_str).map(ToOwned::to_owned).context("as it says");
    let (tenant, handle, password) = (text("/tenant/did")?, text("/owner/handle")?, text("/owner/password")?);
    let owner = world.log_in(PRIMARY, &handle, &password).await?;

    // What is older than the first copy.
    let invitation = json!({ "tenant": "hays", "role": "tenant_manager", "permissions": ["manage_content"] });
    let invited = world.post(PRIMARY, "co.kendev.tenants.invite", &owner, &invitation).await?;
    let acceptance = json!({ "tenant": tenant, "token": invited["token"] });
    world.post(PRIMARY, "co.kendev.tenants.acceptInvite", &manager, &acceptance).await?;
    let wish = json!({ "tenant": tenant, "record": {
        "name": "Back office", "slug": "back-office", "visibility": "private", "memberApproval": "automatic",
        "businessIdentity": { "type": "service", "industry": "general" },
    } });
    let space = world.post(PRIMARY, "co.kendev.spaces.createSpace", &owner, &wish).await?;
    let space = space["uri"].as_str().context("a space")?.to_owned();
    let say = |text: &str| json!({ "space": space, "content": { "type": "text", "text": format!("{MARK} {text}") } });
    world.post(PRIMARY, "co.kendev.spaces.sendMessage", &owner, &say("before")).await?;
    world.post(PRIMARY, "app.bsky.actor.putPreferences", &owner, &preferences("before")).await?;
    let list = json!({ "$type": "com.atproto.simplespace.defs#memberListPolicy" });
    let orders = json!({ "spaceType": "com.example.orders", "skey": "self", "readPolicy": list, "writePolicy": list,
        "appAccess": { "$type": "com.atproto.simplespace.defs#open" } });
    let orders = world.post(PRIMARY, "com.atproto.simplespace.createSpace", &owner, &orders).await?;
    let orders = orders["uri"].as_str().context("a space")?.to_owned();
    let take = |number: u32| {
        json!({ "space": orders, "repo": owner.did, "collection": "com.example.order", "rkey": format!("n{number}"),
            "record": order(number) })
    };
    world.post(PRIMARY, "com.atproto.space.createRecord", &owner, &take(1)).await?;

    for did in [&tenant, &owner.did] {
        world.place(did)?;
        for index in STANDBYS {
            world.until_reported("the copy is whole", index, did, |report| report["complete"].is_u64()).await?;
        }
        world.until_reported("the primary is confirmed", PRIMARY, did, |report| report["writable"] == true).await?;
    }

    // What is answered from here on has a standby, and the machine goes the moment that the last of it is answered.
    world.post(PRIMARY, "com.atproto.space.createRecord", &owner, &take(2)).await?;
    world.post(PRIMARY, "co.kendev.spaces.sendMessage", &owner, &say("after")).await?;
    let app = json!({ "name": "till" });
    let app = world.post(PRIMARY, "com.atproto.server.createAppPassword", &owner, &app).await?;
    let promotion = json!({ "tenant": "hays", "user": manager.did, "role": "tenant_admin" });
    world.post(PRIMARY, "co.kendev.tenants.setRole", &owner, &promotion).await?;
    world.post(PRIMARY, "app.bsky.actor.putPreferences", &owner, &preferences("after")).await?;
    world.validators.kill(PRIMARY)?;

    // Two accounts, each with a primary of its own: the business, and the person who owns it. Usually one node takes both
    // over. Where not, the business follows its owner, as an operator would have it.
    let new = world.until_taken_over(&owner.did).await?;
    if world.until_taken_over(&tenant).await? != new {
        world.angel(new, &["tenant", "promote", &tenant])?;
        world
            .until_reported("the business is with its owner", new, &tenant, |report| report["writable"] == true)
            .await?;
    }
    let owner = world.log_in(new, &handle, &password).await?;
    world.log_in(new, &handle, app["password"].as_str().context("an app password")?).await?;
    let kept = world.get(new, "app.bsky.actor.getPreferences", &owner).await?;
    ensure!(kept == preferences("after"), "{kept}");
    let members = world.get(new, "co.kendev.tenants.listMemberships?tenant=hays", &owner).await?;
    let role = members["memberships"].as_array().into_iter().flatten().find_map(|it| {
        (it["value"]["user"] == manager.did.as_str()).then(|| it["value"]["role"].as_str().map(ToOwned::to_owned))
    });
    ensure!(role.flatten().as_deref() == Some("tenant_admin"), "{members}");
    let said = world.get(new, &format!("co.kendev.spaces.listMessages?space={space}"), &owner).await?;
    let said = said.to_string();
    ensure!(said.contains(&format!("{MARK} before")) && said.contains(&format!("{MARK} after")), "{said}");
    for number in [1, 2] {
        let path = format!(
            "com.atproto.space.getRecord?space={orders}&repo={}&collection=com.example.order&rkey=n{number}",
            owner.did
        );
        let found = world.get(new, &path, &owner).await?;
        ensure!(found["value"] == order(number), "order {number}: {}", found["value"]["number"]);
    }

    // It goes on: the business takes orders as before, and the other standby has each that is answered.
    world.post(new, "com.atproto.space.createRecord", &owner, &take(3)).await?;
    let seen = format!("com.atproto.space.listRecords?space={orders}&repo={}&collection=com.example.order", owner.did);
    let seen = world.get(new, &seen, &owner).await?;
    ensure!(seen["records"].as_array().map(Vec::len) == Some(3), "{} orders", seen["records"]);

    // Whoever does not host the business has nothing of it: not in its store, not in its log.
    let found = marks_under(&world.validators.dir(OTHER))?;
    ensure!(found == 0, "node {OTHER} has the mark {found} times");
    ensure!(marks_under(&world.validators.dir(new))? > 0, "the search finds what is there");
    Ok(())
}
