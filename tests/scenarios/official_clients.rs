//! The protocol's own clients judge the real daemon: the TypeScript packages, the event stream's verifier, the Python
//! client, and the reference host, between which and this node accounts move in both directions.
//!
//! The judges and their proof that they can say no live under `tests/clients`; `scripts/clients` installs them.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use angel_harness::binary::{Daemon, Launch, angel};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

fn script() -> PathBuf {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/clients").into()
}

/// A daemon that hosts accounts, and what a judge needs to know of it.
struct Host {
    daemon: Daemon,
    target: Value,
    dir: tempfile::TempDir,
}

impl Host {
    fn start(settings: &[(&str, &str)]) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let data_dir = dir.path().join("data");
        // What is served here is looked up here: the machine's own addresses count.
        let launch = Launch::in_dir(&data_dir).env("ANGEL_IDENTITY_HANDLE_DOMAINS", ".angel.test");
        let daemon = launch.envs(settings.iter().copied()).start()?;
        let password = std::fs::read_to_string(daemon.fact("adminPasswordFile"))?;
        // Official software takes a directory by name only, and clients compare the name with the documents.
        let url = daemon.fact("httpUrl").replace("127.0.0.1", "localhost");
        let target = json!({
            "name": "angel",
            "url": url,
            "plcUrl": url,
            "adminPassword": password.trim(),
            "handleDomain": ".angel.test",
            "tokenCommand": [angel(), "account", "code", "--data-dir", data_dir],
            "pid": daemon.pid().as_raw_nonzero().get(),
        });
        Ok(Self { daemon, target, dir })
    }

    fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }
}

/// Runs a judge to its end and shows what it found.
async fn judge(scenario: &'static str, targets: Vec<Value>, hosts: &[&Host]) -> Result<()> {
    let targets: Vec<String> = targets.iter().map(ToString::to_string).collect();
    let run = move || Command::new(script()).arg(scenario).args(targets).stdin(Stdio::null()).output();
    let output = tokio::task::spawn_blocking(run).await??;
    let said = [output.stdout, output.stderr].concat();
    println!("{}", String::from_utf8_lossy(&said));
    if !output.status.success() {
        for host in hosts {
            println!("{}", host.daemon.log().join("\n"));
        }
    }
    ensure!(output.status.success(), "{scenario}: {}", output.status);
    Ok(())
}

#[tokio::test]
async fn the_typescript_client_is_served() -> Result<()> {
    let host = Host::start(&[])?;
    judge("api", vec![host.target.clone()], &[&host]).await
}

#[tokio::test]
async fn the_event_stream_is_followed_and_verified() -> Result<()> {
    let host = Host::start(&[])?;
    let short = Host::start(&[("ANGEL_FIREHOSE_BACKFILL", "1500ms")])?;
    judge("sync", vec![host.target.clone(), short.target.clone()], &[&host, &short]).await
}

#[tokio::test]
async fn the_python_client_is_served() -> Result<()> {
    let host = Host::start(&[])?;
    judge("python", vec![host.target.clone()], &[&host]).await
}

/// The reference host, in whose directory both keep their identities. It ends when its input does.
struct Reference {
    process: Child,
    target: Value,
}

impl Reference {
    fn start(arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new(script());
        command.arg("peer").args(arguments).arg("--until-stdin-closes");
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().context("piped")?).read_line(&mut line)?;
        let target = serde_json::from_str(&line).with_context(|| format!("the reference host said {line:?}"))?;
        Ok(Self { process, target })
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        drop(self.process.wait());
    }
}

#[tokio::test]
async fn accounts_move_between_this_and_the_reference_host() -> Result<()> {
    let reference = tokio::task::spawn_blocking(|| Reference::start(&[])).await??;
    let directory = reference.target["plcUrl"].as_str().context("it has a directory")?;
    let host = Host::start(&[("ANGEL_IDENTITY_PLC", directory)])?;
    let mut target = host.target.clone();
    target["plcUrl"] = directory.into();
    judge("migrate", vec![reference.target.clone(), target], &[&host]).await
}

/// The same with this node's own directory, which the reference host then uses.
#[tokio::test]
async fn the_reference_host_takes_this_nodes_directory() -> Result<()> {
    let host = Host::start(&[])?;
    let directory = host.target["plcUrl"].as_str().context("it has a directory")?.to_owned();
    let reference = tokio::task::spawn_blocking(move || Reference::start(&["--plc", &directory])).await??;
    judge("migrate", vec![host.target.clone(), reference.target.clone()], &[&host]).await
}

/// The wizard of the command line moves an account out to the reference host and another one in, and each is called twice.
#[tokio::test]
async fn the_wizard_moves_accounts_out_and_in() -> Result<()> {
    let reference = tokio::task::spawn_blocking(|| Reference::start(&[])).await??;
    let directory = reference.target["plcUrl"].as_str().context("it has a directory")?;
    let settings = [
        ("ANGEL_IDENTITY_PLC", directory),
        ("ANGEL_ACCOUNTS_INVITES_REQUIRED", "false"),
        // The operator reads codes from the outbox; nobody takes the letters.
        ("ANGEL_MAIL_SMTP_URL", "smtp://127.0.0.1:9"),
    ];
    let host = Host::start(&settings)?;
    let client = reqwest::Client::new();
    let (own, other) = (host.target["url"].clone(), reference.target["url"].clone());
    let (own, other) = (own.as_str().context("a URL")?, other.as_str().context("a URL")?);
    let secrets = tempfile::tempdir()?;
    let password_file = secrets.path().join("password");
    std::fs::write(&password_file, "correct horse battery staple\n")?;
    let (away, domain) = (reference.target["handleDomain"].as_str().context("a domain")?, ".angel.test");

    for (from, to, name, is_out) in [(own, other, "outward", true), (other, own, "inward", false)] {
        let (old_domain, new_domain) = if is_out { (domain, away) } else { (away, domain) };
        let account = Account::make(&client, from, &format!("{name}{old_domain}")).await?;
        if is_out {
            // A password alone does not open this one.
            account.wants_codes(&client, own, &host).await?;
        }
        let (verb, flag) = if is_out { ("move-out", "--to") } else { ("move-in", "--from") };
        let handle = format!("{name}{new_domain}");
        let mut words = vec!["account", verb, &account.did, flag, if is_out { to } else { from }, "--handle", &handle];
        words.extend(["--email", "moved@example.com", "--json", "--password-file"]);
        let file = password_file.display().to_string();
        words.push(&file);
        let first = wizard(&host, &words)?;
        let moved = if is_out {
            first
        } else {
            // The old host mails a code: the wizard stops there, and goes on with it.
            ensure!(first["status"] == "waiting for the code", "{first:#}");
            let code = code_of(&client, &reference.target, "inward@example.com").await?;
            let with_code = [words.as_slice(), &["--code", &code]].concat();
            wizard(&host, &with_code)?
        };
        ensure!(moved["status"] == "moved", "{moved:#}");
        account.is_at(&client, to, &handle).await?;
        let document: Value = client.get(format!("{directory}/{}", account.did)).send().await?.json().await?;
        ensure!(document.pointer("/service/0/serviceEndpoint") == Some(&json!(to)), "{document:#}");
    }
    Ok(())
}

/// Calls the command line, without a terminal.
fn wizard(host: &Host, words: &[&str]) -> Result<Value> {
    let output =
        Command::new(angel()).args(words).arg("--data-dir").arg(host.data_dir()).stdin(Stdio::null()).output()?;
    ensure!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// An account with a record and a file.
struct Account {
    did: String,
    token: String,
    email: String,
    blob: String,
}

impl Account {
    async fn make(client: &reqwest::Client, url: &str, handle: &str) -> Result<Self> {
        let name = handle.split('.').next().context("a name")?;
        let email = format!("{name}@example.com");
        let body = json!({ "handle": handle, "email": email, "password": "correct horse battery staple" });
        let made = client.post(format!("{url}/xrpc/com.atproto.server.createAccount")).json(&body).send().await?;
        let made: Value = made.error_for_status()?.json().await?;
        let token = made["accessJwt"].as_str().context("a token")?;
        let upload = client.post(format!("{url}/xrpc/com.atproto.repo.uploadBlob")).bearer_auth(token);
        let file = upload.header("content-type", "text/plain").body("a file that moves along").send().await?;
        let file: Value = file.error_for_status()?.json().await?;
        let record = json!({
            "repo": made["did"], "collection": "com.example.note", "rkey": "one",
            "record": { "$type": "com.example.note", "file": file["blob"] },
        });
        let write = client.post(format!("{url}/xrpc/com.atproto.repo.createRecord")).bearer_auth(token).json(&record);
        write.send().await?.error_for_status()?;
        let blob = file.pointer("/blob/ref/$link").and_then(Value::as_str).context("a CID")?.to_owned();
        Ok(Self { did: made["did"].as_str().context("a DID")?.to_owned(), token: token.to_owned(), email, blob })
    }

    /// Confirms the address and has logins take a code from it.
    async fn wants_codes(&self, client: &reqwest::Client, url: &str, host: &Host) -> Result<()> {
        let call = async |method: &str, body: Value| -> Result<()> {
            let asked = client.post(format!("{url}/xrpc/com.atproto.server.{method}")).bearer_auth(&self.token);
            let answer = asked.json(&body).send().await?;
            ensure!(answer.status().is_success(), "{method}: {}", answer.text().await?);
            Ok(())
        };
        call("requestEmailConfirmation", json!({})).await?;
        let code = wizard(host, &["account", "code", &self.did, "confirm_email", "--json"])?;
        call("confirmEmail", json!({ "email": self.email, "token": code["code"] })).await?;
        call("updateEmail", json!({ "email": self.email, "emailAuthFactor": true })).await
    }

    /// Whether the account is active at that host under the handle, with its record and its file.
    async fn is_at(&self, client: &reqwest::Client, url: &str, handle: &str) -> Result<()> {
        let body = json!({ "identifier": self.did, "password": "correct horse battery staple" });
        let session = client.post(format!("{url}/xrpc/com.atproto.server.createSession")).json(&body).send().await?;
        let session: Value = session.error_for_status()?.json().await?;
        ensure!(session["handle"] == handle && session["active"] == true, "{session:#}");
        let did = &self.did;
        for path in [
            format!("com.atproto.repo.getRecord?repo={did}&collection=com.example.note&rkey=one"),
            format!("com.atproto.sync.getBlob?did={did}&cid={}", self.blob),
        ] {
            let answer = client.get(format!("{url}/xrpc/{path}")).send().await?;
            ensure!(answer.status().is_success(), "{path}: {}", answer.text().await?);
        }
        Ok(())
    }
}

/// The code that the reference host has mailed to that address.
async fn code_of(client: &reqwest::Client, target: &Value, address: &str) -> Result<String> {
    let mail = target["mailUrl"].as_str().context("it has a mailbox")?;
    for after in 0.. {
        let answer = client.get(format!("{mail}/next?to={address}&after={after}")).send().await?;
        let mail: Value = answer.error_for_status().context("no mail with a code")?.json().await?;
        if let Some(code) = mail["token"].as_str() {
            return Ok(code.to_owned());
        }
    }
    unreachable!("a mailbox ends with an error")
}
