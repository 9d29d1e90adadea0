//! `angel ledger`: what was decided, as this node has it.

use std::path::{Path, PathBuf};

use angel_protocol::ledger::{Batch, Genesis, Header, MemoryView, Strict, ViewError, apply, rows};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::Daemon;
use super::exit::{Code, Failure};
use super::output::print;
use super::{Common, block_on};
use crate::http::audit::WholeHeight;
use crate::http::ledger::hex;

#[derive(Debug, Subcommand)]
pub(super) enum LedgerVerb {
    /// How far the ledger has got, and who decides it.
    Status,
    /// Show one decided height.
    Batch(BatchArgs),
    /// Decide everything again from the genesis on: every signature, certificate and batch is checked here, and the root
    /// that results is printed. The daemon is asked for bytes alone, and not believed.
    Audit(AuditArgs),
    /// Show the proofs this node has of validators that contradicted themselves.
    Evidence,
}

#[derive(Args, Debug)]
pub(super) struct BatchArgs {
    /// The height.
    #[arg(value_name = "HEIGHT")]
    height: u64,
}

#[derive(Args, Debug)]
pub(super) struct AuditArgs {
    /// The genesis that you trust; without it, the one that the daemon shows.
    #[arg(long, value_name = "FILE")]
    genesis: Option<PathBuf>,
}

pub(super) fn ledger(common: &Common, verb: &LedgerVerb) -> Result<(), Failure> {
    let daemon = Daemon::find(common)?;
    match verb {
        LedgerVerb::Status => status(common, &daemon),
        LedgerVerb::Batch(args) => batch(common, &daemon, args.height),
        LedgerVerb::Audit(args) => audit(common, &daemon, args.genesis.as_deref()),
        LedgerVerb::Evidence => evidence(common, &daemon),
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
    print(common, &answer, lines)?;
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
    print(common, &answer, lines)?;
    Ok(())
}

fn evidence(common: &Common, daemon: &Daemon) -> Result<(), Failure> {
    let answer = block_on(daemon.get("/api/federation/ledger/evidence"))??;
    let found = answer["evidence"].as_array().cloned().unwrap_or_default();
    let line =
        |it: &Value| format!("height {}  {} signed two {}s", it["height"], text(it, "validator"), text(it, "kind"));
    let mut lines: Vec<_> = found.iter().map(line).collect();
    if lines.is_empty() {
        lines.push("no validator has contradicted itself, as far as this node has seen".to_owned());
    }
    print(common, &answer, lines)?;
    Ok(())
}

/// A ledger that is decided again.
struct Audit {
    view: MemoryView,
    header: Header,
    transactions: u64,
}

fn damaged(words: String) -> Failure {
    Failure::new(Code::DamagedData, words)
}

impl Audit {
    fn begin(genesis: &Genesis) -> Result<Self, Failure> {
        let (changes, header) = genesis.rows().map_err(|error| damaged(format!("the genesis: {error}")))?;
        let mut view = MemoryView::new();
        view.write(changes);
        Ok(Self { view, header, transactions: 0 })
    }

    /// Decides one height again.
    fn follow(&mut self, whole: WholeHeight) -> Result<(), Failure> {
        let WholeHeight { header, certificate, batch } = whole;
        let height = self.header.height + 1;
        let wrong = |why: &dyn std::fmt::Display| damaged(format!("height {height}: {why}"));
        let unreadable = |error: ViewError| wrong(&error);
        let batch = Batch::decode(&batch).map_err(|error| wrong(&error))?;
        let validators = rows::validators(&self.view).map_err(unreadable)?.unwrap_or_default();
        certificate.verify(&validators).map_err(|error| wrong(&error))?;
        if (certificate.height, &certificate.network) != (height, &self.header.network) {
            return Err(wrong(&"its certificate is of another height or network"));
        }
        if certificate.value.0 != header.hash() {
            return Err(wrong(&"its certificate is for another header"));
        }
        let applied = apply(&self.view, &batch, &Strict).map_err(|error| wrong(&error))?;
        if applied.header != header {
            return Err(wrong(&"its batch leads to another state than the one decided"));
        }
        if !applied.fit() {
            return Err(wrong(&"its batch holds a transaction that may not be decided"));
        }
        self.transactions += batch.transactions.len() as u64;
        self.view.write(applied.changes);
        self.header = header;
        Ok(())
    }
}

fn audit(common: &Common, daemon: &Daemon, trusted: Option<&Path>) -> Result<(), Failure> {
    let genesis: Genesis = match trusted {
        Some(path) => crate::ledger::genesis::read(path)?,
        None => {
            let shown = block_on(daemon.get_bytes("/api/federation/ledger/genesis"))??;
            serde_json::from_slice(&shown).map_err(|error| damaged(format!("the genesis: {error}")))?
        }
    };
    let mut audit = Audit::begin(&genesis)?;
    let began = std::time::Instant::now();
    loop {
        let next = audit.header.height + 1;
        let bytes = block_on(daemon.get_bytes(&format!("/api/federation/ledger/heights/{next}")))??;
        let heights: Vec<WholeHeight> =
            serde_ipld_dagcbor::from_slice(&bytes).map_err(|error| damaged(format!("height {next}: {error}")))?;
        if heights.is_empty() {
            break;
        }
        heights.into_iter().try_for_each(|height| audit.follow(height))?;
    }
    let status = block_on(daemon.get(&format!("/api/federation/ledger/{}", audit.header.height)));
    let root = hex(&audit.header.root);
    // Height 0 was decided by nobody, and is not shown.
    if let Ok(Ok(shown)) = status
        && text(&shown, "root") != root
    {
        return Err(damaged(format!(
            "the daemon shows the root {} for height {}",
            text(&shown, "root"),
            audit.header.height
        )));
    }
    let Audit { header, transactions, .. } = audit;
    let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let answer = json!({
        "network": header.network, "height": header.height, "root": root, "genesis": hex(&genesis.hash()),
        "transactions": transactions, "milliseconds": millis,
    });
    let lines = vec![format!(
        "height {}  root {root}  ({transactions} transactions decided again from the genesis {})",
        header.height,
        hex(&genesis.hash())
    )];
    print(common, &answer, lines)?;
    Ok(())
}

fn text<'a>(answer: &'a Value, name: &str) -> &'a str {
    answer[name].as_str().unwrap_or_default()
}
