//! The machine is gone, and the node comes back from a backup: the same DID, the same accounts, the same records, and
//! numbers that are ahead of whatever followers have seen. Real daemons, and a real S3-compatible server.

mod tenant;

use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use angel_harness::binary::{Daemon, Launch, command, verb};
use angel_harness::tenancy::Tenancy;
use angel_harness::validators::Validators;
use angel_harness::wait::until;
use anyhow::{Context, Result, ensure};
use reqwest::{Client, StatusCode};
use rustix::process::Signal;
use serde_json::{Value, json};

const LONG: Duration = Duration::from_secs(90);
const PASSWORD: &str = "correct horse battery staple";
const COLLECTION: &str = "com.example.note";

fn launch(data: &Path) -> Launch {
    Launch::in_dir(data)
        .env("ANGEL_IDENTITY_HANDLE_DOMAINS", ".angel.test")
        .env("ANGEL_ACCOUNTS_INVITES_REQUIRED", "false")
        .env("ANGEL_HTTP_RATE_LIMITS", "false")
}

fn answered(output: &Output) -> Result<Value> {
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn angel(data: &Path, words: &[&str]) -> Result<Value> {
    answered(&verb(data, &[words, &["--json"]].concat())?)
}

fn refused(output: &Output, words: &str) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains(words), "{words:?} in: {said}");
}

struct Account {
    did: String,
    token: String,
}

async fn sign_up(client: &Client, url: &str, handle: &str) -> Result<Account> {
    let body = json!({ "handle": handle, "email": format!("{handle}@example.com"), "password": PASSWORD });
    let (made, _) = until("the account is made", LONG, async || {
        let answer = client.post(format!("{url}/xrpc/com.atproto.server.createAccount")).json(&body).send().await?;
        let (status, body) = (answer.status(), answer.json::<Value>().await?);
        Ok((status == StatusCode::OK).then_some(body))
    })
    .await?;
    let text = |name: &str| made[name].as_str().map(ToOwned::to_owned);
    Ok(Account { did: text("did").context("a DID")?, token: text("accessJwt").context("a token")? })
}

async fn log_in(client: &Client, url: &str, did: &str) -> Result<Account> {
    let body = json!({ "identifier": did, "password": PASSWORD });
    let answer = client.post(format!("{url}/xrpc/com.atproto.server.createSession")).json(&body).send().await?;
    let session: Value = answer.error_for_status()?.json().await?;
    let token = session["accessJwt"].as_str().context("a token")?.to_owned();
    Ok(Account { did: did.to_owned(), token })
}

async fn write(client: &Client, url: &str, account: &Account, rkey: &str) -> Result<StatusCode> {
    let body = json!({
        "repo": account.did, "collection": COLLECTION, "rkey": rkey,
        "record": { "$type": COLLECTION, "text": format!("note {rkey}") },
    });
    let url = format!("{url}/xrpc/com.atproto.repo.createRecord");
    Ok(client.post(url).bearer_auth(&account.token).json(&body).send().await?.status())
}

async fn has(client: &Client, url: &str, did: &str, rkey: &str) -> Result<bool> {
    let path = format!("/xrpc/com.atproto.repo.getRecord?repo={did}&collection={COLLECTION}&rkey={rkey}");
    Ok(client.get(format!("{url}{path}")).send().await?.status() == StatusCode::OK)
}

/// Writes without pause until told to stop; counts what was acknowledged.
fn writer(
    client: &Client,
    url: &str,
    account: Account,
) -> (Arc<AtomicU64>, Arc<AtomicBool>, tokio::task::JoinHandle<()>) {
    let (written, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let (client, url) = (client.clone(), url.to_owned());
    let (count, stopped) = (Arc::clone(&written), Arc::clone(&stop));
    let task = tokio::spawn(async move {
        while !stopped.load(Ordering::Relaxed) {
            let number = count.load(Ordering::Relaxed);
            if !matches!(write(&client, &url, &account, &format!("note-{number}")).await, Ok(StatusCode::OK)) {
                return;
            }
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    (written, stop, task)
}

fn number(value: &Value, pointer: &str) -> u64 {
    value.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
}

/// A node, an account on it, and a recovery key.
async fn node(dir: &Path) -> Result<(Daemon, PathBuf, PathBuf, Client, String, Account)> {
    let (data, key) = (dir.join("data"), dir.join("recovery.key"));
    let daemon = launch(&data).start()?;
    let client = Client::new();
    let url = daemon.fact("httpUrl").to_owned();
    let account = sign_up(&client, &url, "ada.angel.test").await?;
    Ok((daemon, data, key, client, url, account))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_comes_back_when_its_machine_is_gone() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (daemon, data, key, client, url, account) = node(dir.path()).await?;
    let (did, place) = (account.did.clone(), dir.path().join("backups"));
    let (place, key_file) = (place.to_str().context("text")?, key.to_str().context("text")?);
    let node_did = daemon.fact("did").to_owned();

    // Without a recovery key there is no backup, and status says what that means.
    refused(&verb(&data, &["backup", "create", "--to", place])?, "there is no recovery key yet");
    let status = String::from_utf8(verb(&data, &["status"])?.stdout)?;
    ensure!(status.contains("this node is alone: everything on it that is in no backup is lost"), "{status}");
    let made = angel(&data, &["backup", "key", key_file])?;
    ensure!(made["new"] == true && made["node"] == node_did, "{made}");

    // It goes on serving while it is backed up.
    let (written, stop, task) = writer(&client, &url, account);
    until("some writes are acknowledged", LONG, async || Ok((written.load(Ordering::Relaxed) >= 50).then_some(())))
        .await?;
    let before = written.load(Ordering::Relaxed);
    let first = angel(&data, &["backup", "create", "--to", place])?;
    let after = written.load(Ordering::Relaxed);
    ensure!(number(&first, "/verified/records") >= before, "{first}");
    ensure!(after > before, "nothing was written meanwhile");
    stop.store(true, Ordering::Relaxed);
    task.await?;
    let total = written.load(Ordering::Relaxed);
    let second = angel(&data, &["backup", "create", "--to", place])?;
    let third = angel(&data, &["backup", "create", "--to", place])?;
    println!(
        "first {} bytes, {} writes meanwhile; second {} bytes; third, of an unchanged node, {} bytes",
        first["bytesWritten"],
        after - before,
        second["bytesWritten"],
        third["bytesWritten"]
    );
    ensure!(number(&third, "/bytesWritten") < 60_000, "{third}");
    ensure!(number(&second, "/verified/records") >= total, "{second}");
    let verified = angel(&data, &["backup", "verify", "--from", place])?;
    ensure!(verified["verified"]["roots"] == third["verified"]["roots"], "{verified}");
    let listed = angel(&data, &["backup", "list", "--from", place])?;
    ensure!(listed["snapshots"].as_array().map(Vec::len) == Some(3), "{listed}");

    // The machine is gone.
    daemon.signal(Signal::KILL)?;
    daemon.wait()?;
    std::fs::remove_dir_all(&data)?;
    let new = dir.path().join("new");
    let restore = |into: &Path, words: &[&str]| -> Result<Output> {
        let mut command = command(dir.path());
        command.args(["restore", "--from", place, "--key", key_file, "--json"]).args(words);
        Ok(command.arg("--data-dir").arg(into).output()?)
    };
    let stranger = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK";
    refused(&restore(&new, &["--node", stranger])?, "ForeignBackup");
    ensure!(!new.exists(), "nothing was written");
    let restored = answered(&restore(&new, &[])?)?;
    ensure!(restored["verified"]["roots"] == third["verified"]["roots"], "{restored}");
    refused(&restore(&new, &[])?, "never over another");

    let daemon = launch(&new).start()?;
    ensure!(daemon.fact("did") == node_did, "it is the same node");
    let url = daemon.fact("httpUrl").to_owned();
    let account = log_in(&client, &url, &did).await?;
    for number in [0, before / 2, total - 1] {
        ensure!(has(&client, &url, &did, &format!("note-{number}")).await?, "note {number} is lost");
    }
    ensure!(write(&client, &url, &account, "after").await? == StatusCode::OK, "it takes writes");
    let again = angel(&new, &["backup", "create", "--to", place])?;
    let (old, ahead) = (number(&third, "/snapshot/sequence"), number(&again, "/snapshot/sequence"));
    ensure!(ahead > old + 1_000_000, "followers would have seen {ahead} before ({old})");
    ensure!(number(&again, "/snapshot/number") == 4, "{again}");
    ensure!(daemon.stop()?.success(), "it stops in good order");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_killed_or_finds_no_room_is_none() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (daemon, data, key, client, url, account) = node(dir.path()).await?;
    let place = dir.path().join("backups");
    let (place, key_file) = (place.to_str().context("text")?, key.to_str().context("text")?);
    angel(&data, &["backup", "key", key_file])?;
    for round in 0..20 {
        ensure!(write(&client, &url, &account, &format!("note-{round}")).await? == StatusCode::OK, "written");
    }

    // No room: said by name, no snapshot, and the node goes on.
    let small = dir.path().join("small");
    std::fs::create_dir(&small)?;
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "none"]).arg(&small).status();
    if mounted.is_ok_and(|status| status.success()) {
        let small_place = small.to_str().context("text")?;
        let output = verb(&data, &["backup", "create", "--to", small_place])?;
        let listed = verb(&data, &["backup", "list", "--from", small_place, "--json"]);
        let unmounted = Command::new("umount").arg(&small).status()?;
        ensure!(unmounted.success(), "unmounted");
        refused(&output, "No space left on device");
        ensure!(answered(&listed?)?["snapshots"] == json!([]), "there is no snapshot");
    } else {
        println!("no file system can be mounted here: a full one is not tried");
    }

    // Killed in the middle: what was begun is no snapshot, and the next one is made over what is there.
    let creating = command(dir.path())
        .args(["backup", "create", "--to", place, "--data-dir"])
        .arg(&data)
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()?;
    until("the backup has begun", LONG, async || Ok(Path::new(place).join("lock").exists().then_some(()))).await?;
    daemon.signal(Signal::KILL)?;
    daemon.wait()?;
    drop(creating.wait_with_output());
    let daemon = launch(&data).start()?;
    let made = angel(&data, &["backup", "create", "--to", place])?;
    ensure!(number(&made, "/verified/repositories") >= 1, "{made}");
    let listed = angel(&data, &["backup", "list", "--from", place])?;
    let snapshots = listed["snapshots"].as_array().context("a list")?;
    ensure!(snapshots.iter().all(|snapshot| snapshot["error"].is_null()), "{listed}");
    ensure!(has(&client, daemon.fact("httpUrl"), &account.did, "note-19").await?, "the node lost nothing");
    Ok(())
}

/// A server that is ended with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // The script has put the server in its own place.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clock_backs_up_into_a_bucket_and_a_node_comes_back_from_there() -> Result<()> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/s3-server");
    let mut server = Command::new(script);
    server.arg(port.to_string()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    let _server = Server(server.spawn()?);
    let endpoint = format!("http://127.0.0.1:{port}");
    let client = Client::new();
    until("the bucket is made", Duration::from_secs(300), async || {
        let made = client.put(format!("{endpoint}/backups")).send().await?;
        Ok(made.status().is_success().then_some(()))
    })
    .await?;
    let access = [
        ("AWS_ACCESS_KEY_ID", "testing"),
        ("AWS_SECRET_ACCESS_KEY", "testing"),
        ("ANGEL_BACKUP_TO", "s3://backups/angel"),
        ("ANGEL_BACKUP_S3_ENDPOINT", endpoint.as_str()),
        ("ANGEL_BACKUP_S3_REGION", "us-east-1"),
        ("NO_PROXY", "127.0.0.1"),
    ];

    let dir = tempfile::tempdir()?;
    let (data, key) = (dir.path().join("data"), dir.path().join("recovery.key"));
    let daemon = launch(&data).envs(access).env("ANGEL_BACKUP_EVERY", "1h").start()?;
    let url = daemon.fact("httpUrl").to_owned();
    let account = sign_up(&client, &url, "ada.angel.test").await?;
    ensure!(write(&client, &url, &account, "one").await? == StatusCode::OK, "written");

    // The clock wants one at once, and nobody could open it: the node says so.
    let (health, _) = until("the node says that it has no backup", LONG, async || {
        let health: Value = client.get(format!("{url}/api/health")).send().await?.json().await?;
        let why = health.pointer("/reasons/backup").and_then(Value::as_str).unwrap_or("").to_owned();
        Ok(why.contains("there is no recovery key yet").then_some(health))
    })
    .await?;
    ensure!(health["status"] != "healthy", "{health}");
    angel(&data, &["backup", "key", key.to_str().context("text")?])?;
    let made = angel(&data, &["backup", "create"])?;
    ensure!(made["place"] == "s3://backups/angel" && number(&made, "/verified/records") >= 1, "{made}");
    until("the node is well again", LONG, async || {
        let health: Value = client.get(format!("{url}/api/health")).send().await?.json().await?;
        Ok((health.pointer("/services/backup").and_then(Value::as_str) == Some("ok")).then_some(()))
    })
    .await?;
    let schedule = angel(&data, &["backup", "schedule"])?;
    ensure!(number(&schedule, "/everySeconds") == 3600 && schedule["last"]["verified"] == true, "{schedule}");
    let metrics = client.get(format!("{url}/metrics")).send().await?.text().await?;
    ensure!(metrics.contains("angel_backup_made_total 1"), "{metrics}");

    daemon.signal(Signal::KILL)?;
    daemon.wait()?;
    std::fs::remove_dir_all(&data)?;
    let mut restore = command(dir.path());
    restore.envs(access).args(["restore", "--json", "--key"]).arg(&key).arg("--data-dir").arg(&data);
    let restored = answered(&restore.output()?)?;
    ensure!(restored["verified"]["roots"] == made["verified"]["roots"], "{restored}");
    let daemon = launch(&data).start()?;
    let url = daemon.fact("httpUrl").to_owned();
    log_in(&client, &url, &account.did).await?;
    ensure!(has(&client, &url, &account.did, "one").await?, "the record is back");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_goes_there_and_back_and_is_remembered() -> Result<()> {
    let world = Tenancy::on_loopback().await?;
    let never = world.angel(0, &["drill", world.did()]).expect_err("there is no standby").to_string();
    ensure!(never.contains("NotPlaced"), "{never}");
    world.place(true).await?;
    let elsewhere = world.angel(1, &["drill", world.did()]).expect_err("this one is a standby").to_string();
    ensure!(elsewhere.contains("NotPrimary"), "{elsewhere}");

    let drill = world.angel(0, &["drill", world.did()])?;
    println!(
        "no writes for {} ms on the way there, {} ms on the way back; {} ms in all",
        drill["refusedThereMs"], drill["refusedBackMs"], drill["tookMs"]
    );
    ensure!(drill["outcome"] == "equal", "{drill}");
    ensure!(drill["rootsAfter"].as_object().map(serde_json::Map::len) == Some(3), "{drill}");
    let status = world.angel(0, &["status"])?;
    let told = &status["ifThisMachineDies"]["tenants"][0];
    ensure!(told["did"] == world.did() && told["lastDrill"]["outcome"] == "equal", "{status}");
    ensure!(told["lost"]["everything"] == false && told["standbysAlive"] == 2, "{status}");
    ensure!(told["lastBackup"].is_null() && told["within"]["handOverMs"].is_u64(), "{status}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validator_that_was_put_back_listens_before_it_votes() -> Result<()> {
    let mut validators = Validators::found(4, 1)?;
    for (name, value) in [
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
    let url = |validators: &Validators, index: usize| validators.daemon(index).fact("httpUrl").to_owned();
    sign_up(&client, &url(&validators, 0), "before.angel.test").await?;
    let dir = tempfile::tempdir()?;
    let (place, key) = (dir.path().join("backups"), dir.path().join("recovery.key"));
    let (place, key) = (place.to_str().context("text")?, key.to_str().context("text")?);
    let data = validators.dir(0);
    angel(&data, &["backup", "key", key])?;
    let made = angel(&data, &["backup", "create", "--to", place])?;
    ensure!(number(&made, "/snapshot/height") > 0, "{made}");

    // It votes on, and all of that is lost with its machine.
    sign_up(&client, &url(&validators, 1), "between.angel.test").await?;
    validators.kill(0)?;
    std::fs::remove_dir_all(&data)?;
    sign_up(&client, &url(&validators, 1), "without.angel.test").await?;
    let mut restore = command(dir.path());
    restore.args(["restore", "--json", "--from", place, "--key", key, "--data-dir"]).arg(&data);
    answered(&restore.output()?)?;
    let note = data.join("secrets/restored");
    ensure!(note.exists(), "it does not know that it was put back");
    validators.start(0)?;
    let consensus = async || -> Result<(String, String)> {
        let health: Value = client.get(format!("{}/api/health", url(&validators, 0))).send().await?.json().await?;
        let text = |pointer: &str| health.pointer(pointer).and_then(Value::as_str).unwrap_or("").to_owned();
        Ok((text("/services/consensus"), text("/reasons/consensus")))
    };
    until("it says why it does not vote", LONG, async || {
        let (_, why) = consensus().await?;
        Ok(why.contains("this node was restored from a backup").then_some(()))
    })
    .await?;

    // The others decide more: then it is sure of what it may say.
    let mut more = 0;
    until("it votes again", LONG, async || {
        more += 1;
        sign_up(&client, &url(&validators, 1), &format!("more-{more}.angel.test")).await?;
        Ok((consensus().await?.0 == "ok" && !note.exists()).then_some(()))
    })
    .await?;
    sign_up(&client, &url(&validators, 0), "after.angel.test").await?;
    Ok(())
}
