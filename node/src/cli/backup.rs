//! `angel backup`: snapshots of the running node, who can open them, and what the clock does.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use age::secrecy::SecretString;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::client::Daemon;
use super::exit::{Code, Failure};
use super::output::{print, row};
use super::{Common, block_on};
use crate::backup::recovery::RecoveryKey;

/// How often it is asked how far the daemon is.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Where a passphrase is looked for when no file is named.
const PASSPHRASE: &str = "ANGEL_RECOVERY_PASSPHRASE";

/// Largest recovery key file, in bytes.
const KEY_BYTES_MAX: u64 = 64 * 1024;

#[derive(Debug, Subcommand)]
pub(super) enum BackupVerb {
    /// Make a recovery key, or show that you hold one: without, no backup is made, for nobody could open it.
    Key(KeyArgs),
    /// Make a snapshot of the running node, and verify it by restoring it into a scratch store.
    Create(CreateArgs),
    /// Verify a snapshot: restore it into a scratch store and compare every root.
    Verify(VerifyArgs),
    /// List the snapshots in a place.
    List(ListArgs),
    /// Show what the clock does, who can open backups, and how the last one went.
    Schedule,
}

#[derive(Args, Debug)]
pub(super) struct KeyArgs {
    /// The file of the key; it is made when it is not there. Keep it away from this machine.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

#[derive(Args, Debug)]
pub(super) struct PassphraseArgs {
    /// A file with the passphrase of the key [env: ANGEL_RECOVERY_PASSPHRASE]. Unset: the key has none.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(super) struct CreateArgs {
    /// Where to: a directory, a file that ends in .tar, or s3://BUCKET/PREFIX [default: backup.to].
    #[arg(long, value_name = "PLACE")]
    to: Option<String>,
    /// A recovery key that is to open it (age1…), several times for several [default: backup.recipients].
    #[arg(long = "recipient", value_name = "RECIPIENT")]
    recipients: Vec<String>,
    /// Do not verify what was made. A backup that was never verified is a hope.
    #[arg(long)]
    no_verify: bool,
    /// Which snapshots to keep there, like "last 3, daily 7" [default: backup.keep].
    #[arg(long, value_name = "RULE")]
    keep: Option<String>,
}

#[derive(Args, Debug)]
pub(super) struct VerifyArgs {
    /// Where it lies [default: backup.to].
    #[arg(long, value_name = "PLACE")]
    from: Option<String>,
    /// Its number [default: the newest].
    #[arg(long, value_name = "NUMBER")]
    snapshot: Option<u64>,
}

#[derive(Args, Debug)]
pub(super) struct ListArgs {
    /// Where they lie [default: backup.to].
    #[arg(long, value_name = "PLACE")]
    from: Option<String>,
}

pub(super) fn backup(common: &Common, verb: BackupVerb) -> Result<(), Failure> {
    let daemon = Daemon::find(common)?;
    let (answer, lines) = block_on(perform(&daemon, verb))??;
    print(common, &answer, lines)?;
    Ok(())
}

type Said = (Value, Vec<String>);

async fn perform(daemon: &Daemon, verb: BackupVerb) -> Result<Said, Failure> {
    match verb {
        BackupVerb::Key(args) => key(daemon, &args).await,
        BackupVerb::Create(args) => {
            let wish = json!({
                "place": args.to.as_deref().map(absolute).transpose()?,
                "recipients": args.recipients,
                "verify": args.no_verify.then_some(false),
                "keep": args.keep,
            });
            let answer = job(daemon, "/admin/backups/create", &wish).await?;
            let lines = created(&answer);
            Ok((answer, lines))
        }
        BackupVerb::Verify(args) => {
            let wish = json!({ "place": args.from.as_deref().map(absolute).transpose()?, "snapshot": args.snapshot });
            let answer = job(daemon, "/admin/backups/verify", &wish).await?;
            let mut lines = vec![row("snapshot", snapshot_line(&answer["snapshot"]))];
            lines.extend(verified(&answer["verified"], &answer["tookMs"]));
            Ok((answer, lines))
        }
        BackupVerb::List(args) => {
            let wish = json!({ "place": args.from.as_deref().map(absolute).transpose()? });
            let answer = daemon.post("/admin/backups/list", &wish).await?;
            let lines = answer["snapshots"].as_array().into_iter().flatten().map(listed).collect();
            Ok((answer, lines))
        }
        BackupVerb::Schedule => {
            let answer = daemon.get("/admin/backups").await?;
            let lines = schedule(&answer);
            Ok((answer, lines))
        }
    }
}

/// The daemon may run in another directory: a path is told to it from the root.
fn absolute(place: &str) -> Result<String, Failure> {
    if place.contains("://") {
        return Ok(place.to_owned());
    }
    let path = std::path::absolute(place).map_err(|error| Failure::unexpected(format!("{place}: {error}")))?;
    Ok(path.display().to_string())
}

/// Starts a job and waits for its end, telling how far it is.
async fn job(daemon: &Daemon, path: &str, wish: &Value) -> Result<Value, Failure> {
    let id = daemon.post(path, wish).await?["job"].as_u64().unwrap_or(0);
    let terminal = std::io::stderr().is_terminal();
    let mut said = String::new();
    loop {
        let mut job = daemon.get(&format!("/admin/backups/jobs/{id}")).await?;
        match job["state"].as_str() {
            Some("done") => {
                if terminal {
                    eprint!("\r\x1b[2K");
                }
                return Ok(job["result"].take());
            }
            Some("failed") => {
                let text = |name: &str| job[name].as_str().unwrap_or("unknown").to_owned();
                return Err(Failure::new(Code::Daemon, format!("{} ({})", text("message"), text("error"))));
            }
            _ => {}
        }
        let phase = job.pointer("/progress/phase").and_then(Value::as_str).unwrap_or("waiting").to_owned();
        let number = |name: &str| job.pointer(name).and_then(Value::as_u64).unwrap_or(0);
        if terminal {
            let megabytes = number("/progress/bytes") / 1_000_000;
            let mut out = std::io::stderr();
            let line = format!("\r\x1b[2K{phase}: {} rows, {megabytes} MB", number("/progress/rows"));
            drop(out.write_all(line.as_bytes()).and_then(|()| out.flush()));
        } else if said != phase && !phase.is_empty() {
            eprintln!("{phase}");
            said = phase;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn key(daemon: &Daemon, args: &KeyArgs) -> Result<Said, Failure> {
    let passphrase = passphrase(&args.passphrase)?;
    let (mut key, is_new) = match read_key(&args.file, passphrase.clone())? {
        Some(key) => (key, false),
        None => (RecoveryKey::generate(), true),
    };
    for recipient in key.recipients() {
        let answer = daemon.post("/admin/backups/recipients", &json!({ "recipient": recipient })).await?;
        let sealed = STANDARD.decode(answer["challenge"].as_str().unwrap_or_default());
        let sealed = sealed.map_err(|_| Failure::unexpected("the daemon sent no challenge"))?;
        let opened = key.open(&sealed, std::slice::from_ref(&recipient)).map_err(|error| secret(&error))?;
        let answer = String::from_utf8_lossy(&opened).into_owned();
        // The file comes before the proof: a key that was proved and never kept would be the worst of all.
        if is_new || !key.nodes.iter().any(|node| node == daemon.did()) {
            key.nodes.push(daemon.did().to_owned());
            let bytes = key.write(passphrase.clone()).map_err(|error| secret(&error))?;
            write_key(&args.file, &bytes, is_new)?;
        }
        daemon.post("/admin/backups/recipients/prove", &json!({ "recipient": recipient, "answer": answer })).await?;
    }
    let file = args.file.display().to_string();
    let lines = vec![
        row("recovery key", format!("{file} ({})", if is_new { "new" } else { "opened" })),
        row("opens", format!("backups of {}", daemon.did())),
        "Keep this file away from this machine, and where you find it when the machine is gone.".to_owned(),
    ];
    Ok((json!({ "file": file, "new": is_new, "recipients": key.recipients(), "node": daemon.did() }), lines))
}

fn secret(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Code::Secret, error.to_string())
}

/// The passphrase of a recovery key, if it has one.
pub(super) fn passphrase(args: &PassphraseArgs) -> Result<Option<SecretString>, Failure> {
    let text = match &args.passphrase_file {
        Some(path) => {
            let read = fs::read_to_string(path);
            Some(read.map_err(|error| secret(&format!("cannot read {}: {error}", path.display())))?)
        }
        None => std::env::var(PASSPHRASE).ok(),
    };
    let text = text.map(Zeroizing::new);
    let text = text.as_ref().map(|text| text.trim_end_matches(['\r', '\n'])).filter(|text| !text.is_empty());
    Ok(text.map(|text| SecretString::from(text.to_owned())))
}

/// Reads a recovery key, `None` when there is no such file.
pub(super) fn read_key(path: &Path, passphrase: Option<SecretString>) -> Result<Option<RecoveryKey>, Failure> {
    let bytes = match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Ok(metadata) if metadata.len() > KEY_BYTES_MAX => Err("it is far too large".to_owned()),
        Ok(_) => fs::read(path).map(Zeroizing::new).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let unusable = |why: &str| secret(&format!("{} is no recovery key: {why}", path.display()));
    let bytes = bytes.map_err(|why| unusable(&why))?;
    if passphrase.is_none() && RecoveryKey::wants_passphrase(&bytes) {
        return Err(unusable(&format!(
            "it wants a passphrase: name a file with --passphrase-file, or set {PASSPHRASE}"
        )));
    }
    RecoveryKey::read(&bytes, passphrase).map(Some).map_err(unusable)
}

fn write_key(path: &Path, bytes: &[u8], is_new: bool) -> Result<(), Failure> {
    let failed = |error: std::io::Error| secret(&format!("cannot write {}: {error}", path.display()));
    if is_new {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
        return file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed);
    }
    let path = std::path::absolute(path).map_err(failed)?;
    crate::data_dir::write_atomically(&path, bytes, 0o600).map_err(|error| secret(&error))
}

fn megabytes(bytes: &Value) -> String {
    let bytes = bytes.as_u64().unwrap_or(0);
    if bytes < 1_000_000 { format!("{bytes} bytes") } else { format!("{:.1} MB", bytes as f64 / 1e6) }
}

/// A snapshot in one line.
pub(super) fn snapshot_line(snapshot: &Value) -> String {
    format!(
        "{} of {}: {} rows ({}), {} files ({}), event {}, height {}",
        snapshot["number"],
        snapshot["madeAt"].as_str().unwrap_or("-"),
        snapshot["rows"],
        megabytes(&snapshot["rowBytes"]),
        snapshot["blobs"],
        megabytes(&snapshot["blobBytes"]),
        snapshot["sequence"],
        snapshot["height"],
    )
}

fn listed(snapshot: &Value) -> String {
    match snapshot["message"].as_str() {
        Some(why) => format!("{}: NOT USABLE: {why}", snapshot["number"]),
        None => snapshot_line(snapshot),
    }
}

/// What was verified.
pub(super) fn verified(roots: &Value, took: &Value) -> Vec<String> {
    if roots.is_null() {
        return vec![row("verified", "no")];
    }
    let took = format!("; {} ms in all", took);
    vec![row(
        "verified",
        format!(
            "{} repositories ({} records), {} private ones ({} records), the ledger up to {}{took}",
            roots["repositories"],
            roots["records"],
            roots["privateRepositories"],
            roots["privateRecords"],
            roots["height"],
        ),
    )]
}

fn created(answer: &Value) -> Vec<String> {
    let mut lines = vec![
        row("place", answer["place"].as_str().unwrap_or("-")),
        row("snapshot", snapshot_line(&answer["snapshot"])),
        row(
            "written",
            format!(
                "{} in {} chunks; {} were there",
                megabytes(&answer["bytesWritten"]),
                answer["chunksWritten"],
                answer["chunksThere"]
            ),
        ),
    ];
    lines.extend(verified(&answer["verified"], &answer["tookMs"]));
    if answer.pointer("/pruned/snapshots").and_then(Value::as_u64).unwrap_or(0) > 0 {
        let (snapshots, chunks) = (&answer["pruned"]["snapshots"], &answer["pruned"]["chunks"]);
        lines.push(row("let go", format!("{snapshots} snapshots, {chunks} chunks")));
    }
    lines
}

fn schedule(answer: &Value) -> Vec<String> {
    let text = |name: &str| answer[name].as_str().unwrap_or("-").to_owned();
    let every =
        answer["everySeconds"].as_u64().map_or("on request only".to_owned(), |every| format!("every {every} s"));
    let mut lines = vec![row("to", text("to")), row("made", every), row("keep", text("keep"))];
    for (recipient, at) in answer["provedRecoveryKeys"].as_object().into_iter().flatten() {
        lines.push(row("opened by", format!("{recipient}, proved {}", at.as_str().unwrap_or("-"))));
    }
    match answer["last"].as_object() {
        None => lines.push(row("last", "none was ever made")),
        Some(last) => lines.push(row(
            "last",
            format!(
                "snapshot {} of {} in {}, {}",
                last["number"],
                last["madeAt"].as_str().unwrap_or("-"),
                last["place"].as_str().unwrap_or("-"),
                if last["verified"] == true { "verified" } else { "NOT verified" },
            ),
        )),
    }
    if let Some(why) = answer.pointer("/failure/message").and_then(Value::as_str) {
        lines.push(row("failed", why));
    }
    if let Some(next) = answer["nextAt"].as_str() {
        lines.push(row("next", next));
    }
    lines
}
