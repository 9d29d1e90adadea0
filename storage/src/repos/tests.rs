//! Rows against a plain map, at sizes on either side of what a row takes.

mod packs;

use std::collections::BTreeMap;

use angel_protocol::crypto::{Secp256k1Key, SigningKey};
use angel_protocol::data::Block;
use angel_protocol::data::Codec;
use angel_protocol::ids::Tid;
use angel_protocol::repo::Repository;
use proptest::prelude::*;

use super::*;
use crate::batch::Batch;
use crate::store::Store;

const CONTENTS: Contents = Contents { account: AccountId(7), generation: 1 };

fn rev(n: u64) -> Tid {
    Tid::new(1_700_000_000_000_000 + n, 5)
}

fn block(seed: u8, bytes: usize) -> Block {
    Block::new(Codec::DagCbor, vec![seed; bytes])
}

fn commit(store: &Store, fill: impl FnOnce(&mut Batch)) {
    let mut batch = Batch::new();
    fill(&mut batch);
    store.writer().commit(batch).expect("commits");
}

fn scan(store: &Store, first: &str, end: Option<&str>, order: Order, page: usize) -> Vec<(String, Vec<u8>)> {
    let mut scan = records(store.reader(), CONTENTS, first, end, order);
    std::iter::from_fn(|| scan.next(page).expect("reads")).map(|(path, record)| (path, record.bytes)).collect()
}

#[test]
fn a_head_and_its_collections_come_back() {
    let store = Store::in_memory().expect("starts");
    let key = SigningKey::from(Secp256k1Key::from_bytes(&[7; 32]).expect("a scalar"));
    let first = Repository::create("did:plc:yk4dd2qkboz2yv6tpubpc6co".parse().expect("valid"), rev(0), &key);
    let totals = Totals { records: 3, nodes: 2, nodes_in_parts: 1, fresh_nodes: 1, packed_records: 2 };
    let stored = Head { commit: first.repository.head().clone(), contents: CONTENTS, totals };
    commit(&store, |batch| {
        put_head(batch, &stored).expect("fits");
        put_collection(batch, CONTENTS, "com.example.a", true).expect("fits");
        put_collection(batch, CONTENTS, "com.example.a.b", true).expect("fits");
        put_collection(batch, Contents { generation: 2, ..CONTENTS }, "com.example.c", false).expect("fits");
    });
    let reader = store.reader();
    assert_eq!(head(reader, AccountId(7)).expect("reads"), Some(stored.clone()));
    assert_eq!(heads(reader, Some(AccountId(6)), 5).expect("reads"), [stored]);
    assert_eq!(heads(reader, Some(AccountId(7)), 5).expect("reads"), []);
    assert_eq!(collections(reader, CONTENTS).expect("reads"), ["com.example.a", "com.example.a.b"]);
    let with = |collection: &str, after| accounts_with(reader, collection, after, 9).expect("reads");
    assert_eq!(with("com.example.a", None), [AccountId(7)]);
    assert_eq!(with("com.example.a", Some(AccountId(7))), []);
    assert_eq!(with("com.example.c", None), [], "not in force");
    commit(&store, |batch| remove_collection(batch, CONTENTS, "com.example.a", true).expect("fits"));
    assert_eq!(with("com.example.a", None), []);
    assert!(has_collection(reader, CONTENTS, "com.example.a.b").expect("reads"));
    assert!(!has_collection(reader, CONTENTS, "com.example.a").expect("reads"));
}

#[test]
fn nodes_of_any_size_come_back_one_by_one_and_all_together() {
    let store = Store::in_memory().expect("starts");
    let blocks: Vec<_> =
        [0, 1, PART_BYTES, PART_BYTES + 1, PART_BYTES * 3].into_iter().zip(0..).map(|(n, i)| block(i, n)).collect();
    for (block, n) in blocks.iter().zip(0..) {
        commit(&store, |batch| {
            let in_parts = put_node(batch, CONTENTS, rev(n), block).expect("fits");
            assert_eq!(in_parts, block.bytes().len() > PART_BYTES);
            retain(batch, CONTENTS, block.cid(), rev(n), block.bytes()).expect("fits");
        });
    }
    let reader = store.reader();
    for (block, n) in blocks.iter().zip(0..) {
        let expected = Some(Node { rev: rev(n), bytes: block.bytes().to_vec() });
        assert_eq!(node(reader, CONTENTS, block.cid()).expect("reads"), expected);
        assert_eq!(retained(reader, CONTENTS, block.cid()).expect("reads"), expected);
    }
    let mut found = BTreeMap::new();
    nodes::<crate::reader::ReadError>(reader, CONTENTS, |cid, node| {
        assert!(found.insert(cid, node.bytes.to_vec()).is_none());
        Ok(())
    })
    .expect("reads");
    assert_eq!(found, blocks.iter().map(|block| (block.cid(), block.bytes().to_vec())).collect());
    for block in &blocks {
        let bytes = block.bytes().len();
        commit(&store, |batch| delete_node(batch, CONTENTS, Place::Settled, block.cid(), bytes).expect("fits"));
        assert_eq!(node(reader, CONTENTS, block.cid()).expect("reads"), None);
    }
    nodes::<crate::reader::ReadError>(reader, CONTENTS, |_, _| panic!("a row is left")).expect("reads");
}

#[test]
fn a_scan_finds_the_records_that_are_asked_for_in_its_order_and_no_others() {
    let store = Store::in_memory().expect("starts");
    // Some of several rows, one that begins like another, one that sorts behind it by its sign.
    let sizes = [
        ("a.b.c/1", 10),
        ("a.b.c/1-2", PART_BYTES * 2 + 1),
        ("a.b.c/10", 0),
        ("a.b.d/1", 5),
        ("a.b.d/2", PART_BYTES + 1),
    ];
    commit(&store, |batch| {
        for ((path, bytes), n) in sizes.into_iter().zip(0..) {
            put_record(batch, CONTENTS, path, rev(n.into()), &block(n, bytes), None).expect("fits");
        }
    });
    let asked = ["a.b.c/0", "a.b.c/1", "a.b.c/1-2", "a.b.c/100", "a.b.d/1", "a.b.d/2", "a.b.d/3"];
    for order in [Order::Ascending, Order::Descending] {
        for page in [1, 2, 100] {
            let mut scan = records(store.reader(), CONTENTS, "", None, order);
            let mut asked = asked;
            if order == Order::Descending {
                asked.reverse();
            }
            for path in asked {
                let found = scan
                    .at(path, page)
                    .expect("reads")
                    .map(|found| (found.path.into_owned(), found.cid, found.rev, found.bytes.into_owned()));
                let there = sizes.iter().zip(0_u8..).find(|((there, _), _)| *there == path);
                let expected = there.map(|((_, bytes), n)| {
                    let block = block(n, *bytes);
                    (path.to_owned(), block.cid(), rev(n.into()), block.bytes().to_vec())
                });
                assert_eq!(found, expected, "{path}, {order:?}, {page} rows at a time");
            }
        }
    }
}

#[test]
fn fresh_nodes_are_read_as_others_and_moved_unless_they_are_about_to_go() {
    let store = Store::in_memory().expect("starts");
    let reader = store.reader();
    let blocks: Vec<_> = (0..5).map(|n| block(n, if n == 4 { PART_BYTES + 1 } else { 9 })).collect();
    commit(&store, |batch| {
        put_node(batch, CONTENTS, rev(1), &blocks[0]).expect("fits");
        for block in &blocks[1..] {
            put_fresh_node(batch, CONTENTS, rev(2), block).expect("fits");
        }
    });
    let places =
        || -> Vec<_> { blocks.iter().map(|block| place(reader, CONTENTS, block.cid()).expect("reads")).collect() };
    let held = || {
        let mut held = Vec::new();
        nodes::<crate::reader::ReadError>(reader, CONTENTS, |cid, node| {
            held.push((cid, node.bytes.to_vec()));
            Ok(())
        })
        .expect("reads");
        held.sort_unstable();
        held
    };
    let shelf_holds = |block: &Block| {
        NodeShelf::read(reader, CONTENTS, 1 << 20).expect("reads").get(&block.cid()) == Some(&block.bytes()[..])
    };
    let before = held();
    assert_eq!(before.len(), blocks.len());
    assert!(blocks.iter().all(shelf_holds));
    assert_eq!(places(), [Place::Settled, Place::Fresh, Place::Fresh, Place::Fresh, Place::Fresh]);
    let mut moved = Vec::new();
    commit(&store, |batch| {
        moved = settle(reader, batch, CONTENTS, &[blocks[2].cid()].into()).expect("fits");
    });
    moved.sort_unstable();
    let mut expected = vec![blocks[1].cid(), blocks[3].cid()];
    expected.sort_unstable();
    assert_eq!(moved, expected, "the last has more than one row");
    assert_eq!(places(), [Place::Settled, Place::Settled, Place::Fresh, Place::Settled, Place::Fresh]);
    assert_eq!(held(), before);
    assert!(blocks.iter().all(shelf_holds));
    let node = node(reader, CONTENTS, blocks[3].cid()).expect("reads").expect("there");
    assert_eq!(node.rev, rev(2), "it stays what wrote it");
    for (block, place) in blocks.iter().zip(places()) {
        let bytes = block.bytes().len();
        commit(&store, |batch| delete_node(batch, CONTENTS, place, block.cid(), bytes).expect("fits"));
    }
    assert_eq!(held(), []);
}

#[test]
fn heads_of_versions_before_have_no_fresh_nodes_and_no_packs() {
    let stored = crate::codec::encode(&HeadRow {
        commit: vec![7],
        generation: 3,
        records: 4,
        nodes: 5,
        nodes_in_parts: 6,
        fresh_nodes: 0,
        packed_records: 0,
    });
    let mut stored = stored.expect("encodes");
    assert_eq!(stored[..2], [3, 0xa7], "a map of seven");
    // What is stored of the versions before lacks a field each: its name and its zero.
    for (name, version) in [("packed_records", 2), ("fresh_nodes", 1)] {
        let mut field = vec![0x60 + u8::try_from(name.len()).expect("short")];
        field.extend_from_slice(name.as_bytes());
        field.push(0);
        let at = stored.windows(field.len()).position(|window| window == field).expect("the field is there");
        stored.drain(at..at + field.len());
        stored[..2].copy_from_slice(&[version, 0xa4 + version]);
        let row: HeadRow = crate::codec::decode(&stored).expect("is read");
        assert_eq!((row.generation, row.nodes_in_parts, row.fresh_nodes, row.packed_records), (3, 6, 0, 0));
    }
}

#[test]
fn a_sweep_takes_one_set_of_contents_and_leaves_the_others() {
    let store = Store::in_memory().expect("starts");
    let next = Contents { generation: 2, ..CONTENTS };
    for contents in [CONTENTS, next] {
        commit(&store, |batch| {
            put_leftover(batch, contents).expect("fits");
            for n in 0..10 {
                let record = block(n, PART_BYTES + 1);
                put_record(batch, contents, &format!("a/{n}"), rev(0), &record, None).expect("fits");
                put_node(batch, contents, rev(0), &block(100 + n, 3)).expect("fits");
                put_fresh_node(batch, contents, rev(0), &block(120 + n, 3)).expect("fits");
                retain(batch, contents, record.cid(), rev(0), record.bytes()).expect("fits");
            }
            put_collection(batch, contents, "a", false).expect("fits");
        });
    }
    assert_eq!(leftovers(store.reader()).expect("reads"), [CONTENTS, next]);
    let rows = || store.reader().scan(&RECORDS).page(1000).expect("reads").rows.len();
    assert_eq!(rows(), 40);
    let mut batches = 0;
    loop {
        let mut batch = Batch::new();
        let swept = sweep(store.reader(), &mut batch, CONTENTS, 7).expect("fits");
        assert!(batch.rows() <= 8);
        store.writer().commit(batch).expect("commits");
        batches += 1;
        if swept == Swept::All {
            break;
        }
    }
    assert_eq!(batches, (20 + 10 + 10 + 1 + 20) / 7 + 1);
    assert_eq!(leftovers(store.reader()).expect("reads"), [next]);
    assert_eq!(next_generation(store.reader(), CONTENTS.account).expect("reads"), 3);
    assert_eq!(next_generation(store.reader(), AccountId(6)).expect("reads"), 1);
    assert_eq!(rows(), 20);
    assert_eq!(record(store.reader(), CONTENTS, "a/3").expect("reads"), None);
    assert!(record(store.reader(), next, "a/3").expect("reads").is_some());
    assert_eq!(store.reader().scan(&RETAINED).page(1000).expect("reads").rows.len(), 20);
    commit(&store, |batch| {
        assert_eq!(drop_retained(store.reader(), batch, None, 100).expect("fits"), Swept::All);
    });
    assert_eq!(store.reader().scan(&RETAINED).page(1000).expect("reads").rows.len(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is written, replaced and deleted, every way of reading sees what a map would hold.
    #[test]
    fn records_are_what_was_written_last(
        steps in proptest::collection::vec(
            (0..6_usize, proptest::option::of((any::<u8>(), 0..4_usize))),
            1..40,
        ),
        page in 1..5_usize,
    ) {
        // Paths whose order as texts differs from the order of their parts.
        let paths = ["a.b/x", "a.b.c/x", "a.b/-", "a.b-c/x", "a.b/~", "b/x"];
        let store = Store::in_memory().expect("starts");
        let mut expected = BTreeMap::new();
        for (path, change) in steps {
            let path = paths[path];
            let before = record(store.reader(), CONTENTS, path).expect("reads");
            prop_assert_eq!(before.as_ref().map(|record| &record.bytes), expected.get(path));
            commit(&store, |batch| match (change, before) {
                (Some((seed, size)), before) => {
                    let record = block(seed, [0, 9, PART_BYTES + 1, PART_BYTES * 2 + 1][size]);
                    put_record(batch, CONTENTS, path, rev(0), &record, before.as_ref()).expect("fits");
                    expected.insert(path.to_owned(), record.bytes().to_vec());
                }
                (None, Some(before)) => {
                    delete_record(batch, CONTENTS, path, &before).expect("fits");
                    expected.remove(path);
                }
                (None, None) => {}
            });
        }
        let all: Vec<_> = expected.clone().into_iter().collect();
        prop_assert_eq!(&scan(&store, "", None, Order::Ascending, page), &all);
        let mut reversed = all;
        reversed.reverse();
        prop_assert_eq!(scan(&store, "", None, Order::Descending, page), reversed);
        let in_collection: Vec<_> =
            expected.range("a.b/".to_owned().."a.b0".to_owned()).map(|(k, v)| (k.clone(), v.clone())).collect();
        prop_assert_eq!(scan(&store, "a.b/", Some("a.b0"), Order::Ascending, page), in_collection);
    }
}
