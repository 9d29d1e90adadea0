//! What a transfer costs: checking its signature, applying it with and without that, at a thousand to a million wallets;
//! and what a proof costs. `cargo bench -p angel-protocol --bench ledger`.

use std::collections::HashMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use angel_protocol::crypto::NodeKey;
use angel_protocol::ids::Did;
use angel_protocol::ledger::action::{Exchange, Holder, Region};
use angel_protocol::ledger::genesis::{GenesisNode, GenesisWallet};
use angel_protocol::ledger::parameters::Currency;
use angel_protocol::ledger::tree::{self, prove};
use angel_protocol::ledger::*;
use angel_protocol::time::Timestamp;

const START: Timestamp = Timestamp::from_millis(1_767_225_600_000);
const BATCH: usize = 2000;
const BATCHES: u64 = 8;

fn key(number: u64) -> NodeKey {
    let mut seed = [7; 32];
    seed[..8].copy_from_slice(&number.to_be_bytes());
    NodeKey::from_seed(&seed)
}

fn account(number: usize) -> Did {
    format!("did:plc:{number:024}").parse().expect("a DID")
}

/// Rows in one piece of memory, so that a million of them do not lie between the allocations that are measured.
#[derive(Default)]
struct Rows {
    places: HashMap<([u8; 60], usize), Range<usize>>,
    bytes: Vec<u8>,
}

impl Rows {
    fn name(key: &[u8]) -> ([u8; 60], usize) {
        let mut name = [0; 60];
        name[..key.len()].copy_from_slice(key);
        (name, key.len())
    }

    fn write(&mut self, changes: Changes) {
        for (key, value) in changes {
            match value {
                Some(value) => {
                    let place = self.bytes.len()..self.bytes.len() + value.len();
                    self.bytes.extend_from_slice(&value);
                    self.places.insert(Self::name(&key), place);
                }
                None => drop(self.places.remove(&Self::name(&key))),
            }
        }
    }
}

impl View for Rows {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError> {
        Ok(self.places.get(&Self::name(key)).map(|place| self.bytes[place.clone()].to_vec()))
    }
}

struct Ledger {
    view: Rows,
    height: u64,
    payers: Vec<NodeKey>,
    wallets: usize,
}

impl Ledger {
    fn new(wallets: usize) -> Self {
        let node = key(u64::MAX).did();
        let payers: Vec<_> = (0..wallets.min(BATCH)).map(|number| key(number as u64)).collect();
        let wallet = |number: usize| GenesisWallet {
            account: account(number),
            key: payers.get(number).map_or([9; 32], |key| key.public().to_bytes()),
            holder: Holder::Person,
            home: node.clone(),
            grant: Amount::tokens(1000),
            human: true,
        };
        let genesis = Genesis {
            network: "bench-dev".parse().expect("a name"),
            time: START,
            parameters: Parameters::new(account(0)),
            nodes: vec![GenesisNode {
                did: node.clone(),
                name: "bench".parse().expect("a name"),
                operator: account(0),
                region: Region::Europe,
                hosts: true,
                validator: true,
            }],
            wallets: (0..wallets).map(wallet).collect(),
        };
        let begun = Instant::now();
        let (changes, _) = genesis.rows().expect("valid");
        println!("{wallets} wallets: genesis in {:?}, {} rows", begun.elapsed(), changes.len());
        let mut view = Rows::default();
        view.write(changes);
        Self { view, height: 0, payers, wallets }
    }

    /// A batch in which every payer pays one receiver from anywhere.
    fn batch(&self) -> Batch {
        let height = self.height + 1;
        // An hour apart, so that no wallet reaches its hourly number.
        let time = START + Duration::from_hours(1) * u32::try_from(height).expect("few");
        let transactions = (0..BATCH).map(|index| {
            let payer = index % self.payers.len();
            let mut nonce = [0; 16];
            nonce[..8].copy_from_slice(&height.to_be_bytes());
            nonce[8..].copy_from_slice(&(index as u64).to_be_bytes());
            let spread = (index as u64 * 7919 + height * 104_729) as usize % self.wallets;
            let to = if spread == payer { (spread + 1) % self.wallets } else { spread };
            let rounds = (BATCH / self.payers.len()) as u64;
            let transaction = Transaction {
                network: "bench-dev".parse().expect("a name"),
                wallet: account(payer),
                sequence: (height - 1) * rounds + (index / self.payers.len()) as u64,
                nonce,
                expires: time + Duration::from_hours(1),
                action: Action::CrossTenantExchange(Exchange {
                    to: account(to),
                    from_tenant: None,
                    to_tenant: None,
                    amount: Amount::new(1000).expect("small"),
                    currency: Currency::AngelTokens,
                    quote: None,
                    reason: "bench".into(),
                }),
            };
            Signed::sign(&transaction, &self.payers[payer]).expect("within bounds")
        });
        Batch { height, time, transactions: transactions.collect() }
    }
}

fn micros(time: Duration, count: usize) -> f64 {
    time.as_secs_f64() * 1e6 / count as f64
}

/// What a transfer costs at so many wallets, in microseconds: checking its signature together with those of its batch,
/// and applying it once that is known.
fn measure(wallets: usize) -> [f64; 2] {
    let mut ledger = Ledger::new(wallets);
    let mut best = [f64::MAX; 5];
    for _ in 0..BATCHES {
        let batch = ledger.batch();
        let encoded = batch.encode();
        let begun = Instant::now();
        let decoded = Batch::decode(&encoded).expect("its own encoding");
        let decode = micros(begun.elapsed(), BATCH);

        let keys = |index: usize| ledger.payers[index % ledger.payers.len()].public().to_bytes();
        let points = |index: usize| ledger.payers[index % ledger.payers.len()].public();
        let claims: Vec<_> = decoded.transactions.iter().enumerate().map(|(index, it)| (points(index), it)).collect();
        let begun = Instant::now();
        assert!(transactions_hold(&claims).into_iter().all(|holds| holds));
        let together = micros(begun.elapsed(), BATCH);

        let mut remembered = Remembered::new();
        let begun = Instant::now();
        for (index, signed) in decoded.transactions.iter().enumerate() {
            assert!(remembered.check(&keys(index), signed));
        }
        let verify = micros(begun.elapsed(), BATCH);

        let begun = Instant::now();
        let strict = apply(&ledger.view, &decoded, &Strict).expect("the next batch");
        let with = micros(begun.elapsed(), BATCH);
        let begun = Instant::now();
        let applied = apply(&ledger.view, &decoded, &remembered).expect("the next batch");
        let without = micros(begun.elapsed(), BATCH);
        assert_eq!(applied, strict);
        assert!(applied.entries.iter().all(|entry| entry.outcome == Outcome::Posted), "{:?}", applied.entries[0]);
        for (best, time) in best.iter_mut().zip([decode, verify, together, with, without]) {
            *best = best.min(time);
        }
        ledger.view.write(applied.changes);
        ledger.height += 1;
    }
    let [decode, verify, together, with, without] = best;
    println!("  per transfer, best of {BATCHES} batches of {BATCH}:");
    println!(
        "  decode {decode:.1} µs; verify {verify:.1} µs alone, {together:.1} µs together; apply {without:.1} µs, and \
         {with:.1} µs with every signature checked alone"
    );
    let root = tree::root(&ledger.view).expect("memory reads");
    let (mut proving, mut verifying, mut size) = (Duration::ZERO, Duration::ZERO, 0);
    for number in (0..1000).map(|index| index * 7919 % wallets) {
        let key = [&[0x10], account(number).as_str().as_bytes()].concat();
        let begun = Instant::now();
        let proof = prove(&ledger.view, &key).expect("memory reads");
        proving += begun.elapsed();
        let value = ledger.view.get(&key).expect("memory reads");
        let begun = Instant::now();
        assert_eq!(proof.verify(&root, &key, value.as_deref()), Ok(()));
        verifying += begun.elapsed();
        size += proof.encoded_len();
    }
    println!(
        "  proof: {} bytes, made in {:.1} µs, checked in {:.1} µs",
        size / 1000,
        micros(proving, 1000),
        micros(verifying, 1000)
    );
    [together, without]
}

fn main() {
    // `cargo test --benches` passes no `--bench`: then a small run shows that it works.
    if std::env::args().any(|argument| argument == "--bench") {
        let [_, few] = measure(1_000);
        measure(100_000);
        let [together, many] = measure(1_000_000);
        println!("applying at a million wallets costs {:.2} times what it does at a thousand,", many / few);
        println!("and {:.2} times what checking the signatures together does", many / together);
    } else {
        measure(1_000);
    }
}
