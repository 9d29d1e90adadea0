//! `angel peers`: the nodes this one knows, as it sees them.

use clap::Args;
use serde_json::Value;

use super::client::Daemon;
use super::exit::Failure;
use super::output::print;
use super::{Common, block_on};

#[derive(Args, Debug)]
pub(super) struct PeersArgs {
    /// Only nodes with this status: online, degraded, maintenance or offline.
    #[arg(long, value_name = "STATUS", value_parser = ["online", "degraded", "maintenance", "offline"])]
    status: Option<String>,
}

pub(super) fn peers(common: &Common, args: &PeersArgs) -> Result<(), Failure> {
    let daemon = Daemon::find(common)?;
    let mut answer = block_on(daemon.get("/api/federation/nodes?limit=1000"))??;
    if let (Some(status), Some(nodes)) = (&args.status, answer["nodes"].as_array_mut()) {
        nodes.retain(|node| node["status"] == status.as_str());
    }
    let header =
        format!("{:<24} {:<11} {:<8} {:>7} {:>8} {:>5}  DID", "NODE", "STATUS", "REACHED", "LATENCY", "UPTIME", "LOAD");
    let nodes = answer["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let lines: Vec<String> = std::iter::once(header).chain(nodes.iter().map(line)).collect();
    print(common, &answer, lines)?;
    Ok(())
}

fn line(node: &Value) -> String {
    let text = |pointer: &str| node.pointer(pointer).and_then(Value::as_str).unwrap_or("-").to_owned();
    let number = |pointer: &str| node.pointer(pointer).and_then(Value::as_u64);
    let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    format!(
        "{:<24} {:<11} {:<8} {:>7} {:>8} {:>5}  {}",
        text("/declared/nodeId"),
        text("/status"),
        text("/connection"),
        or_dash(number("/measured/latencyMs").map(|ms| format!("{ms} ms"))),
        or_dash(number("/measured/uptime").map(|points| format!("{}.{:02} %", points / 100, points % 100))),
        or_dash(number("/measured/loadScore").map(|score| format!("{score} %"))),
        text("/did"),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn a_node_is_one_line() {
        let node = json!({
            "did": "did:key:z6Mk", "status": "online", "connection": "direct", "declared": { "nodeId": "genesis-node-001" },
            "measured": { "latencyMs": 12, "uptime": 9_905, "loadScore": 40 },
        });
        let expected = "genesis-node-001         online      direct     12 ms  99.05 %  40 %  did:key:z6Mk";
        assert_eq!(super::line(&node), expected);
    }
}
