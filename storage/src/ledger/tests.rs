//! Rows of every size come back, and a height is there wholly.

use angel_protocol::crypto::NodeKey;
use angel_protocol::ids::Did;
use angel_protocol::ledger::action::Region;
use angel_protocol::ledger::certificate::{Certificate, ValueHash};
use angel_protocol::ledger::genesis::GenesisNode;
use angel_protocol::ledger::{Batch as LedgerBatch, Genesis, MemoryView, Parameters, Strict, View, apply, rows};
use angel_protocol::time::Timestamp;

use super::undecided::{self, Undecided};
use super::waiting::{self, Place, Waiting};
use super::{Decision, LedgerView, decide, decided, genesis, put_row};
use crate::batch::Batch;
use crate::chunked::ChunkedTable;
use crate::store::Store;
use crate::tables::TableId;

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
    write_and_read(false);
}

#[test]
fn a_batch_that_was_kept_as_a_proposal_stays_where_it_lies() {
    write_and_read(true);
}

fn write_and_read(kept: bool) {
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
    undecided::keep(&mut batch, 1, [0; 32], &proposal).expect("fits");
    undecided::keep(&mut batch, 1, [255; 32], &proposal).expect("fits");
    undecided::keep(&mut batch, 2, [8; 32], &proposal).expect("fits");
    undecided::note_voting(&mut batch, 1).expect("fits");
    store.writer().commit(batch).expect("commits");
    assert_eq!(undecided::at(reader, 1).expect("reads"), [[0; 32], [255; 32]]);
    assert_eq!(undecided::get(reader, 1, [255; 32]).expect("reads"), Some(proposal.clone()));
    assert_eq!(undecided::voting(reader).expect("reads"), Some(1));

    let batch = LedgerBatch { height: 1, time: Timestamp::from_millis(2000), transactions: vec![] };
    let applied = apply(&LedgerView(reader), &batch, &Strict).expect("applies");
    assert_eq!(applied, apply(&memory, &batch, &Strict).expect("applies"), "disk and memory are one state");
    let value = ValueHash(applied.header.hash());
    let certificate =
        Certificate { network: applied.header.network.clone(), height: 1, round: 0, value, signatures: vec![] };
    let decision = Decision { header: applied.header.clone(), certificate, proposer: did(), transactions: 0 };
    if kept {
        let mut rows = Batch::new();
        let proposal = Undecided { body: batch.encode(), ..proposal };
        undecided::keep(&mut rows, 1, value.0, &proposal).expect("fits");
        store.writer().commit(rows).expect("commits");
    }
    let written = decide(reader, decision.clone(), &applied, &batch.encode()).expect("fits");
    store.writer().commit(written).expect("commits");
    assert_eq!(rows::head(&LedgerView(reader)).expect("reads").expect("there").height, 1);
    assert_eq!(decided::decision(reader, 1).expect("reads"), Some(decision));
    assert_eq!(decided::batch(reader, 1).expect("reads"), Some(batch));
    assert_eq!(decided::validators(reader, 7).expect("reads"), Some(validators));
    let left = if kept { vec![value.0] } else { Vec::new() };
    assert_eq!(undecided::at(reader, 1).expect("reads"), left, "what else was proposed for it is gone");
    assert_eq!(super::BATCHES.get(reader, &1).expect("reads").is_none(), kept, "it is written once");
    assert_eq!(undecided::at(reader, 2).expect("reads"), [[8; 32]]);
}

#[test]
fn what_waits_keeps_its_order_whichever_version_kept_it() {
    const ALONE: ChunkedTable<[u8; 32]> = ChunkedTable::new(TableId::Mempool);
    let store = Store::in_memory().expect("starts");
    let one = |arrival: u64| Waiting { arrival, bytes: vec![arrival.to_le_bytes()[0]; 30_000] };
    let mut batch = Batch::new();
    for arrival in [6, 2] {
        let value = [&u64::to_be_bytes(arrival)[..], &one(arrival).bytes].concat();
        ALONE.put(&mut batch, &[arrival.to_le_bytes()[0]; 32], &value).expect("fits");
    }
    waiting::keep(&mut batch, 0, &[one(5), one(4)]).expect("fits");
    waiting::keep(&mut batch, 1, &[one(0), one(3)]).expect("fits");
    store.writer().commit(batch).expect("commits");
    let all = waiting::all(store.reader()).expect("reads");
    let places = [Place::Group(1), Place::Alone([2; 32]), Place::Group(1), Place::Group(0), Place::Group(0)];
    let expected = places.into_iter().zip([0, 2, 3, 4, 5]).chain([(Place::Alone([6; 32]), 6)]);
    assert_eq!(all, expected.map(|(place, arrival)| (place, one(arrival))).collect::<Vec<_>>());
    let mut batch = Batch::new();
    waiting::forget(store.reader(), &mut batch, Place::Group(1)).expect("fits");
    waiting::forget(store.reader(), &mut batch, Place::Alone([6; 32])).expect("fits");
    store.writer().commit(batch).expect("commits");
    let left: Vec<_> = waiting::all(store.reader()).expect("reads").iter().map(|(_, it)| it.arrival).collect();
    assert_eq!(left, [2, 4, 5]);
}
