//! What a repository costs: one more record at several sizes, a whole signed commit, and CAR files.
//!
//! `cargo bench -p angel-protocol --bench repo`. Prints medians; a size is one line, so that growth is seen down the
//! column. Cost per commit may grow by at most half from a thousand records to a million.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use angel_protocol::crypto::{P256Key, Secp256k1Key, SigningKey};
use angel_protocol::data::{Block, Cid, Codec};
use angel_protocol::ids::{Did, RepoPath, Tid};
use angel_protocol::repo::car::{CarLimits, CarReader};
use angel_protocol::repo::mst::{Mst, MstKey};
use angel_protocol::repo::{BlockSource, Commit, CommitMessage, Export, Repository, SourceError, Write, verify_commit};

/// Blocks in a hash map, so that the tree is measured and not its storage.
#[derive(Default)]
struct Blocks(HashMap<Cid, Arc<[u8]>>);

impl Blocks {
    fn extend<'a>(&mut self, blocks: impl IntoIterator<Item = &'a Block>) {
        self.0.extend(blocks.into_iter().map(|block| (block.cid(), Arc::clone(block.bytes()))));
    }
}

impl BlockSource for Blocks {
    fn get(&self, cid: &Cid) -> Result<Option<Arc<[u8]>>, SourceError> {
        Ok(self.0.get(cid).cloned())
    }
}

const SAMPLES: u64 = 2000;
const COLLECTIONS: [&str; 4] = ["app.bsky.feed.like", "app.bsky.feed.post", "app.bsky.graph.follow", "co.kendev.chat"];

/// The path of the `n`th record: collections take turns, record keys are times, as clients make them.
fn path(n: u64) -> RepoPath {
    let rkey = Tid::new(1_700_000_000_000_000 + n * 977, 7);
    let collection = COLLECTIONS[usize::try_from(n).expect("small") % COLLECTIONS.len()];
    RepoPath::new(collection.parse().expect("an NSID"), rkey.into())
}

fn key(n: u64) -> MstKey {
    MstKey::try_from(&path(n)).expect("an ordinary key")
}

fn record(n: u64) -> Block {
    let value = angel_protocol::data::from_json(&serde_json::json!({
        "$type": "app.bsky.feed.post",
        "text": format!("record {n} {}", "with some words in it ".repeat(8)),
        "createdAt": "2026-11-21T09:00:00.000Z",
    }));
    Block::new(Codec::DagCbor, angel_protocol::data::cbor::encode(&value.expect("a record")))
}

fn median(mut samples: Vec<Duration>) -> f64 {
    samples.sort();
    samples[samples.len() / 2].as_nanos() as f64 / 1000.0
}

fn time<T>(samples: &mut Vec<Duration>, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    samples.push(start.elapsed());
    result
}

fn signing_key() -> SigningKey {
    Secp256k1Key::from_bytes(&[7; 32]).expect("a scalar").into()
}

fn did() -> Did {
    "did:plc:yk4dd2qkboz2yv6tpubpc6co".parse().expect("a DID")
}

/// A tree of `count` records, and its nodes.
fn build(count: u64) -> (Mst, Blocks) {
    let mut tree = Mst::empty();
    let mut blocks = Blocks::default();
    for n in 0..count {
        tree.add(&blocks, &key(n), record_cid(n)).expect("new");
    }
    blocks.extend(&tree.commit().new);
    (tree, blocks)
}

fn record_cid(n: u64) -> Cid {
    Cid::of(Codec::DagCbor, &n.to_be_bytes())
}

fn grow(count: u64) {
    let (mut tree, mut blocks) = build(count);
    let (mut add, mut commit, mut cold) = (Vec::new(), Vec::new(), Vec::new());
    let (mut nodes, mut bytes) = (0, 0);
    let mut root = tree.commit().root;
    let keys: Vec<_> = (count..count + SAMPLES).map(key).collect();
    for (key, n) in keys.iter().zip(count..) {
        time(&mut cold, || {
            let mut tree = Mst::open(root);
            tree.add(&blocks, key, record_cid(n)).expect("new");
            tree.commit()
        });
        time(&mut add, || tree.add(&blocks, key, record_cid(n)).expect("new"));
        let changes = time(&mut commit, || tree.commit());
        root = changes.root;
        nodes += changes.new.len();
        bytes += changes.new.iter().map(|block| block.bytes().len()).sum::<usize>();
        blocks.extend(&changes.new);
    }
    let per = |total: usize| total as f64 / SAMPLES as f64;
    println!(
        "{count:>9} records: add {:>5.1} µs, hash {:>5.1} µs, both from nothing in memory {:>5.1} µs; {:.1} nodes, {:.0} bytes",
        median(add),
        median(commit),
        median(cold),
        per(nodes),
        per(bytes),
    );
}

fn commits(count: u64) {
    let (mut tree, mut blocks) = build(count);
    let head = Commit { did: did(), data: tree.commit().root, rev: Tid::new(1, 1), prev: None }.sign(&signing_key());
    let mut repository = Repository::open(head);
    let (mut write, mut verify, mut follow, mut sent) = (Vec::new(), Vec::new(), Vec::new(), 0);
    let public = signing_key().public();
    for n in count..count + SAMPLES {
        let writes = vec![Write::Create { path: path(n), record: record(n) }];
        let rev = Tid::new(n + 2, 1);
        let next = time(&mut write, || repository.write(&blocks, writes, rev, &signing_key()).expect("possible"));
        let car = next.car();
        sent += car.len();
        let message = CommitMessage {
            repo: next.repository.head().did(),
            commit: next.repository.head().cid(),
            rev,
            since: next.since,
            prev_data: next.prev_data,
            changes: &next.changes,
            car: &car,
        };
        let verified = time(&mut verify, || verify_commit(message, public).expect("sound"));
        time(&mut follow, || repository.follow(&blocks, verified).expect("the next"));
        blocks.extend(next.blocks());
        repository = next.repository;
    }
    println!(
        "{count:>9} records: write and sign {:>5.1} µs, verify {:>5.1} µs, follow {:>5.1} µs; {} bytes sent",
        median(write),
        median(verify),
        median(follow),
        sent / usize::try_from(SAMPLES).expect("small"),
    );
}

fn car(count: u64) {
    let (mut tree, mut blocks) = build(0);
    for n in 0..count {
        let record = record(n);
        tree.add(&blocks, &key(n), record.cid()).expect("new");
        blocks.extend([&record]);
    }
    let changes = tree.commit();
    blocks.extend(&changes.new);
    let head = Commit { did: did(), data: changes.root, rev: Tid::new(1, 1), prev: None }.sign(&signing_key());
    let (mut written, mut read) = (Duration::MAX, Duration::MAX);
    let (mut bytes, mut found) = (0, 0_u64);
    // The best of several: a whole file takes long enough for others to get in between.
    for _ in 0..7 {
        let start = Instant::now();
        let mut file = Vec::new();
        for piece in Export::new(&blocks, &head) {
            file.extend_from_slice(&piece.expect("whole"));
        }
        written = written.min(start.elapsed());
        let start = Instant::now();
        let mut reader = CarReader::new(CarLimits { bytes_max: u64::MAX, blocks_max: u64::MAX });
        found = 0;
        for mut chunk in file.chunks(64 * 1024) {
            while reader.read(&mut chunk).expect("sound").is_some() {
                found += 1;
            }
        }
        reader.finish().expect("ended");
        read = read.min(start.elapsed());
        bytes = file.len();
    }
    let rate = |took: Duration| bytes as f64 / 1e6 / took.as_secs_f64();
    println!(
        "{count:>9} records: CAR of {:.1} MB, {found} blocks: written {:.0} MB/s, read and checked {:.0} MB/s",
        bytes as f64 / 1e6,
        rate(written),
        rate(read),
    );
}

fn signatures() {
    let keys = [("secp256k1", signing_key()), ("P-256", P256Key::from_bytes(&[7; 32]).expect("a scalar").into())];
    for (name, key) in keys {
        let (mut sign, mut verify) = (Vec::new(), Vec::new());
        for n in 0..SAMPLES {
            let message = n.to_be_bytes();
            let signature = time(&mut sign, || key.sign(&message));
            time(&mut verify, || key.public().verify(&message, &signature).expect("signed"));
        }
        println!("{name:>9}: sign {:.1} µs, verify {:.1} µs", median(sign), median(verify));
    }
}

fn main() {
    signatures();
    for count in [1_000, 100_000, 1_000_000] {
        grow(count);
    }
    for count in [1_000, 100_000, 1_000_000] {
        commits(count);
    }
    car(100_000);
}
