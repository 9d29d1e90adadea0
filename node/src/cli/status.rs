//! `angel status`: how the running node is.

use super::client::Daemon;
use super::exit::Failure;
use super::output::{print, row};
use super::{Common, block_on};

pub(super) fn status(common: &Common) -> Result<(), Failure> {
    let daemon = Daemon::find(common)?;
    let answer = block_on(daemon.get("/admin/status"))??;
    let text = |pointer: &str| answer.pointer(pointer).and_then(|value| value.as_str()).unwrap_or("-").to_owned();
    let number = |pointer: &str| answer.pointer(pointer).and_then(serde_json::Value::as_u64).unwrap_or(0);
    let mut lines = vec![
        row("name", text("/node/name")),
        row("node id", text("/node/nodeId")),
        row("did", text("/node/did")),
        row("peer id", text("/node/peerId")),
        row("network", text("/node/network")),
        row("http", text("/node/httpAddr")),
        row("version", text("/node/version")),
        row("uptime", format!("{} s", number("/uptimeSeconds"))),
        row(
            "load",
            format!(
                "processor {} %, memory {} %, disk {} of {} GB",
                number("/load/cpuPercent"),
                number("/load/memoryPercent"),
                number("/load/diskUsedBytes") / 1_000_000_000,
                number("/load/diskCapacityBytes") / 1_000_000_000,
            ),
        ),
        row("health", text("/health/status")),
    ];
    let services = answer.pointer("/health/services").and_then(|services| services.as_object());
    for (name, state) in services.into_iter().flatten() {
        let why = answer.pointer(&format!("/health/reasons/{name}")).and_then(|why| why.as_str());
        let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
        lines.push(row(&format!("  {name}"), format!("{}{why}", state.as_str().unwrap_or("-"))));
    }
    let replicas = block_on(daemon.get("/admin/replicas"))??;
    for tenant in replicas["tenants"].as_array().into_iter().flatten() {
        lines.extend(tenant_lines(tenant));
    }
    let losses = block_on(daemon.get("/admin/replicas/losses"))??;
    lines.extend(loss_lines(&losses));
    let mut answer = answer;
    answer["tenants"] = replicas["tenants"].clone();
    answer["ifThisMachineDies"] = losses;
    print(common, &answer, lines)?;
    Ok(())
}

/// "If this machine dies now".
fn loss_lines(losses: &serde_json::Value) -> Vec<String> {
    let mut lines = vec!["if this machine dies now".to_owned()];
    if losses["nodesReachable"] == 0 {
        lines.push(row("", "this node is alone: everything on it that is in no backup is lost"));
    }
    lines.push(row(
        "  backup",
        match losses["lastBackup"].as_object() {
            None => "there is none: what has no copy elsewhere is gone".to_owned(),
            Some(last) => format!(
                "the last is {} s old, in {}, {}",
                last["ageSeconds"],
                last["place"].as_str().unwrap_or("-"),
                if last["verified"] == true { "verified" } else { "NOT verified" }
            ),
        },
    ));
    for tenant in losses["tenants"].as_array().into_iter().flatten() {
        lines.push(row("  tenant", tenant["did"].as_str().unwrap_or("-")));
        lines.extend(crate::losses::words(tenant).into_iter().map(|words| row("", words)));
    }
    lines
}

/// What this node is to a tenant.
fn tenant_lines(tenant: &serde_json::Value) -> Vec<String> {
    let text = |name: &str| tenant[name].as_str().unwrap_or("-").to_owned();
    let mut lines = vec![row("tenant", format!("{}: {} in epoch {}", text("did"), text("role"), tenant["epoch"]))];
    if let Some(complete) = tenant["complete"].as_u64() {
        let silent = tenant["silentMs"].as_u64().unwrap_or_default() / 1000;
        lines.push(row("", format!("a copy, complete up to event {complete}; the primary was heard {silent} s ago")));
    }
    if let Some(stopped) = tenant["stopped"].as_str() {
        lines.push(row("", format!("stopped: {stopped}")));
    }
    lines
}
