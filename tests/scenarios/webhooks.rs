//! A webhook outlives the machine that called: what its receiver has not taken, the node that takes over tells, with the same id
//! and signed with the secret that was told once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use angel_harness::tenancy::{Session, Tenancy};
use angel_protocol::time::Timestamp;
use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// How long a call may take to come: a failover lies between two of them.
const LONG: Duration = Duration::from_secs(180);

const PRIMARY: usize = 0;
const STANDBYS: [usize; 2] = [1, 2];

/// A call as it arrived.
#[derive(Debug, Default)]
struct Call {
    id: String,
    at: u64,
    signature: String,
    body: Vec<u8>,
}

impl Call {
    fn is_signed_with(&self, secret: &str) -> Result<bool> {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").context("a secret")?)?;
        let at = Timestamp::from_millis(self.at * 1000);
        Ok(angel_protocol::webhooks::sign(&key, &self.id, at, &self.body) == self.signature)
    }
}

/// Somebody who is called, and answers with a status.
struct Receiver {
    url: String,
    status: Arc<AtomicU16>,
    calls: mpsc::UnboundedReceiver<Call>,
}

impl Receiver {
    async fn new() -> Result<Self> {
        let (sender, calls) = mpsc::unbounded_channel();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/hook", listener.local_addr()?);
        let status = Arc::new(AtomicU16::new(200));
        let answers = Arc::clone(&status);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (sender, status) = (sender.clone(), Arc::clone(&answers));
                tokio::spawn(async move {
                    let mut stream = BufReader::new(stream);
                    while let Ok(Some(call)) = read(&mut stream).await {
                        let line =
                            format!("HTTP/1.1 {} said\r\ncontent-length: 0\r\n\r\n", status.load(Ordering::SeqCst));
                        // Nobody listens any more once the test has ended.
                        let _ = sender.send(call);
                        if stream.write_all(line.as_bytes()).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Ok(Self { url, status, calls })
    }

    async fn call(&mut self) -> Result<Call> {
        let call = tokio::time::timeout(LONG, self.calls.recv()).await.context("a call in time")?;
        call.context("the receiver lives")
    }
}

/// A request with a body of a known length; `None` when there are no more.
async fn read(stream: &mut BufReader<TcpStream>) -> Result<Option<Call>> {
    let (mut call, mut length, mut line) = (Call::default(), 0, String::new());
    if stream.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    loop {
        line.clear();
        stream.read_line(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse()?,
            "webhook-id" => call.id = value.to_owned(),
            "webhook-timestamp" => call.at = value.parse()?,
            "webhook-signature" => call.signature = value.to_owned(),
            _ => {}
        }
    }
    call.body.resize(length, 0);
    stream.read_exact(&mut call.body).await?;
    Ok(Some(call))
}

async fn post(tenancy: &Tenancy, index: usize, name: &str, person: &Session, body: &Value) -> Result<Value> {
    let (status, answer) = tenancy.caller(index).call(name, Some(&person.token), body).await?;
    ensure!(status == 200, "{name}: {status} {answer}");
    Ok(answer)
}

async fn lead(tenancy: &Tenancy, index: usize, owner: &Session, name: &str) -> Result<()> {
    let record = json!({ "firstName": name, "lastName": "Love", "email": format!("{name}@mail.example"),
        "source": "website", "priority": "high" });
    post(tenancy, index, "co.kendev.business.createLead", owner, &json!({ "tenant": "hays", "record": record }))
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_goes_on_at_the_node_that_takes_over() -> Result<()> {
    let mut world = Tenancy::on_loopback().await?;
    let plan = ["tenant", "create", "--template", "ecommerce-store", "--plan", "professional", "hays"];
    let made = world.angel(PRIMARY, &plan)?;
    let text = |path: &str| made.pointer(path).and_then(Value::as_str).map(ToOwned::to_owned).context("as it says");
    let (tenant, handle, password) = (text("/tenant/did")?, text("/owner/handle")?, text("/owner/password")?);
    let owner = world.caller(PRIMARY).log_in_as(&handle, &password).await?;
    for did in [&tenant, &owner.did] {
        let [one, two] = STANDBYS.map(|index| world.node(index));
        world.angel(PRIMARY, &["tenant", "place", did, "--node", &one, "--node", &two, "--ack", "replicated"])?;
        world.until_copied(did).await?;
    }

    let mut receiver = Receiver::new().await?;
    let wish = json!({ "tenant": "hays", "url": receiver.url, "events": ["lead.created"] });
    let hook = post(&world, PRIMARY, "co.kendev.tenants.createWebhook", &owner, &wish).await?;
    let secret = hook["secret"].as_str().context("a secret")?.to_owned();
    lead(&world, PRIMARY, &owner, "ada").await?;
    let taken = receiver.call().await?;
    ensure!(taken.is_signed_with(&secret)?, "{taken:?}");

    // This one is refused, and then the machine goes. What it had told before, it may tell once more: it may not have got to
    // say so to a standby.
    receiver.status.store(503, Ordering::SeqCst);
    lead(&world, PRIMARY, &owner, "bea").await?;
    let refused = loop {
        let call = receiver.call().await?;
        if call.id != taken.id {
            break call;
        }
    };
    world.validators.kill(PRIMARY)?;
    while receiver.calls.try_recv().is_ok() {}
    receiver.status.store(200, Ordering::SeqCst);
    let call = loop {
        let call = receiver.call().await?;
        if call.id != taken.id {
            break call;
        }
    };
    ensure!(call.id == refused.id && call.body == refused.body, "the same event: {call:?}");
    ensure!(call.is_signed_with(&secret)?, "signed as before: {call:?}");

    // The node that took over says what it did, and goes on with what happens there.
    let new = world.until_primary_of(&tenant, &STANDBYS).await?;
    let home = world.until_primary_of(&owner.did, &STANDBYS).await?;
    if new != home {
        world.angel(home, &["tenant", "promote", &tenant])?;
        world.until_reported_of(&tenant, "the business is with its owner", home, |it| it["writable"] == true).await?;
    }
    let owner = world.caller(home).log_in_as(&handle, &password).await?;
    lead(&world, home, &owner, "cleo").await?;
    let next = loop {
        let call = receiver.call().await?;
        if ![&taken.id, &refused.id].contains(&&call.id) {
            break call;
        }
    };
    ensure!(next.is_signed_with(&secret)?, "{next:?}");
    let (status, listed) = world.caller(home).query("co.kendev.tenants.listWebhooks?tenant=hays", &owner.token).await?;
    ensure!(status == 200 && listed["webhooks"][0]["id"] == hook["webhook"]["id"], "{listed}");
    Ok(())
}
