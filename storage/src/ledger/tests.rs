//! Rows of every size come back, and a height is there wholly.

use std::sync::Arc;

use angel_protocol::crypto::NodeKey;
use angel_protocol::ids::Did;
use angel_protocol::ledger::action::Region;
use angel_protocol::ledger::certificate::{Certificate, ValueHash};
use angel_protocol::ledger::genesis::GenesisNode;
use angel_protocol::ledger::transfer::Posting;
use angel_protocol::ledger::{
    Amount, Applied, Batch as LedgerBatch, Genesis, MemoryView, Parameters, Strict, TransactionId, View, apply, rows,
};
use angel_protocol::time::Timestamp;

use super::late::HEIGHTS_MAX;
use super::undecided::{self, Undecided};
use super::waiting::{self, Place, Waiting};
use super::{Decision, LedgerView, Movement, TablesView, decide, decided, genesis, hold, keys, put_row, settle};
use crate::batch::Batch;
use crate::chunked::ChunkedTable;
use crate::engine::MemoryEngine;
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
    decide(reader, store.writer(), decision.clone(), &applied, &batch.encode()).expect("written");
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

/// A ledger in memory beside the one on an engine: what either shows is the same, whatever of it is written.
struct Both {
    engine: Arc<MemoryEngine>,
    store: Store,
    memory: MemoryView,
    /// The whole history of the account that everything is granted to.
    history: Vec<(decided::Place, Movement)>,
}

impl Both {
    fn found() -> Self {
        let engine = Arc::new(MemoryEngine::new());
        let store = Store::on(engine.clone(), Box::new(|_| {})).expect("starts");
        let (changes, _) = a_genesis().rows().expect("a genesis");
        let mut memory = MemoryView::new();
        memory.write(changes.clone());
        let validators = rows::validators(&memory).expect("reads").expect("there");
        genesis(store.writer(), &changes, &validators).expect("written");
        Self { engine, store, memory, history: Vec::new() }
    }

    /// What follows from an empty batch, and movements besides that mean nothing to the state.
    fn applied(&self, height: u64) -> (LedgerBatch, Applied) {
        let time = Timestamp::from_millis(1000 + height);
        let batch = LedgerBatch { height, time, transactions: vec![] };
        let mut applied = apply(&LedgerView(self.store.reader()), &batch, &Strict).expect("applies");
        assert_eq!(applied, apply(&self.memory, &batch, &Strict).expect("applies"), "one state at height {height}");
        let posting = |number: u32| Posting {
            id: TransactionId([7; 32]),
            account: did(),
            tenant: None,
            change: i64::from(number),
            balance: Amount::new(height).expect("small"),
        };
        applied.postings = (0..3).map(posting).collect();
        (batch, applied)
    }

    fn decide(&mut self, height: u64) {
        let (batch, applied) = self.applied(height);
        let value = ValueHash(applied.header.hash());
        let certificate =
            Certificate { network: applied.header.network.clone(), height, round: 0, value, signatures: vec![] };
        let decision = Decision { header: applied.header.clone(), certificate, proposer: did(), transactions: 0 };
        decide(self.store.reader(), self.store.writer(), decision, &applied, &batch.encode()).expect("written");
        self.memory.write(applied.changes);
        for (number, posting) in (0..).zip(applied.postings) {
            let Posting { id: TransactionId(id), tenant, change, balance, .. } = posting;
            self.history.insert(0, ((height, number), Movement { id, tenant, change, balance }));
        }
    }

    fn check(&self) {
        let reader = self.store.reader();
        for (key, value) in self.memory.rows() {
            assert_eq!(LedgerView(reader).get(key).expect("reads").as_deref(), Some(value));
        }
        for limit in [1, 4, 1000] {
            let mut read: Vec<(decided::Place, Movement)> = Vec::new();
            loop {
                let before = read.last().map(|(place, _)| *place);
                let page = decided::history(reader, &did(), before, limit).expect("reads");
                assert!(page.len() <= limit);
                if page.is_empty() {
                    break;
                }
                read.extend(page);
            }
            assert_eq!(read, self.history, "pages of {limit}");
        }
    }

    /// How far the tables are.
    fn written(&self) -> u64 {
        rows::head(&TablesView(self.store.reader())).expect("reads").expect("there").height
    }
}

#[test]
fn rows_of_many_heights_are_written_as_one_and_seen_all_the_while() {
    let mut both = Both::found();
    for height in 1..=HEIGHTS_MAX {
        both.decide(height);
        assert_eq!(both.written(), 0, "nothing but the decisions is written");
    }
    both.check();
    both.decide(HEIGHTS_MAX + 1);
    assert_eq!(both.written(), HEIGHTS_MAX, "as the height before left them");
    both.check();
    both.decide(HEIGHTS_MAX + 2);
    both.check();
    settle(both.store.reader(), both.store.writer()).expect("written");
    assert_eq!(both.written(), HEIGHTS_MAX + 2);
    both.check();
}

#[test]
fn what_was_not_written_follows_from_what_was_decided() {
    let mut both = Both::found();
    let last = HEIGHTS_MAX + 5;
    for height in 1..=last {
        both.decide(height);
    }
    // As after a kill: what waited is gone.
    let Both { engine, history, .. } = both;
    let store = Store::on(engine.clone(), Box::new(|_| {})).expect("starts");
    let mut both = Both { engine, store, memory: MemoryView::new(), history };
    let (changes, _) = a_genesis().rows().expect("a genesis");
    both.memory.write(changes);
    let reader = both.store.reader().clone();
    assert_eq!((both.written(), decided::newest(&reader).expect("reads")), (HEIGHTS_MAX, Some(last)));
    for height in 1..=last {
        if height > HEIGHTS_MAX {
            let (batch, applied) = both.applied(height);
            assert_eq!(decided::batch(&reader, height).expect("reads"), Some(batch));
            let decision = decided::decision(&reader, height).expect("reads").expect("there");
            assert_eq!(applied.header, decision.header);
            both.memory.write(applied.changes.clone());
            hold(&reader, &applied);
        } else {
            let batch = decided::batch(&reader, height).expect("reads").expect("there");
            let changes = apply(&both.memory, &batch, &Strict).expect("applies").changes;
            both.memory.write(changes);
        }
    }
    both.check();
}

#[test]
fn keys_of_rows_are_found_whether_they_are_written_or_wait() {
    const FIRST: u8 = 0x42;
    let mut both = Both::found();
    let key = |number: u8| vec![FIRST, number];
    // Every third one is written, every third one waits, every third one is both; one has several parts.
    for height in [1, 2] {
        let (batch, mut applied) = both.applied(height);
        for number in (0..30_u8).filter(|number| height == 1 && number % 3 != 1 || height == 2 && number % 3 != 0) {
            let value = if number == 9 { vec![7; 3 * crate::limits::VALUE_BYTES_MAX] } else { vec![number] };
            applied.changes.insert(key(number), Some(value));
        }
        applied.changes.insert(vec![FIRST - 1, 1], Some(vec![1]));
        applied.changes.insert(vec![FIRST + 1, 1], Some(vec![1]));
        let value = ValueHash(applied.header.hash());
        let certificate =
            Certificate { network: applied.header.network.clone(), height, round: 0, value, signatures: vec![] };
        let decision = Decision { header: applied.header.clone(), certificate, proposer: did(), transactions: 0 };
        decide(both.store.reader(), both.store.writer(), decision, &applied, &batch.encode()).expect("written");
        both.memory.write(applied.changes);
        if height == 1 {
            settle(both.store.reader(), both.store.writer()).expect("written");
        }
    }
    assert_eq!(both.written(), 1);
    for limit in [1, 2, 7, 30, 1000] {
        let (mut found, mut after) = (Vec::new(), None::<Vec<u8>>);
        loop {
            let (page, more) = keys(both.store.reader(), FIRST, after.as_deref(), limit).expect("reads");
            assert!(page.len() <= limit);
            found.extend(page);
            if !more {
                break;
            }
            after = found.last().cloned();
        }
        assert_eq!(found, (0..30).map(key).collect::<Vec<_>>(), "pages of {limit}");
    }
}
