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
    _dir: tempfile::TempDir,
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
        Ok(Self { daemon, target, _dir: dir })
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
