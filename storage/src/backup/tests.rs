//! Cuts under writers, stores filled from them, and roots that do not hold.

use std::collections::BTreeMap;

use angel_protocol::time::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::accounts::{self, AccountRow};
use crate::codec::Raw;
use crate::engine::{EngineKind, KeyRange, PageLimit, Tuning};
use crate::events::{self, EventKind, NewEvent};
use crate::node_meta::{FORMAT, SEQUENCE};
use crate::store::{OpenError, Options, Store};
use crate::tables::NODE_META;
use crate::{Batch, Reader};

const ROWS: Table<u64, Raw> = Table::new(TableId::Local);
const OTHERS: Table<u64, Raw> = Table::new(TableId::Preferences);

/// Bytes put aside at most, where that is not the question.
const ROOM: usize = 64 << 20;

fn stores() -> Vec<(Option<tempfile::TempDir>, Store)> {
    let on_disk = |kind| {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::open(dir.path(), Options::new(kind, "angel 0.1.0")).expect("opens");
        (Some(dir), store)
    };
    let memory = Store::in_memory().expect("opens");
    vec![(None, memory), on_disk(EngineKind::Sled), on_disk(EngineKind::Fjall)]
}

fn all(reader: &Reader) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut rows = BTreeMap::new();
    let mut range = KeyRange::all();
    loop {
        let page = reader.rows(&range, false, PageLimit::rows(10_000)).expect("reads");
        if let Some(last) = page.last_key() {
            range = range.beyond(last, false);
        }
        rows.extend(page.rows().map(|(key, value)| (key.to_vec(), value.to_vec())));
        if !page.more {
            return rows;
        }
    }
}

/// A small generator of our own: the same changes on every engine.
struct Changes(u64);

impl Changes {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn batch(&mut self) -> Batch {
        let mut batch = Batch::new();
        for _ in 0..50 {
            let (key, value) = (self.next() % 9_000, self.next());
            let table = if value.is_multiple_of(2) { &ROWS } else { &OTHERS };
            if value.is_multiple_of(5) {
                batch.delete(table, &key).expect("fits");
            } else {
                let bytes = value.to_be_bytes().repeat(1 + (value % 90) as usize);
                batch.put(table, &key, &Raw(bytes)).expect("fits");
            }
        }
        let event = NewEvent::new(Timestamp::EPOCH, None, EventKind(1), &self.next().to_be_bytes()).expect("small");
        batch.append_event(event).expect("room");
        batch
    }
}

#[test]
fn a_cut_is_the_store_at_one_moment_whatever_is_written_meanwhile() {
    for (_dir, store) in stores() {
        let mut changes = Changes(1);
        for _ in 0..300 {
            store.writer().commit(changes.batch()).expect("commits");
        }
        let (before, newest) = (all(store.reader()), store.reader().durable_sequence());
        let mut cut = Cut::begin(store.reader(), store.writer(), ROOM).expect("a cut");
        assert!(matches!(Cut::begin(store.reader(), store.writer(), ROOM), Err(CutError::AlreadyOpen)));
        let mut read = BTreeMap::new();
        let mut pages = 0;
        loop {
            for _ in 0..20 {
                store.writer().commit(changes.batch()).expect("commits");
            }
            let Some(rows) = cut.next_rows().expect("reads") else { break };
            pages += 1;
            for (key, value) in rows {
                assert!(read.insert(key, value).is_none(), "no row comes twice");
            }
        }
        assert!(pages > 2, "{pages}");
        assert!(read == before, "{} rows read, {} expected", read.len(), before.len());
        assert_eq!(cut.sequence(), newest);
        assert_ne!(all(store.reader()), before);
        drop(cut);
        Cut::begin(store.reader(), store.writer(), ROOM).expect("the next one");
    }
}

#[test]
fn a_cut_lies_between_flushes_of_writers_that_never_pause() {
    let store = Store::in_memory().expect("opens");
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for n in 0..4_u64 {
            let (writer, stop) = (store.writer().clone(), &stop);
            scope.spawn(move || {
                let mut round = 0_u64;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    round += 1;
                    // Both rows of a pair always say the same.
                    let mut batch = Batch::new();
                    let value = Raw(round.to_be_bytes().to_vec());
                    batch.put(&ROWS, &(n * 1_000 + round % 700), &value).expect("fits");
                    batch.put(&OTHERS, &(n * 1_000 + round % 700), &value).expect("fits");
                    writer.commit(batch).expect("commits");
                }
            });
        }
        for _ in 0..20 {
            let mut cut = Cut::begin(store.reader(), store.writer(), ROOM).expect("a cut");
            let mut pairs: BTreeMap<Vec<u8>, Vec<Vec<u8>>> = BTreeMap::new();
            while let Some(rows) = cut.next_rows().expect("reads") {
                for (key, value) in rows.into_iter().filter(|(key, _)| key.len() == 9) {
                    pairs.entry(key[1..].to_vec()).or_default().push(value);
                }
                std::thread::yield_now();
            }
            for (key, values) in pairs {
                assert!(values.len() == 2 && values[0] == values[1], "{key:?}: {values:?}");
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn what_is_put_aside_is_bounded_and_the_writer_goes_on() {
    let store = Store::in_memory().expect("opens");
    let mut changes = Changes(2);
    for _ in 0..300 {
        store.writer().commit(changes.batch()).expect("commits");
    }
    let mut cut = Cut::begin(store.reader(), store.writer(), 10_000).expect("a cut");
    for _ in 0..100 {
        store.writer().commit(changes.batch()).expect("commits all the same");
    }
    assert!(matches!(cut.next_rows(), Err(CutError::TooMuchWritten { bytes: 10_000 })));
}

fn fill(dir: &std::path::Path, kind: EngineKind, rows: &BTreeMap<Vec<u8>, Vec<u8>>, floor: u64) {
    let mut filling = Filling::begin(dir, kind, "angel 0.1.0", Tuning::default()).expect("begins");
    filling.put(rows.clone()).expect("takes rows");
    filling.finish(floor).expect("becomes a store");
}

/// Without the rows that say how often a store was closed and which numbers are reserved.
fn but_meta(rows: &BTreeMap<Vec<u8>, Vec<u8>>) -> BTreeMap<Vec<u8>, Vec<u8>> {
    rows.iter().filter(|(key, _)| key[0] != 1).map(|(key, value)| (key.clone(), value.clone())).collect()
}

#[test]
fn a_filled_store_holds_what_was_cut_and_its_numbers_go_on_ahead() {
    for (_dir, store) in stores() {
        let mut changes = Changes(3);
        for _ in 0..100 {
            store.writer().commit(changes.batch()).expect("commits");
        }
        let mut rows = all(store.reader());
        // The one in memory was never given a format.
        rows.extend(all(stores()[1].1.reader()).into_iter().filter(|(key, _)| key[0] == 1));
        for kind in EngineKind::ALL {
            let dir = tempfile::tempdir().expect("a directory");
            fill(dir.path(), kind, &rows, 5_000_000);
            let filled = Store::open(dir.path(), Options::new(kind, "angel 0.1.0")).expect("opens");
            assert!(but_meta(&all(filled.reader())) == but_meta(&rows));
            let committed = filled.writer().commit(changes.batch()).expect("commits");
            assert!(committed.first_sequence > Some(5_000_000), "{committed:?}");
            let newest = events::after(filled.reader(), 5_000_000, 1).expect("reads");
            assert_eq!(newest.events.len(), 1);
            filled.close().expect("closes");
        }
    }
}

#[test]
fn what_is_not_whole_is_never_opened_and_what_is_there_never_touched() {
    let dir = tempfile::tempdir().expect("a directory");
    let begin = |kind| Filling::begin(dir.path(), kind, "angel 0.1.0", Tuning::default());
    let mut filling = begin(EngineKind::Sled).expect("begins");
    filling.put([(vec![6, 1], vec![2])]).expect("takes rows");
    drop(filling);
    let open = || Store::open(dir.path(), Options::new(EngineKind::Sled, "angel 0.1.0"));
    assert!(matches!(open(), Err(OpenError::HalfRestored { .. })));
    let filling = begin(EngineKind::Sled).expect("begins anew");
    assert!(matches!(filling.finish(0), Err(FillError::NoStore)));
    assert!(matches!(open(), Err(OpenError::HalfRestored { .. })));

    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::open(dir.path(), Options::new(EngineKind::Sled, "angel 0.1.0")).expect("opens");
    store.close().expect("closes");
    let refused = Filling::begin(dir.path(), EngineKind::Sled, "angel 0.1.0", Tuning::default());
    assert!(matches!(refused, Err(FillError::NotEmpty { .. })));
    Store::open(dir.path(), Options::new(EngineKind::Sled, "angel 0.1.0")).expect("still there");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn random_stores_come_back_equal(
        rows in proptest::collection::btree_map(
            (prop_oneof![Just(6_u8), Just(0x10), Just(0x22), Just(0x62)], proptest::collection::vec(any::<u8>(), 0..30)),
            proptest::collection::vec(any::<u8>(), 0..3_000),
            0..200,
        ),
        floor in 0_u64..1 << 50,
    ) {
        let rows = rows.into_iter().map(|((table, key), value)| ([vec![table], key].concat(), value));
        let mut rows: BTreeMap<Vec<u8>, Vec<u8>> = rows.collect();
        let dir = tempfile::tempdir().expect("a directory");
        let new = Store::open(dir.path(), Options::new(EngineKind::Fjall, "angel 0.1.0")).expect("opens");
        rows.extend(all(new.reader()));
        let dir = tempfile::tempdir().expect("a directory");
        fill(dir.path(), EngineKind::Fjall, &rows, floor);
        let filled = Store::open(dir.path(), Options::new(EngineKind::Fjall, "angel 0.1.0")).expect("opens");
        prop_assert!(but_meta(&all(filled.reader())) == but_meta(&rows));
    }
}

fn did(name: &str) -> angel_protocol::ids::Did {
    format!("did:web:{name}.example").parse().expect("a DID")
}

/// A row of an account's preferences, by account and part.
const OF_ACCOUNT: Table<(AccountId, u16), Raw> = Table::new(TableId::Preferences);

fn account(store: &Store, id: u64, name: &str) {
    let mut batch = Batch::new();
    let row = AccountRow::without_names(did(name), did("key"), Timestamp::EPOCH);
    accounts::stage_new(&mut batch, AccountId(id), &row).expect("fits");
    store.writer().commit(batch).expect("commits");
}

fn put(store: &Store, id: u64, part: u16, value: &[u8]) {
    let mut batch = Batch::new();
    batch.put(&OF_ACCOUNT, &(AccountId(id), part), &Raw(value.to_vec())).expect("fits");
    store.writer().commit(batch).expect("commits");
}

#[test]
fn a_cut_of_one_account_is_that_account_at_one_moment_and_nobody_else() {
    for (_dir, store) in stores() {
        for (id, name) in [(1, "before"), (2, "shop"), (3, "behind")] {
            account(&store, id, name);
            (0..3_000).for_each(|part| put(&store, id, part, format!("{name} {part}").repeat(40).as_bytes()));
        }
        assert!(Cut::begin_of(store.reader(), store.writer(), AccountId(9), ROOM).expect("looks").is_none());
        let whole = all(store.reader());
        let cut = Cut::begin_of(store.reader(), store.writer(), AccountId(2), ROOM).expect("a cut");
        let mut cut = cut.expect("there is such an account");
        let mut read = BTreeMap::new();
        let mut pages = 0;
        while let Some(rows) = cut.next_rows().expect("reads") {
            pages += 1;
            read.extend(rows);
            for id in 1..4 {
                put(&store, id, 2_999, b"written meanwhile");
                put(&store, id, 4_000 + pages, b"new meanwhile");
            }
        }
        assert!(pages > 3, "{pages}");
        assert!(read.iter().all(|(key, value)| whole.get(key) == Some(value)), "as it was when the cut began");
        let of = |id: u64| OF_ACCOUNT.prefix(&AccountId(id));
        let within = |rows: &BTreeMap<Vec<u8>, Vec<u8>>, range: &KeyRange| {
            rows.keys().filter(|key| **key >= range.start && range.end.as_ref().is_none_or(|end| *key < end)).count()
        };
        assert_eq!([1, 2, 3].map(|id| within(&read, &of(id))), [0, 3_000, 0]);
        // Besides: what kind of store it is, the account's row, and where its DID leads.
        let tables: Vec<_> =
            read.keys().map(|key| key[0]).filter(|table| *table != TableId::Preferences.byte()).collect();
        assert!(tables.iter().all(|table| [0x01, 0x10, 0x11].contains(table)), "{tables:?}");
        // One in memory has no format that could be another.
        let kind = [FORMAT, SEQUENCE].iter().filter(|name| whole.contains_key(&NODE_META.key(&(**name).to_owned())));
        assert_eq!((tables.len(), cut.ledger()), (2 + kind.count(), (0, [0; 32])));
        drop(cut);

        // What others write takes no room; what the account writes does, and ends it.
        let begin =
            || Cut::begin_of(store.reader(), store.writer(), AccountId(2), 2_000).expect("a cut").expect("there");
        let mut cut = begin();
        (0..3_000).for_each(|part| put(&store, 3, part, b"changed"));
        assert!(cut.next_rows().is_ok());
        drop(cut);
        let mut cut = begin();
        (0..3_000).for_each(|part| put(&store, 2, part, b"changed"));
        assert!(matches!(cut.next_rows(), Err(CutError::TooMuchWritten { .. })));
    }
}

#[test]
fn who_holds_a_file_is_told_where_a_store_would_tell_it() {
    let (account, mut holders) = (AccountId(2), Holders::default());
    let cids: Vec<_> =
        (0..5_u8).map(|byte| angel_protocol::data::Cid::of(angel_protocol::data::Codec::Raw, &[byte])).collect();
    for cid in &cids {
        let mut key = vec![TableId::Blobs.byte()];
        crate::key::Key::encode(&account, &mut key);
        key.extend(cid.to_bytes());
        assert!(holders.before(&key, account).is_empty());
    }
    assert!(holders.before(&[TableId::BlobRefs.byte(), 1], account).is_empty());
    let told = holders.before(&[TableId::Tenants.byte(), 1], account);
    assert!(told.is_sorted() && told.iter().all(|(key, _)| key[0] == TableId::BlobHolders.byte()));
    let held: std::collections::BTreeSet<_> =
        told.iter().map(|(key, _)| held_blob(key).expect("a key").expect("of that table")).collect();
    assert_eq!(held, cids.into_iter().collect());
    assert!(holders.rest(account).is_empty(), "each is told once");
}
