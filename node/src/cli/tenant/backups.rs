//! `angel tenant backups`: "if this machine dies now".

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
                0 => "nothing that is public is lost".to_owned(),
                lost => format!("{lost} events that no failover is sure to find"),
            },
        ));
        let uncopied = |name: &str| report["uncopied"][name].as_u64().unwrap_or(0);
        let (spaces, repositories) = (uncopied("privateSpaces"), uncopied("privateRepositories"));
        if spaces + repositories > 0 {
            let what = format!(
                "{spaces} private spaces and {repositories} private repositories have no copy; see tenant export"
            );
            lines.push(row("would be lost", what));
        }
        let first = report.pointer("/successors/0/did").and_then(Value::as_str).unwrap_or("nobody");
        lines.push(row("takes over", first));
        if report["writable"] == false {
            lines.push(row("writes", "refused: too few backups have confirmed this node of late"));
        }
    }
    for (did, copy) in report["standbys"].as_object().into_iter().flatten() {
        lines.push(row("standby", format!("{did}, complete up to event {copy}")));
    }
    if let Some(complete) = report["complete"].as_u64() {
        lines.push(row("copy", format!("complete up to event {complete} of the primary")));
    }
    if let Some(silent) = report["silentMs"].as_u64() {
        lines.push(row("heard", format!("{} s ago", silent / 1000)));
    }
    if let Some(stopped) = report["stopped"].as_str() {
        lines.push(row("stopped", stopped));
    }
    if let Some(kept) = report["keptVersions"].as_u64().filter(|kept| *kept > 0) {
        lines.push(row("conflicts", format!("{kept} second versions are kept")));
    }
    lines
}
