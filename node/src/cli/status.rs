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
    print(common, &answer, lines);
    Ok(())
}
