//! `angel tenant backups`: "if this machine dies now".

use angel_protocol::limits::REPLICA_VERSIONS_MAX;
use clap::Args;
use serde_json::{Value, json};

use super::super::client::Daemon;
use super::super::exit::Failure;
use super::super::output::row;
use super::Said;

#[derive(Args, Debug)]
pub(in super::super) struct BackupsArgs {
    /// The tenant's short name, handle or DID.
    #[arg(value_name = "TENANT")]
    tenant: String,
}

pub(super) async fn backups(daemon: &Daemon, args: &BackupsArgs) -> Result<Said, Failure> {
    let answer = daemon.post("/admin/replicas/show", &json!({ "account": args.tenant })).await?;
    let words = lines(&answer);
    Ok((answer, words))
}

/// A tenant for people.
pub(in super::super) fn lines(report: &Value) -> Vec<String> {
    let text = |name: &str| report[name].as_str().unwrap_or("-").to_owned();
    let mut lines = vec![
        row("tenant", text("did")),
        row("this node", format!("{} in epoch {}", text("role"), report["epoch"])),
        row("primary", text("primary")),
        row(
            "answers",
            format!("when {}", if text("ack") == "replicated" { "a standby has it" } else { "it is safe here" }),
        ),
        row("root", text("root")),
    ];
    if let Some(lost) = report["unsafeEvents"].as_u64() {
        lines.push(row(
            "if it dies",
            match lost {
                0 => "nothing is lost: records, files, members, spaces and logins are on a standby".to_owned(),
                lost => format!("{lost} events that no failover is sure to find, public or private"),
            },
        ));
        let first = report.pointer("/successors/0/did").and_then(Value::as_str).unwrap_or("nobody");
        lines.push(row("takes over", first));
        if report["writable"] == false {
            lines.push(row("writes", "refused: too few backups have confirmed this node of late"));
        }
    }
    for (did, copy) in report["standbys"].as_object().into_iter().flatten() {
        let inherits = report["heirs"].as_array().is_some_and(|heirs| heirs.iter().any(|heir| heir == did));
        let identity = if inherits { "the identity would move there" } else { "the identity cannot move there yet" };
        let copy = match copy.as_u64() {
            Some(0) | None => "no whole copy that this node has heard of".to_owned(),
            Some(event) => format!("complete up to event {event}"),
        };
        lines.push(row("standby", format!("{did}, {copy}; {identity}")));
    }
    for did in report["full"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        lines.push(row("FULL", format!("{did} has no room for more of it (its replicas.quota)")));
    }
    lines.extend(report["vaults"].as_array().into_iter().flatten().map(vault));
    if report["archive"].is_object() {
        lines.push(row("archive", archive(&report["archive"])));
    }
    if let Some(why) = report.pointer("/archive/failure").and_then(Value::as_str) {
        lines.push(row("", format!("the last one could not be made: {why}")));
    }
    if report["kept"].is_object() {
        lines.push(row("keeps", kept(&report["kept"])));
    }
    if let Some(complete) = report["complete"].as_u64() {
        lines.push(row("copy", format!("complete up to event {complete} of the primary")));
    }
    if let Some(bytes) = report["bytes"].as_u64() {
        lines.push(row("holds", format!("{bytes} bytes of records, private rows and files")));
    }
    if let Some(what) = report.pointer("/copying/what").and_then(Value::as_str) {
        let what = match what {
            "repository" => "the repository",
            "privateRows" => "private rows",
            _ => "files",
        };
        lines.push(row("copying", format!("{what}: {} bytes so far", report["copying"]["bytes"])));
    }
    if let Some(mended) = report["mended"].as_u64().filter(|mended| *mended > 0) {
        lines.push(row("mended", format!("{mended} private rows that differed although nothing had told of it")));
    }
    if let Some(silent) = report["silentMs"].as_u64() {
        lines.push(row("heard", format!("{} s ago", silent / 1000)));
    }
    if let Some(bound) = report["promisedMs"].as_u64() {
        let bound = bound.div_ceil(1000);
        lines.push(row(
            "waits",
            format!("for a failover that it gave its word for, and follows nobody for {bound} s more"),
        ));
    }
    if let Some(stopped) = report["stopped"].as_str() {
        lines.push(row("stopped", stopped));
    }
    if let Some(kept) = report["keptVersions"].as_u64().filter(|kept| *kept > 0) {
        let full = if kept >= REPLICA_VERSIONS_MAX as u64 { ", and no more fit" } else { "" };
        lines.push(row("conflicts", format!("{kept} second versions are kept{full}; see `angel tenant dismiss`")));
    }
    for version in report["versions"].as_array().into_iter().flatten() {
        let text = |name: &str| version[name].as_str().unwrap_or("-");
        let space = version["space"].as_str().map_or_else(String::new, |space| format!(" in {space}"));
        lines.push(row("", format!("{}{space}, as {} wrote it in {}", text("path"), text("node"), text("rev"))));
    }
    lines
}

/// A vault, as the primary knows it.
fn vault(vault: &Value) -> String {
    let text = |name: &str| vault[name].as_str().unwrap_or("-");
    let does = match text("state") {
        "lost" if vault["hasNewest"] == true => {
            format!("LOST its archive, noticed at {}; it has been given a new one", text("lostAt"))
        }
        "lost" => format!("LOST its archive, noticed at {}; it is given a new one", text("lostAt")),
        "proved" => format!("proved at {} that it has its archive", text("provedAt")),
        "unproved" => "says that it has an archive, and has not proved it yet".to_owned(),
        _ => "has no archive yet".to_owned(),
    };
    let older =
        if vault["hasNewest"] == false && vault["state"] == "proved" { "; the newest has not come" } else { "" };
    let before = match vault["losses"].as_u64() {
        Some(losses) if losses > 0 && vault["state"] != "lost" => {
            format!("; it has lost {losses} before, the last at {}", text("lostAt"))
        }
        _ => String::new(),
    };
    row("vault", format!("{} {does}{older}{before}", text("did")))
}

/// The newest archive, as the primary made it.
fn archive(archive: &Value) -> String {
    match archive["madeAt"].as_str() {
        Some(at) => {
            format!(
                "of {at}, {} bytes, up to event {}, opened by {}",
                archive["bytes"],
                archive["sequence"],
                archive["recovery"].as_str().unwrap_or("-")
            )
        }
        None => "none was made yet".to_owned(),
    }
}

/// An archive that this node keeps as a vault.
pub(super) fn kept(kept: &Value) -> String {
    let text = |name: &str| kept[name].as_str();
    let Some(at) = text("fetchedAt").filter(|_| kept["digest"].is_string()) else {
        return "no archive yet".to_owned();
    };
    let until = text("staysUntil")
        .map_or_else(String::new, |until| format!("; nobody asks for it any more, it stays until {until}"));
    format!("an archive of {} bytes, fetched at {at}{until}", kept["bytes"])
}
