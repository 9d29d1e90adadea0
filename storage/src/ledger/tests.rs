//! Rows of every size come back, and a height is there wholly.

use angel_protocol::crypto::NodeKey;
use angel_protocol::ids::Did;
use angel_protocol::ledger::action::Region;
use angel_protocol::ledger::certificate::{Certificate, ValueHash};
use angel_protocol::ledger::genesis::GenesisNode;
use angel_protocol::ledger::{Batch as LedgerBatch, Genesis, MemoryView, Parameters, Strict, View, apply, rows};
use angel_protocol::time::Timestamp;

use super::undecided::{self, Undecided};
use super::waiting::{self, Waiting};
use super::{Decision, LedgerView, decide, decided, genesis, put_row};
use crate::batch::Batch;
use crate::store::Store;

fn did() -> Did {
    NodeKey::from_seed(&[1; 32]).did()
}

fn a_genesis() -> Genesis {
    let node = GenesisNode {
        did: did(),
        name: "genesis-node-001".parse().expect("a name"),
        operator: did(),
        region: Region::Europe,
        hosts: true,
        validator: true,
    };
    Genesis {
        network: "home-dev".parse().expect("a network id"),
        time: Timestamp::from_millis(1000),
        parameters: Parameters::new(did()),
        nodes: vec![node],
        wallets: vec![],
    }
}

#[test]
fn rows_of_every_size_come_back() {
    let store = Store::in_memory().expect("starts");
    for bytes in [0, 1, 16_382, 16_383, 40_000, 5] {
        let value = vec![7; bytes];
        let mut batch = Batch::new();
        put_row(&mut batch, b"\x05\0key", Some(&value)).expect("fits");
        store.writer().commit(batch).expect("commits");
        assert_eq!(LedgerView(store.reader()).get(b"\x05\0key").expect("reads"), Some(value));
    }
    let mut batch = Batch::new();
    put_row(&mut batch, b"\x05\0key", None).expect("fits");
    store.writer().commit(batch).expect("commits");
    assert_eq!(LedgerView(store.reader()).get(b"\x05\0key").expect("reads"), None);
    assert!(put_row(&mut Batch::new(), b"k", Some(&vec![0; 256 * 16_382])).is_err(), "beyond every row");
}

#[test]
fn a_height_is_written_as_one_and_read_back() {
    let store = Store::in_memory().expect("starts");
    let reader = store.reader();
    let (changes, _) = a_genesis().rows().expect("a genesis");
    let mut memory = MemoryView::new();
    memory.write(changes.clone());
    let validators = rows::validators(&memory).expect("reads").expect("there");
    genesis(store.writer(), &changes, &validators).expect("written");
    for (key, value) in memory.rows() {
        assert_eq!(LedgerView(reader).get(key).expect("reads").as_deref(), Some(value));
    }
    assert_eq!(decided::validators(reader, 1).expect("reads"), Some(validators.clone()));
    assert_eq!(decided::validators(reader, 0).expect("reads"), None);

    let mut batch = Batch::new();
    let proposal = Undecided { round: 2, pol_round: None, proposer: did(), body: vec![1; 50_000] };
    undecided::keep(&mut batch, 1, [9; 32], &proposal).expect("fits");
    undecided::keep(&mut batch, 2, [8; 32], &proposal).expect("fits");
    undecided::note_voting(&mut batch, 1).expect("fits");
    store.writer().commit(batch).expect("commits");
    assert_eq!(undecided::at(reader, 1).expect("reads"), [[9; 32]]);
    assert_eq!(undecided::get(reader, 1, [9; 32]).expect("reads"), Some(proposal));
    assert_eq!(undecided::voting(reader).expect("reads"), Some(1));

    let batch = LedgerBatch { height: 1, time: Timestamp::from_millis(2000), transactions: vec![] };
    let applied = apply(&LedgerView(reader), &batch, &Strict).expect("applies");
    assert_eq!(applied, apply(&memory, &batch, &Strict).expect("applies"), "disk and memory are one state");
    let value = ValueHash(applied.header.hash());
    let certificate =
        Certificate { network: applied.header.network.clone(), height: 1, round: 0, value, signatures: vec![] };
    let decision = Decision { header: applied.header.clone(), certificate, proposer: did(), transactions: 0 };
    let written = decide(reader, decision.clone(), &applied, &batch.encode()).expect("fits");
    store.writer().commit(written).expect("commits");
    assert_eq!(rows::head(&LedgerView(reader)).expect("reads").expect("there").height, 1);
    assert_eq!(decided::decision(reader, 1).expect("reads"), Some(decision));
    assert_eq!(decided::batch(reader, 1).expect("reads"), Some(batch));
    assert_eq!(decided::validators(reader, 7).expect("reads"), Some(validators));
    assert_eq!(undecided::at(reader, 1).expect("reads"), [[0; 32]; 0], "what was proposed for it is gone");
    assert_eq!(undecided::at(reader, 2).expect("reads"), [[8; 32]]);
}

#[test]
fn what_waits_keeps_its_order() {
    let store = Store::in_memory().expect("starts");
    let mut batch = Batch::new();
    let transactions: Vec<_> =
        (0..5_u8).map(|n| Waiting { arrival: 4 - u64::from(n), bytes: vec![n; 30_000] }).collect();
    for (id, waiting) in (0_u8..).zip(&transactions) {
        waiting::keep(&mut batch, [id; 32], waiting).expect("fits");
    }
    store.writer().commit(batch).expect("commits");
    let mut batch = Batch::new();
    waiting::forget(store.reader(), &mut batch, [1; 32]).expect("fits");
    store.writer().commit(batch).expect("commits");
    let left: Vec<_> = waiting::all(store.reader()).expect("reads").iter().map(|it| it.arrival).collect();
    assert_eq!(left, [0, 1, 2, 4]);
}
