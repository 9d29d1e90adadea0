//! What a private write costs besides the disk: the validation of the record, the set hash and the signature of its
//! commit. And how fast a whole repository is read by whoever fetches it anew.
//!
//! `cargo bench -p angel-protocol --bench permissioned`. Prints medians. A message is validated in under 50 µs; set hash
//! and signature together stay under 200 µs; a repository is read at 20 MB a second or more.

use std::time::{Duration, Instant};

use angel_protocol::crypto::{P256Key, Secp256k1Key, SigningKey};
use angel_protocol::data::{Block, Cid, Codec};
use angel_protocol::ids::{Did, Tid};
use angel_protocol::lexicon::Schemas;
use angel_protocol::permissioned::wire::car::{Found, IndexWriter, RepoCarReader, write_record, write_start};
use angel_protocol::permissioned::wire::commit::SignedCommit;
use angel_protocol::permissioned::{Head, Op, SetHash, SpaceUri};
use angel_protocol::spaces::{MESSAGE, Speaker, check_message};

const SAMPLES: u64 = 2000;

/// Records of the repository that is read whole.
const RECORDS: u64 = 100_000;

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

fn rev(n: u64) -> Tid {
    Tid::new(1_700_000_000_000_000 + n * 977, 7)
}

/// A message as people write them, against its lexicon and against what makes a message.
fn validation() {
    let record = angel_protocol::data::record_from_json(&serde_json::json!({
        "$type": MESSAGE, "space": "at://did:plc:yk4dd2qkboz2yv6tpubpc6co/co.kendev.spaces.space/3jzfcijpj2z2a",
        "messageType": "user", "priority": "normal", "createdAt": "2026-11-21T09:00:00.000Z",
        "content": { "type": "text", "text": "with some words in it ".repeat(12) },
    }));
    let record = record.expect("a record");
    let schema = Schemas::builtin().record(MESSAGE).expect("a lexicon of ours");
    let mut samples = Vec::new();
    for _ in 0..SAMPLES {
        time(&mut samples, || {
            schema.validate(&record).expect("fits");
            check_message(&record, Speaker::Person).expect("is one");
        });
    }
    println!("a message is validated in {:.1} µs", median(samples));
}

/// A body of `sendMessage` as it arrives: read straight into what a handler takes, and held against its document on the
/// way, as the node does it.
fn input() {
    #[derive(serde::Deserialize)]
    struct Request {
        space: String,
        #[serde(flatten)]
        record: serde_json::Map<String, serde_json::Value>,
    }
    let body = serde_json::to_vec(&serde_json::json!({
        "space": "at://did:plc:yk4dd2qkboz2yv6tpubpc6co/co.kendev.spaces.space/3jzfcijpj2z2a",
        "messageType": "user", "priority": "normal", "langs": ["en"],
        "content": { "type": "text", "text": "with some words in it ".repeat(12) },
    }));
    let body = body.expect("JSON");
    let method = Schemas::builtin().method("co.kendev.spaces.sendMessage").expect("a method of ours");
    let (mut straight, mut checked, mut check) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..SAMPLES {
        let request: Request = time(&mut straight, || serde_json::from_slice(&body).expect("fits"));
        assert!(!request.space.is_empty() && !request.record.is_empty());
        let request: Request = time(&mut checked, || {
            let value: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
            time(&mut check, || method.validate_input(&value).expect("fits"));
            serde_json::from_value(value).expect("fits")
        });
        assert!(!request.space.is_empty() && !request.record.is_empty());
    }
    let [straight, checked, check] = [straight, checked, check].map(median);
    println!(
        "a body of sendMessage is read in {straight:.1} µs, and in {checked:.1} µs with its document, {check:.1} of it the check"
    );
}

/// The file of a repository of so many records, and what is in it.
fn file(space: &SpaceUri, author: &Did, key: &SigningKey) -> Vec<u8> {
    let records: Vec<(String, Block)> = (0..RECORDS)
        .map(|n| {
            let value = angel_protocol::data::from_json(&serde_json::json!({
                "$type": "com.example.post", "number": n, "text": "with some words in it ".repeat(12),
            }));
            let bytes = angel_protocol::data::cbor::encode(&value.expect("a record"));
            (format!("com.example.post/{}", rev(n)), Block::new(Codec::DagCbor, bytes))
        })
        .collect();
    let mut hash = SetHash::default();
    records.iter().for_each(|(path, block)| hash.add(path, block.cid()));
    let commit = SignedCommit::sign(space, author, rev(RECORDS), hash.digest(), [3; 32], key);
    let mut index = Vec::new();
    let mut writer = IndexWriter::begin(RECORDS, &mut index);
    records.iter().for_each(|(path, block)| writer.entry(path, block.cid(), &mut index));
    let (cid, bytes) = writer.finish();
    let mut file = Vec::new();
    write_start(&mut file, &commit.to_block(), cid, bytes);
    file.extend_from_slice(&index);
    records.iter().for_each(|(_, block)| write_record(&mut file, block.cid(), block.bytes()));
    file
}

/// Reads it as it arrives, each record held against the index, and the index against the commit.
fn whole_repository(space: &SpaceUri, author: &Did, key: &SigningKey) {
    let file = file(space, author, key);
    let began = Instant::now();
    let (mut reader, mut records, mut hash, mut commit) = (RepoCarReader::default(), 0, None, None);
    for mut piece in file.chunks(64 * 1024) {
        while let Some(found) = reader.read(&mut piece).expect("is whole") {
            match found {
                Found::Commit(found) => commit = Some(found),
                Found::IndexEnd(found) => hash = Some(found.digest()),
                Found::Record(_) => records += 1,
                Found::Entry(..) => {}
            }
        }
    }
    reader.finish().expect("is whole");
    let commit = commit.expect("a commit");
    commit.verify(space, author, key.public()).expect("it is genuine");
    assert_eq!((records, hash), (RECORDS, Some(commit.hash)), "all of it arrived");
    let took = began.elapsed().as_secs_f64();
    let megabytes = file.len() as f64 / 1e6;
    println!("{RECORDS} private records, {megabytes:.0} MB, are read and verified at {:.0} MB/s", megabytes / took);
}

fn main() {
    validation();
    input();
    let space: SpaceUri =
        "at://did:plc:yk4dd2qkboz2yv6tpubpc6co/space/com.example.forum/self".parse().expect("a space");
    let author: Did = "did:plc:z72i7hdynmk6r22z27h6tvur".parse().expect("a DID");
    let keys: [(&str, SigningKey); 2] = [
        ("secp256k1", Secp256k1Key::from_bytes(&[7; 32]).expect("a scalar").into()),
        ("P-256", P256Key::from_bytes(&[7; 32]).expect("a scalar").into()),
    ];
    println!("{:<12} {:>12} {:>12} {:>12}", "key", "update µs", "sign µs", "verify µs");
    for (name, key) in &keys {
        let (mut updates, mut signatures, mut checks) = (Vec::new(), Vec::new(), Vec::new());
        let mut head = Head::empty();
        for n in 1..=SAMPLES {
            let op = Op {
                path: format!("com.example.post/{}", rev(n)).parse().expect("a path"),
                cid: Some(Cid::of(Codec::DagCbor, &n.to_be_bytes())),
                prev: None,
            };
            let hash = time(&mut updates, || {
                head.advance(rev(n), [&op]).expect("it follows");
                head.hash.digest()
            });
            let commit = time(&mut signatures, || SignedCommit::sign(&space, &author, head.rev, hash, [3; 32], key));
            time(&mut checks, || commit.verify(&space, &author, key.public())).expect("it is genuine");
        }
        println!("{name:<12} {:>12.1} {:>12.1} {:>12.1}", median(updates), median(signatures), median(checks));
    }
    whole_repository(&space, &author, &keys[0].1);
}
