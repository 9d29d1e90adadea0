//! What the store pays for a decided transfer: its proposal kept, then its height written, by engine.
//! `cargo bench -p angel-storage --bench ledger [-- sled fjall]`.
//!
//! The heights are made beforehand; measured is the processor time of this process, with the engines' own threads, and
//! what reaches the disk.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use angel_protocol::crypto::{Domain, NodeKey, Signature};
use angel_protocol::ids::Did;
use angel_protocol::ledger::action::{Exchange, Holder, Region};
use angel_protocol::ledger::certificate::{Certificate, ValueHash};
use angel_protocol::ledger::genesis::{GenesisNode, GenesisWallet};
use angel_protocol::ledger::parameters::Currency;
use angel_protocol::ledger::*;
use angel_protocol::time::Timestamp;
use angel_storage::engine::EngineKind;
use angel_storage::ledger::undecided::{self, Undecided};
use angel_storage::ledger::{self, Decision, LedgerView, decided};
use angel_storage::{Batch as Rows, Options, Store};

const START: Timestamp = Timestamp::from_millis(1_767_225_600_000);
const WALLETS: usize = 512;
const BATCH: usize = 1_500;

fn key(number: u64) -> NodeKey {
    let mut seed = [7; 32];
    seed[..8].copy_from_slice(&number.to_be_bytes());
    NodeKey::from_seed(&seed)
}

/// Finds every signature good: they are not what is measured.
struct Trusting;

impl Signatures for Trusting {
    fn holds(&self, _: &[u8; 32], _: Domain, _: &[u8], _: &Signature) -> bool {
        true
    }

    fn transaction_holds(&self, _: &[u8; 32], _: &Signed) -> bool {
        true
    }
}

fn a_genesis(keys: &[NodeKey]) -> Genesis {
    let node = key(u64::MAX).did();
    let mut parameters = Parameters::new(node.clone());
    parameters.transactions_per_hour = 1_000_000;
    let wallet = |key: &NodeKey| GenesisWallet {
        account: key.did(),
        key: key.public().to_bytes(),
        holder: Holder::Person,
        home: node.clone(),
        grant: Amount::tokens(1000),
        human: true,
    };
    Genesis {
        network: "bench-dev".parse().expect("a name"),
        time: START,
        parameters,
        wallets: keys.iter().map(wallet).collect(),
        nodes: vec![GenesisNode {
            did: node.clone(),
            name: "bench".parse().expect("a name"),
            operator: node.clone(),
            region: Region::Europe,
            hosts: true,
            validator: true,
        }],
    }
}

fn batch(height: u64, keys: &[NodeKey], accounts: &[Did], next: &mut [u64]) -> Batch {
    let time = START + Duration::from_secs(height);
    let transactions = (0..BATCH).map(|index| {
        let payer = (height as usize * BATCH + index) % WALLETS;
        let sequence = next[payer];
        next[payer] += 1;
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&sequence.to_be_bytes());
        let action = Action::CrossTenantExchange(Exchange {
            to: accounts[(payer + 1) % WALLETS].clone(),
            from_tenant: None,
            to_tenant: None,
            amount: Amount::new(1).expect("small"),
            currency: Currency::AngelTokens,
            quote: None,
            reason: String::new(),
        });
        let transaction = Transaction {
            network: "bench-dev".parse().expect("a name"),
            wallet: accounts[payer].clone(),
            sequence,
            nonce,
            expires: time + Duration::from_hours(1),
            action,
        };
        Signed::sign(&transaction, &keys[payer]).expect("within bounds")
    });
    Batch { height, time, transactions: transactions.collect() }
}

/// Processor time of this process so far.
fn processor() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<_> = stat.rsplit(')').next().expect("a name in brackets").split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().expect("ticks") + fields[12].parse::<u64>().expect("ticks");
    Duration::from_millis(ticks * 10)
}

/// Bytes that this process has written so far.
fn written() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").expect("Linux");
    let bytes = io.lines().find_map(|line| line.strip_prefix("wchar: ")).expect("bytes");
    bytes.parse().expect("a number")
}

fn measure(engine: EngineKind, heights: u64) {
    let keys: Vec<_> = (0..WALLETS as u64).map(key).collect();
    let accounts: Vec<_> = keys.iter().map(NodeKey::did).collect();
    let mut next = vec![0; WALLETS];
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::open(&dir.path().join("store"), Options::new(engine, "bench")).expect("opens");
    let (changes, _) = a_genesis(&keys).rows().expect("a genesis");
    let mut memory = MemoryView::new();
    memory.write(changes.clone());
    let validators = rows::validators(&memory).expect("reads").expect("there");
    ledger::genesis(store.writer(), &changes, &validators).expect("written");

    let (mut cost, mut bytes, mut took) = (Duration::ZERO, 0, Duration::ZERO);
    let mut by_kind: BTreeMap<u8, (usize, usize)> = BTreeMap::new();
    for height in 1..=heights {
        let batch = batch(height, &keys, &accounts, &mut next);
        let applied = apply(&memory, &batch, &Trusting).expect("applies");
        assert!(applied.entries.iter().all(|entry| entry.outcome == Outcome::Posted), "{:?}", applied.entries[0]);
        memory.write(applied.changes.clone());
        for (key, value) in &applied.changes {
            let kind = by_kind.entry(key[0]).or_default();
            *kind = (kind.0 + 1, kind.1 + key.len() + value.as_ref().map_or(0, Vec::len));
        }
        let value = ValueHash(applied.header.hash());
        let (header, proposer) = (applied.header.clone(), accounts[0].clone());
        let certificate =
            Certificate { network: header.network.clone(), height, round: 0, value, signatures: Vec::new() };
        let decision = Decision { header, certificate, proposer: proposer.clone(), transactions: BATCH as u32 };
        let body = batch.encode();

        let (began, before, written_before) = (Instant::now(), processor(), written());
        let mut kept = Rows::new();
        let proposal = Undecided { round: 0, pol_round: None, proposer, body: body.clone() };
        undecided::keep(&mut kept, height, value.0, &proposal).expect("fits");
        store.writer().commit(kept).expect("kept");
        ledger::decide(store.reader(), store.writer(), decision, &applied, &body).expect("decided");
        took += began.elapsed();
        cost += processor() - before;
        bytes += written() - written_before;
        let read = decided::transaction(store.reader(), height, 7).expect("reads");
        assert_eq!(read.as_ref(), batch.transactions.get(7), "one transaction of its batch");
    }
    let transfers = heights as f64 * BATCH as f64;
    println!(
        "{engine:?}: {:.1} µs of processor time, {:.1} µs until durable and {:.0} bytes written for each transfer of \
         {heights} heights of {BATCH}",
        cost.as_secs_f64() * 1e6 / transfers,
        took.as_secs_f64() * 1e6 / transfers,
        bytes as f64 / transfers,
    );
    for (kind, (count, bytes)) in by_kind {
        println!(
            "  state rows of table {kind:#04x}: {:.2} and {:.0} bytes for each transfer",
            count as f64 / transfers,
            bytes as f64 / transfers
        );
    }
    assert_eq!(rows::head(&LedgerView(store.reader())).expect("reads").expect("there").height, heights);
    store.close().expect("closes");
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let wanted = |name: &str| !arguments.iter().any(|it| !it.starts_with('-')) || arguments.iter().any(|it| it == name);
    // `cargo test --benches` passes no `--bench`: then a small run shows that it works.
    let heights = if arguments.iter().any(|argument| argument == "--bench") { 30 } else { 2 };
    if wanted("sled") {
        measure(EngineKind::Sled, heights);
    }
    if wanted("fjall") {
        measure(EngineKind::Fjall, heights);
    }
}
