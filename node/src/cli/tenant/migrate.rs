//! `angel tenant migrate`.

use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::super::client::Daemon;
use super::super::exit::{Code, Failure};
use super::super::output::row;
use super::{Said, text};

/// How often it is asked how far the move is.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// For how long `--wait` waits at most: a large tenant over a slow line.
const WAIT_MAX: Duration = Duration::from_hours(24);

#[derive(Args, Debug)]
pub(in super::super) struct MigrateArgs {
    /// The tenant's short name, handle or DID.
    #[arg(value_name = "TENANT")]
    tenant: String,
    /// The node that it is to go to: its DID or its name.
    #[arg(long, value_name = "NODE")]
    to: String,
    /// Only find out whether it could be done.
    #[arg(long)]
    dry_run: bool,
    /// Why, for the record.
    #[arg(long, value_name = "WHY", default_value = "manual")]
    reason: Reason,
    /// Return at once; the move goes on without whoever watches.
    #[arg(long)]
    no_wait: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Reason {
    Manual,
    LoadBalancing,
    GeographicOptimization,
}

pub(super) async fn migrate(daemon: &Daemon, args: &MigrateArgs) -> Result<Said, Failure> {
    let reason = match args.reason {
        Reason::Manual => "manual",
        Reason::LoadBalancing => "load_balancing",
        Reason::GeographicOptimization => "geographic_optimization",
    };
    let to = node(daemon, &args.to).await?;
    let wish = json!({ "tenant": args.tenant, "toNode": to, "migrationType": reason, "dryRun": args.dry_run });
    let begun = daemon.post("/xrpc/co.kendev.network.migrateTenant", &wish).await?;
    if args.dry_run {
        return Ok((begun, vec![format!("{} can move to {to}; nothing was changed", args.tenant)]));
    }
    if args.no_wait {
        let words = lines(&begun);
        return Ok((begun, words));
    }
    watch(daemon, begun).await
}

/// The DID of a node that is named by it or by its name.
async fn node(daemon: &Daemon, named: &str) -> Result<String, Failure> {
    if named.starts_with("did:") {
        return Ok(named.to_owned());
    }
    let list = daemon.get("/api/federation/nodes?limit=1000").await?;
    let nodes = list["nodes"].as_array().cloned().unwrap_or_default();
    let found = nodes.iter().find(|node| node["nodeId"] == named || node["name"] == named);
    let found = found.and_then(|node| node["did"].as_str());
    let none = || Failure::new(Code::Usage, format!("no node is called {named}; `angel peers` lists them"));
    found.map(ToOwned::to_owned).ok_or_else(none)
}

/// Shows how a move goes until the target serves, or it has come to nothing.
pub(super) async fn watch(daemon: &Daemon, begun: Value) -> Result<Said, Failure> {
    let id = text(&begun, "id");
    let path = format!("/xrpc/co.kendev.network.getMigration?id={id}");
    let (started, mut shown) = (Instant::now(), String::new());
    loop {
        let view = daemon.get(&path).await?;
        let line = format!("{:10} {}", text(&view, "phase"), size(view["bytes"].as_u64().unwrap_or(0)));
        if line != shown {
            eprintln!("{line}");
            shown = line;
        }
        let words = lines(&view);
        match view["status"].as_str() {
            Some("completed" | "rolled_back") => return Ok((view, words)),
            Some("failed") => {
                let why = format!("the tenant was not moved, nothing has changed: {}", text(&view, "message"));
                return Err(Failure::new(Code::Daemon, why));
            }
            _ if started.elapsed() > WAIT_MAX => return Ok((view, words)),
            _ => tokio::time::sleep(ASK_EVERY).await,
        }
    }
}

/// A move for people.
pub(super) fn lines(view: &Value) -> Vec<String> {
    let mut lines = vec![
        row("move", text(view, "id")),
        row("tenant", text(view, "tenant")),
        row("from", text(view, "fromNode")),
        row("to", text(view, "toNode")),
        row("status", format!("{}, {}", text(view, "status"), text(view, "phase"))),
    ];
    if let Some(waited) = view["writesWaitedMs"].as_u64() {
        lines.push(row("writes", format!("waited for {waited} ms")));
    }
    if let (Some(here), Some(there)) = (view["sourceRoot"].as_str(), view["targetRoot"].as_str()) {
        let same = if here == there { "the same on both sides" } else { "different" };
        lines.push(row("root", format!("{there}, {same}")));
    }
    if let Some(until) = view["undoUntil"].as_str() {
        lines.push(row("undo", format!("until {until}, with `angel tenant rollback`")));
    }
    for line in view["log"].as_array().into_iter().flatten() {
        let said = text(line, "text");
        if said.contains(" IN TXT ") || said.contains(" IN CNAME ") {
            lines.push(row("name", said));
        }
    }
    lines
}

fn size(bytes: u64) -> String {
    match bytes {
        0 => String::new(),
        bytes if bytes < 1 << 20 => format!("{} KiB", bytes.div_ceil(1 << 10)),
        bytes => format!("{} MiB", bytes >> 20),
    }
}
