//! `angel tenant place`.

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::super::client::Daemon;
use super::super::exit::Failure;
use super::Said;
use super::backups::lines;

#[derive(Args, Debug)]
pub(in super::super) struct PlaceArgs {
    /// The tenant's short name, handle or DID.
    #[arg(value_name = "TENANT")]
    tenant: String,
    /// How it is spread [default: as it is, else multi-node-replica].
    #[arg(long, value_name = "STRATEGY")]
    strategy: Option<StrategyArg>,
    /// Where it may lie [default: as it is, else global].
    #[arg(long, value_name = "REGION")]
    residency: Option<ResidencyArg>,
    /// How many backups; nodes that consent are chosen [default: as many as the strategy asks for].
    #[arg(long, value_name = "N")]
    backups: Option<usize>,
    /// A node that is to be a backup, by DID; name each, instead of a choice.
    #[arg(long = "node", value_name = "DID")]
    nodes: Vec<String>,
    /// A node that speaks instead of a majority where there are two hosts, by DID.
    #[arg(long, value_name = "DID")]
    witness: Option<String>,
    /// A node that keeps an archive which only the owner's recovery key opens, by DID; name each [default: as they are].
    #[arg(long = "vault", value_name = "DID", conflicts_with = "no_vaults")]
    vaults: Vec<String>,
    /// No vault keeps an archive of it any more.
    #[arg(long)]
    no_vaults: bool,
    /// The owner's recovery key for vaults (age1…), proved with `angel backup key` [default: as it is, else the one that was
    /// proved].
    #[arg(long, value_name = "RECIPIENT")]
    recovery: Option<String>,
    /// When a write is answered: once it is safe here ("local"), or once a standby has it too ("replicated").
    #[arg(long, value_name = "WHEN")]
    ack: Option<AckArg>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum StrategyArg {
    SingleNode,
    MultiNodeReplica,
    GeoDistributed,
    LoadBalanced,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ResidencyArg {
    Us,
    Eu,
    Asia,
    Global,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum AckArg {
    Local,
    Replicated,
}

pub(super) async fn place(daemon: &Daemon, args: PlaceArgs) -> Result<Said, Failure> {
    let name = |value: &dyn std::fmt::Debug| Value::from(snake(&format!("{value:?}")));
    let body = json!({
        "account": args.tenant,
        "wish": {
            "strategy": args.strategy.map(|it| name(&it)),
            "residency": args.residency.map(|it| name(&it)),
            "backups": args.backups,
            "nodes": args.nodes,
            "witness": args.witness,
            "vaults": (args.no_vaults || !args.vaults.is_empty()).then_some(args.vaults),
            "recovery": args.recovery,
            "waitsForStandby": args.ack.map(|ack| ack == AckArg::Replicated),
        },
    });
    let answer = daemon.post("/admin/replicas/place", &body).await?;
    let words = lines(&answer);
    Ok((answer, words))
}

/// `GeoDistributed` as the wire has it.
fn snake(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.extend(letter.to_lowercase());
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_as_the_wire_has_them() {
        assert_eq!(super::snake("MultiNodeReplica"), "multi_node_replica");
        assert_eq!(super::snake("Us"), "us");
    }
}
