//! Records in packs: against a plain map, with changes that are staged before those ahead of them are stored, and while
//! others read.

use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;

use super::super::packs::PackRow;
use super::*;
use crate::codec::{decode, encode};
use crate::engine::EngineKind;
use crate::store::Options;
use crate::verify::Check;

/// Fills `CONTENTS` as an import does; answers how many records lie in packs.
fn fill<'a>(store: &Store, records: impl IntoIterator<Item = (&'a String, &'a Block)>) -> u64 {
    let mut packer = Packer::new(CONTENTS);
    let mut batch = Batch::filling();
    for (path, record) in records {
        packer.put(&mut batch, path, rev(1), record).expect("fits");
    }
    let packed = packer.finish(&mut batch).expect("fits");
    store.writer().commit(batch).expect("commits");
    packed
}

fn packs(store: &Store) -> Vec<(String, Vec<String>)> {
    let page = store.reader().scan(&PACKS).prefix(&CONTENTS).page(10_000).expect("reads");
    let paths = |pack: PackRow| pack.records.into_iter().map(|(path, _)| path).collect();
    page.rows.into_iter().map(|((_, first), pack)| (first, paths(pack))).collect()
}

fn rows(store: &Store) -> Vec<String> {
    let page = store.reader().scan(&RECORDS).prefix(&CONTENTS).page(10_000).expect("reads");
    page.rows.into_iter().filter(|((.., part), _)| *part == 0).map(|((_, path, _), _)| path).collect()
}

/// Sets or removes a record; answers what is to be counted as packed no more.
fn change(store: &Store, batch: &mut Batch, path: &str, to: Option<&Block>, on_their_way: &[String]) -> u64 {
    let before = record(store.reader(), CONTENTS, path).expect("reads");
    let has_gone = |path: &str| on_their_way.iter().any(|gone| gone == path);
    let was_packed = !has_gone(path) && take_out(store.reader(), batch, CONTENTS, path, has_gone).expect("takes");
    match (to, before) {
        (Some(to), before) => put_record(batch, CONTENTS, path, rev(2), to, before.as_ref()).expect("fits"),
        (None, Some(before)) if !was_packed => delete_record(batch, CONTENTS, path, &before).expect("fits"),
        (None, _) => {}
    }
    u64::from(was_packed)
}

#[test]
fn records_in_order_share_rows_and_others_do_not() {
    let store = Store::in_memory().expect("starts");
    let small = |n: usize| (format!("com.example.a/{n:03}"), block(1, 100));
    let mut all: BTreeMap<_, _> = (0..40).map(small).collect();
    all.insert("com.example.a/005-large".to_owned(), block(2, 3_000));
    all.insert("com.example.b/larger".to_owned(), block(3, PART_BYTES * 2));
    all.insert("com.example.c/é".to_owned(), block(4, 1));
    assert_eq!(fill(&store, &all), 41);
    let packs = packs(&store);
    assert_eq!(packs.iter().map(|(_, paths)| paths.len()).collect::<Vec<_>>(), [16, 16, 9]);
    assert_eq!(packs[0].0, "com.example.a/000");
    assert!(packs.iter().all(|(first, paths)| paths.first() == Some(first)));
    assert_eq!(rows(&store), ["com.example.a/005-large", "com.example.b/larger"]);
    for (path, block) in &all {
        let found = record(store.reader(), CONTENTS, path).expect("reads").expect("there");
        assert_eq!((found.cid, found.rev, &found.bytes[..]), (block.cid(), rev(1), &block.bytes()[..]), "{path}");
    }
    for absent in ["", "com.example.a/", "com.example.a/0055", "com.example.a/04", "com.example.c/z", "z"] {
        assert_eq!(record(store.reader(), CONTENTS, absent).expect("reads"), None, "{absent}");
    }
    let other = Contents { generation: 2, ..CONTENTS };
    assert_eq!(record(store.reader(), other, "com.example.a/000").expect("reads"), None);

    // A single one, one that is out of order, and one that is there already, have rows of their own.
    let store = Store::in_memory().expect("starts");
    let one = block(1, 5);
    let mut packer = Packer::new(CONTENTS);
    commit(&store, |batch| {
        for path in ["a/2", "a/3", "a/1", "a/3"] {
            packer.put(batch, path, rev(1), &one).expect("fits");
        }
        assert_eq!(packer.finish(batch).expect("fits"), 2);
    });
    assert_eq!(rows(&store), ["a/1", "a/3"]);
    let store = Store::in_memory().expect("starts");
    assert_eq!(fill(&store, [(&"a/1".to_owned(), &one)]), 0);
    assert_eq!((rows(&store).len(), super::packs::packs(&store).len()), (1, 0));
}

#[test]
fn a_pack_is_bounded_in_bytes_and_comes_back_as_it_was_stored() {
    let store = Store::in_memory().expect("starts");
    let all: BTreeMap<_, _> = (0..40_u8).map(|n| (format!("a/{}{n:02}", "x".repeat(300)), block(n, 1_900))).collect();
    // Three to each, and the last is alone.
    assert_eq!((fill(&store, &all), rows(&store).len()), (39, 1));
    let page = store.reader().scan(&PACKS).prefix(&CONTENTS).page(100).expect("reads");
    assert_eq!(page.rows.iter().map(|(_, pack)| pack.records.len()).sum::<usize>(), 39);
    for (key, pack) in page.rows {
        let stored = encode(&pack).expect("encodes");
        assert!(stored.len() <= 9 * 1024, "{} bytes", stored.len());
        assert_eq!(decode::<PackRow>(&stored), Ok(pack.clone()));
        Check::of(&PACKS).accepts(&PACKS.key(&key), &stored).expect("sound");
        for end in 0..stored.len() {
            // A pack that ends with a record is one; all others are not.
            let is_whole = decode::<PackRow>(&stored[..end]).is_ok_and(|cut| pack.records.starts_with(&cut.records));
            assert!(is_whole || decode::<PackRow>(&stored[..end]).is_err(), "{end}");
        }
        let twice = PackRow { records: vec![pack.records[0].clone(), pack.records[0].clone()] };
        assert!(decode::<PackRow>(&encode(&twice).expect("encodes")).is_err());
    }
    assert!(decode::<PackRow>(&encode(&PackRow { records: Vec::new() }).expect("encodes")).is_err(), "empty");
}

#[test]
fn the_last_record_takes_its_pack_with_it_and_the_first_leaves_the_key() {
    let store = Store::in_memory().expect("starts");
    let all: BTreeMap<_, _> = (0..20_u8).map(|n| (format!("a/{n:02}"), block(n, 9))).collect();
    assert_eq!(fill(&store, &all), 20);
    let mut left = 20;
    let mut batch = Batch::new();
    left -= change(&store, &mut batch, "a/00", None, &[]);
    left -= change(&store, &mut batch, "a/01", Some(&block(9, 9)), &[]);
    store.writer().commit(batch).expect("commits");
    let now = packs(&store);
    assert_eq!((now[0].0.as_str(), now[0].1.len(), now[0].1[0].as_str()), ("a/00", 14, "a/02"));
    let mut batch = Batch::new();
    for n in 2..16 {
        left -= change(&store, &mut batch, &format!("a/{n:02}"), None, &[]);
    }
    store.writer().commit(batch).expect("commits");
    assert_eq!((packs(&store).len(), left), (1, 4));
    let found: Vec<_> = scan(&store, "", None, Order::Ascending, 3).into_iter().map(|(path, _)| path).collect();
    assert_eq!(found, ["a/01", "a/16", "a/17", "a/18", "a/19"]);
}

#[test]
fn a_sweep_takes_packs_as_well() {
    let store = Store::in_memory().expect("starts");
    let all: BTreeMap<_, _> = (0..200_u8).map(|n| (format!("a/{n:03}"), block(n, 9))).collect();
    fill(&store, &all);
    let mut batches = 0;
    loop {
        let mut batch = Batch::new();
        let swept = sweep(store.reader(), &mut batch, CONTENTS, 64).expect("fits");
        store.writer().commit(batch).expect("commits");
        batches += 1;
        if swept == Swept::All {
            break;
        }
    }
    assert_eq!((packs(&store).len(), batches), (0, 4));
}

/// Readers go through the records while each of them is changed, which takes it out of its pack: they see every path that
/// is always there, once and in order.
#[test]
fn whoever_goes_through_records_misses_none_that_leaves_its_pack_meanwhile() {
    for engine in EngineKind::ALL {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::open(dir.path(), Options::new(engine, "test")).expect("opens");
        let all: BTreeMap<_, _> = (0..600_u32).map(|n| (format!("a/{n:04}"), block(1, 40))).collect();
        assert_eq!(fill(&store, &all), 600);
        let paths: Vec<_> = all.keys().cloned().collect();
        let is_done = AtomicBool::new(false);
        std::thread::scope(|threads| {
            for order in [Order::Ascending, Order::Descending] {
                let (store, paths, is_done) = (&store, &paths, &is_done);
                threads.spawn(move || {
                    let mut expected = paths.clone();
                    if order == Order::Descending {
                        expected.reverse();
                    }
                    for page in (1..60).cycle() {
                        // Looked at first, so that there is a round behind the last change.
                        let is_last = is_done.load(Ordering::Acquire);
                        let found: Vec<_> =
                            scan(store, "", None, order, page).into_iter().map(|(path, _)| path).collect();
                        assert_eq!(found, expected, "{order:?}, {page} at a time");
                        let one = &expected[page * 7 % expected.len()];
                        assert!(record(store.reader(), CONTENTS, one).expect("reads").is_some(), "{one}");
                        if is_last {
                            break;
                        }
                    }
                });
            }
            // In an order of their own, so that packs shrink everywhere.
            let places: Vec<_> = (0..paths.len()).map(|n| &paths[n * 271 % paths.len()]).collect();
            for some in places.chunks(4) {
                let mut batch = Batch::new();
                let out: u64 = some.iter().map(|path| change(&store, &mut batch, path, Some(&block(2, 50)), &[])).sum();
                assert_eq!(out, 4);
                store.writer().commit(batch).expect("commits");
            }
            is_done.store(true, Ordering::Release);
        });
        assert_eq!((packs(&store).len(), rows(&store).len()), (0, 600));
        store.close().expect("closes");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever is changed, several batches staged before the first of them is stored, every way of reading sees what a
    /// map would hold, and no path lies in two places.
    #[test]
    fn packed_records_are_what_was_written_last(
        sizes in proptest::collection::vec(prop_oneof![8 => 0..60_usize, 1 => Just(3_000), 1 => Just(PART_BYTES + 1)], 1..80),
        rounds in proptest::collection::vec(
            proptest::collection::vec(
                proptest::collection::vec((0..170_usize, proptest::option::of((any::<u8>(), 0..40_usize))), 1..5),
                1..4,
            ),
            0..12,
        ),
        bounds in (0..170_usize, 0..170_usize),
        page in 1..40_usize,
    ) {
        // Every other place is free at first, so that new records come to lie between those of a pack.
        let path = |n: usize| format!("{}/{:03}", ["a.b", "a.b-c", "a.b.c"][n / 60 % 3], n);
        let mut expected: BTreeMap<String, Block> =
            sizes.iter().enumerate().map(|(n, bytes)| (path(n * 2), block(7, *bytes))).collect();
        let store = Store::in_memory().expect("starts");
        let mut packed = fill(&store, &expected);
        for batches in rounds {
            let mut staged = Vec::new();
            let mut on_their_way: Vec<String> = Vec::new();
            for changes in batches {
                let mut batch = Batch::new();
                let mut touched = Vec::new();
                for (n, to) in changes {
                    let path = path(n);
                    // A commit changes a path once, and whoever writes knows what is on its way.
                    if touched.contains(&path) || on_their_way.contains(&path) {
                        continue;
                    }
                    let to = to.map(|(seed, bytes)| block(seed, bytes));
                    packed -= change(&store, &mut batch, &path, to.as_ref(), &on_their_way);
                    match to {
                        Some(to) => drop(expected.insert(path.clone(), to)),
                        None => drop(expected.remove(&path)),
                    }
                    touched.push(path);
                }
                on_their_way.extend(touched);
                staged.push(batch);
            }
            for batch in staged {
                store.writer().commit(batch).expect("commits");
            }
        }
        let lie_in_packs: Vec<_> = packs(&store).into_iter().flat_map(|(_, paths)| paths).collect();
        let lie_in_rows = rows(&store);
        prop_assert!(lie_in_packs.iter().all(|path| !lie_in_rows.contains(path)));
        prop_assert_eq!(lie_in_packs.len() as u64, packed);

        let all: Vec<_> = expected.iter().map(|(path, block)| (path.clone(), block.bytes().to_vec())).collect();
        let (first, end) = (path(bounds.0), path(bounds.1));
        for (first, end) in [("", None), (first.as_str(), None), ("", Some(end.as_str())), (&first, Some(&end)), ("a.b-c/", Some("a.b-c0"))] {
            let within = all.iter().filter(|(path, _)| path.as_str() >= first && end.is_none_or(|end| path.as_str() < end));
            let mut within: Vec<_> = within.cloned().collect();
            prop_assert_eq!(&scan(&store, first, end, Order::Ascending, page), &within);
            within.reverse();
            prop_assert_eq!(&scan(&store, first, end, Order::Descending, page), &within);
        }
        for order in [Order::Ascending, Order::Descending] {
            let mut there = records(store.reader(), CONTENTS, "", None, order);
            let mut asked: Vec<_> = (0..170).step_by(3).map(path).collect();
            asked.sort_unstable();
            if order == Order::Descending {
                asked.reverse();
            }
            for path in asked {
                let found = there.at(&path, page).expect("reads").map(|found| (found.path.into_owned(), found.cid));
                let cid = expected.get(&path).map(Block::cid);
                prop_assert_eq!(found, cid.map(|cid| (path.clone(), cid)), "{} {:?}", &path, order);
                let one = record(store.reader(), CONTENTS, &path).expect("reads").map(|record| record.cid);
                prop_assert_eq!(one, cid);
            }
        }
    }

    /// A damaged pack is an error or other records, whoever meets it.
    #[test]
    fn no_bytes_make_the_readers_of_packs_panic(bytes in proptest::collection::vec(any::<u8>(), 0..160)) {
        for head in [&[1][..], &[1, 0, 1, b'a'], &[1, 0, 0, 0, 1, b'a']] {
            let stored = [head, &bytes].concat();
            let _ = decode::<PackRow>(&stored);
            let store = Store::in_memory().expect("starts");
            commit(&store, |batch| {
                let key = PACKS.key(&(CONTENTS, "a".to_owned()));
                batch.put_stored(PACKS.id(), key, stored).expect("fits");
            });
            let _ = record(store.reader(), CONTENTS, "a");
            let _ = take_out(store.reader(), &mut Batch::new(), CONTENTS, "a", |_| false);
            for order in [Order::Ascending, Order::Descending] {
                let mut scan = records(store.reader(), CONTENTS, "0", Some("b"), order);
                while let Ok(Some(_)) = scan.next(1) {}
            }
        }
    }
}
