//! `angel ledger`: what was decided, as this node has it.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::client::Daemon;
use super::exit::{Code, Failure};
use super::output::print;
use super::{Common, block_on};

#[derive(Debug, Subcommand)]
pub(super) enum LedgerVerb {
    /// How far the ledger has got, and who decides it.
    Status,
    /// Show one decided height.
    Batch(BatchArgs),
    /// Walk the decided heights, check that each follows from the one before and has its certificate, and print the root.
    Audit(AuditArgs),
}

#[derive(Args, Debug)]
pub(super) struct BatchArgs {
    /// The height.
    #[arg(value_name = "HEIGHT")]
    height: u64,
}

#[derive(Args, Debug)]
pub(super) struct AuditArgs {
    /// Walk back no further than this many heights.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    last: u64,
}

pub(super) fn ledger(common: &Common, verb: &LedgerVerb) -> Result<(), Failure> {
    let daemon = Daemon::find(common)?;
    match verb {
        LedgerVerb::Status => status(common, &daemon),
        LedgerVerb::Batch(args) => batch(common, &daemon, args.height),
        LedgerVerb::Audit(args) => audit(common, &daemon, args.last),
    }
}

fn status(common: &Common, daemon: &Daemon) -> Result<(), Failure> {
    let answer = block_on(daemon.get("/api/federation/ledger"))??;
    let validators = answer["validators"].as_array().map_or(0, Vec::len);
    let role = if answer["isValidator"] == true { "this node is one" } else { "this node follows" };
    let bearing = match validators {
        1 => "single validator, no fault tolerance".to_owned(),
        count => format!("{} of them may be gone or lie", (count - 1) / 3),
    };
    let lines = vec![
        format!("network     {}", text(&answer, "network")),
        format!("height      {}", answer["height"]),
        format!("root        {}", text(&answer, "root")),
        format!("genesis     {}", text(&answer, "genesis")),
        format!("validators  {validators}: {role}; {bearing}"),
        format!("waiting     {} transactions", answer["waiting"]),
        format!("minted      {} micro-tokens", answer["minted"]),
    ];
    print(common, &answer, lines);
    Ok(())
}

fn batch(common: &Common, daemon: &Daemon, height: u64) -> Result<(), Failure> {
    let answer = block_on(daemon.get(&format!("/api/federation/ledger/{height}")))??;
    let mut lines = vec![
        format!("height    {height}"),
        format!("time      {}", text(&answer, "time")),
        format!("proposer  {}", text(&answer, "proposer")),
        format!("root      {}", text(&answer, "root")),
        format!("round     {}", answer["certificate"]["round"]),
    ];
    let list = |name: &str| answer.pointer(name).and_then(Value::as_array).cloned().unwrap_or_default();
    lines.extend(
        list("/certificate/validatorNodes").iter().filter_map(Value::as_str).map(|did| format!("signer    {did}")),
    );
    lines.extend(list("/transactions").iter().filter_map(Value::as_str).map(|id| format!("decided   {id}")));
    print(common, &answer, lines);
    Ok(())
}

/// What the daemon shows is compared height by height: each names the hash of the one before.
fn audit(common: &Common, daemon: &Daemon, last: u64) -> Result<(), Failure> {
    let status = block_on(daemon.get("/api/federation/ledger"))??;
    let tip = status["height"].as_u64().unwrap_or_default();
    let first = tip.saturating_sub(last).max(1);
    let mut newest = None;
    let mut after: Option<(u64, String)> = None;
    for height in (first..=tip).rev() {
        let shown = block_on(daemon.get(&format!("/api/federation/ledger/{height}")))??;
        let value = text(&shown["certificate"], "value").to_owned();
        if let Some((above, previous)) = &after
            && *previous != value
        {
            let words = format!("height {above} follows {previous}, but height {height} decided {value}");
            return Err(Failure::new(Code::DamagedData, words));
        }
        after = Some((height, text(&shown, "previous").to_owned()));
        newest.get_or_insert_with(|| text(&shown, "root").to_owned());
    }
    let root = newest.unwrap_or_else(|| text(&status, "root").to_owned());
    let answer = serde_json::json!({ "height": tip, "root": root, "checked": (first..=tip).count() });
    let lines = vec![format!("height {tip}  root {root}  ({} heights checked)", answer["checked"])];
    print(common, &answer, lines);
    Ok(())
}

fn text<'a>(answer: &'a Value, name: &str) -> &'a str {
    answer[name].as_str().unwrap_or_default()
}
