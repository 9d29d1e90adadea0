//! What a private write costs besides the disk: the set hash and the signature of its commit.
//!
//! `cargo bench -p angel-protocol --bench permissioned`. Prints medians. Both together stay under 200 µs.

use std::time::{Duration, Instant};

use angel_protocol::crypto::{P256Key, Secp256k1Key, SigningKey};
use angel_protocol::data::{Cid, Codec};
use angel_protocol::ids::{Did, Tid};
use angel_protocol::permissioned::wire::commit::SignedCommit;
use angel_protocol::permissioned::{Head, Op, SpaceUri};

const SAMPLES: u64 = 2000;

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

fn main() {
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
}
