//! CAR files, trees and commits that somebody else made.

use bolero::check;

use super::bend::bend;
use crate::crypto::{Secp256k1Key, SigningKey};
use crate::data::{Block, Cid, Codec, Value, cbor};
use crate::ids::{Did, Tid};
use crate::repo::car::{self, CarLimits, CarReader};
use crate::repo::mst::Walk;
use crate::repo::{
    CommitMessage, Found, ImportError, MemoryBlocks, NewCommit, Repository, SignedCommit, Write, verify_commit,
    verify_repository, verify_sync,
};

const LIMITS: CarLimits = CarLimits { bytes_max: 1 << 20, blocks_max: 1000 };

/// Steps that a walk through a bent tree may take: far more than it has nodes and records.
const STEPS_MAX: usize = 10_000;

fn key() -> SigningKey {
    Secp256k1Key::from_bytes(&[7; 32]).expect("a scalar").into()
}

fn did() -> Did {
    "did:plc:yk4dd2qkboz2yv6tpubpc6co".parse().expect("valid")
}

fn write(number: usize) -> Write {
    let record = Block::new(Codec::DagCbor, cbor::encode(&Value::String(format!("record {number}"))));
    Write::Create { path: format!("com.example.post/{number}").parse().expect("valid"), record }
}

/// A repository of a few layers with its newest commit.
fn repository() -> (MemoryBlocks, NewCommit) {
    let first = Repository::create(did(), Tid::new(1, 1), &key());
    let mut blocks: MemoryBlocks = first.blocks().collect();
    let many = first.repository.write(&blocks, (0..60).map(write).collect(), Tid::new(2, 1), &key()).expect("possible");
    blocks.extend(many.blocks());
    let last = many.repository.write(&blocks, vec![write(60)], Tid::new(3, 1), &key()).expect("possible");
    blocks.extend(last.blocks());
    (blocks, last)
}

fn export(blocks: &MemoryBlocks, head: Cid) -> Vec<u8> {
    let blocks: Vec<Block> = blocks.cids().filter_map(|cid| blocks.block(&cid)).collect();
    car::encode(head, &blocks)
}

#[test]
fn a_car_file_is_read_alike_in_one_piece_and_in_many() {
    let (blocks, last) = repository();
    let valid = export(&blocks, last.repository.head().cid());
    check!().for_each(|input: &[u8]| {
        let bent = bend(&valid, input);
        let whole = car::decode(&bent, LIMITS);
        let mut reader = CarReader::new(LIMITS);
        let mut pieces = Vec::new();
        let outcome = bent.chunks(61).try_for_each(|mut chunk| {
            while let Some(block) = reader.read(&mut chunk)? {
                pieces.push(block);
            }
            Ok(())
        });
        let outcome = outcome.and_then(|()| reader.finish()).map(|roots| (roots, pieces));
        assert_eq!(whole, outcome);
        for block in whole.iter().flat_map(|(_, blocks)| blocks) {
            assert!(block.cid().matches(block.bytes()));
        }
    });
}

#[test]
fn a_bent_repository_is_never_taken_for_the_whole_one() {
    let (blocks, last) = repository();
    let valid = export(&blocks, last.repository.head().cid());
    let public = key().public();
    check!().for_each(|input: &[u8]| {
        let Ok((roots, found)) = car::decode(&bend(&valid, input), LIMITS) else { return };
        let source: MemoryBlocks = found.iter().collect();
        let Some(head) = roots.first().and_then(|root| source.block(root)) else { return };
        let Ok(head) = SignedCommit::decode(head) else { return };
        let mut seen = 0;
        if verify_repository(&source, &head, &did(), public, 1000, |found| {
            seen += u32::from(matches!(found, Found::Record(..)));
            Ok::<_, ImportError>(())
        })
        .is_ok()
        {
            // Only bytes that nothing refers to can have changed.
            assert_eq!((head.cid(), seen), (last.repository.head().cid(), 61));
        }
    });
}

#[test]
fn a_tree_of_any_shape_is_walked_within_bounds() {
    let (blocks, last) = repository();
    let nodes: Vec<Block> = Walk::new(&blocks, last.repository.head().data())
        .filter_map(|item| match item {
            Ok(crate::repo::mst::WalkItem::Node(node)) => Some(node),
            _ => None,
        })
        .collect();
    check!().for_each(|input: &[u8]| {
        let Some((which, input)) = input.split_first() else { return };
        // The bent node is the root, so that its CID is right and only its content is wrong.
        let node = &nodes[usize::from(*which) % nodes.len()];
        let bent = Block::new(Codec::DagCbor, bend(node.bytes(), input));
        let mut source = blocks.clone();
        source.insert(&bent);
        assert!(Walk::new(&source, bent.cid()).take(STEPS_MAX).count() < STEPS_MAX);
        // A signature over a bad tree does not make it a good one.
        let head = crate::repo::Commit { did: did(), data: bent.cid(), rev: Tid::new(9, 1), prev: None }.sign(&key());
        let totals = verify_repository(&source, &head, &did(), key().public(), 1000, |_| Ok::<_, ImportError>(()));
        let repository = Repository::open(head);
        let written = repository.write(&source, vec![write(1000)], Tid::new(10, 1), &key());
        if totals.is_ok() {
            assert!(written.is_ok(), "a sound tree takes a record: {written:?}");
        }
    });
}

#[test]
fn a_bent_commit_message_is_not_believed() {
    let (_, last) = repository();
    let (valid, head, public) = (last.car(), last.repository.head().clone(), key().public());
    let did = did();
    check!().for_each(|input: &[u8]| {
        let bent = bend(&valid, input);
        let message = CommitMessage {
            repo: &did,
            commit: head.cid(),
            rev: head.rev(),
            since: last.since,
            prev_data: last.prev_data,
            changes: &last.changes,
            car: &bent,
        };
        if verify_commit(message, public).is_ok() {
            let (_, blocks) = car::decode(&bent, LIMITS).expect("what was believed can be read");
            assert!(blocks.iter().any(|block| block.cid() == head.cid()));
        }
        if let Ok(found) = verify_sync(&did, head.rev(), &bent, public) {
            assert_eq!(found.cid(), head.cid());
        }
    });
}
