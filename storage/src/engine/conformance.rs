//! What every engine must do, run against each of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tempfile::TempDir;

use super::{Engine, EngineError, EngineKind, EngineSettings, Group, KeyRange, MemoryEngine, Page, PageLimit, Tuning};
use crate::limits::{BATCH_BYTES_MAX, KEY_BYTES_MAX, VALUE_BYTES_MAX};

/// An engine and the place where its rows outlive it.
enum Place {
    Memory(MemoryEngine),
    Disk(EngineKind, TempDir),
}

impl Place {
    fn all() -> Vec<Self> {
        let disk = |kind| Self::Disk(kind, tempfile::tempdir().expect("temporary directory"));
        [Self::Memory(MemoryEngine::new())].into_iter().chain(EngineKind::ALL.map(disk)).collect()
    }

    fn open(&self) -> Arc<dyn Engine> {
        self.try_open().unwrap_or_else(|error| panic!("{}: {error}", self.name()))
    }

    fn try_open(&self) -> Result<Arc<dyn Engine>, EngineError> {
        match self {
            Self::Memory(rows) => Ok(Arc::new(rows.reopen())),
            Self::Disk(kind, dir) => {
                super::open(*kind, &dir.path().join("data"), EngineSettings::default(), Tuning::with_memory(32 << 20))
            }
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Memory(_) => "memory",
            Self::Disk(kind, _) => kind.as_str(),
        }
    }
}

fn group(writes: &[(&[u8], Option<&[u8]>)]) -> Group {
    let mut group = Group::default();
    for (key, value) in writes {
        match value {
            Some(value) => group.put(key.to_vec(), value.to_vec()),
            None => group.delete(key.to_vec()),
        }
    }
    group
}

fn owned(page: &Page) -> Vec<(Vec<u8>, Vec<u8>)> {
    page.rows().map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
}

fn keys(engine: &dyn Engine, range: &KeyRange, reverse: bool, limit: PageLimit) -> (Vec<Vec<u8>>, bool) {
    let page = engine.page(range, reverse, limit).expect("reads");
    (page.rows().map(|(key, _)| key.to_vec()).collect(), page.more)
}

#[test]
fn groups_apply_in_order_and_the_last_change_of_a_key_wins() {
    for place in Place::all() {
        let engine = place.open();
        let mut first = group(&[(b"a", Some(b"1")), (b"b", Some(b"1"))]);
        first.delete(b"b".to_vec());
        first.put(b"c".to_vec(), b"old".to_vec());
        first.put(b"c".to_vec(), b"new".to_vec());
        engine.apply(&[first, Group::default(), group(&[(b"a", Some(b"2")), (b"gone", None)])]).expect("applies");
        let found = engine.multi_get(&[b"a", b"b", b"c", b"gone"]).expect("reads");
        let expected = [Some(b"2".to_vec()), None, Some(b"new".to_vec()), None];
        assert_eq!(found, expected, "{}", place.name());
        engine.apply(&[]).expect("nothing is fine");
    }
}

#[test]
fn pages_respect_range_direction_and_both_limits() {
    for place in Place::all() {
        let name = place.name();
        let engine = place.open();
        let rows: Vec<_> = (0..50_u8).map(|n| (vec![n], vec![n; 10])).collect();
        let mut all = Group::default();
        rows.iter().for_each(|(key, value)| all.put(key.clone(), value.clone()));
        engine.apply(&[all]).expect("applies");

        let range = KeyRange { start: vec![10], end: Some(vec![20]) };
        let (found, more) = keys(engine.as_ref(), &range, false, PageLimit::rows(4));
        assert_eq!((found, more), (vec![vec![10], vec![11], vec![12], vec![13]], true), "{name}");
        let (found, more) = keys(engine.as_ref(), &range, true, PageLimit::rows(2));
        assert_eq!((found, more), (vec![vec![19], vec![18]], true), "{name}");
        let (found, more) = keys(engine.as_ref(), &range, false, PageLimit::rows(10));
        assert_eq!((found.len(), more), (10, false), "{name}");
        // Bytes end a page too, but never before its first row.
        let (found, more) = keys(engine.as_ref(), &KeyRange::all(), false, PageLimit { rows: 50, bytes: 12 });
        assert_eq!((found.len(), more), (2, true), "{name}");
        let (found, _) = keys(engine.as_ref(), &KeyRange::all(), false, PageLimit { rows: 50, bytes: 1 });
        assert_eq!(found.len(), 1, "{name}");
        // Empty and inverted ranges hold nothing.
        for (start, end) in [(vec![20], vec![20]), (vec![20], vec![10])] {
            let empty = KeyRange { start, end: Some(end) };
            assert_eq!(keys(engine.as_ref(), &empty, false, PageLimit::rows(9)), (Vec::new(), false), "{name}");
        }
    }
}

#[test]
fn rows_at_the_bounds_survive_reopening() {
    for place in Place::all() {
        let engine = place.open();
        let row =
            |n: u16| ([&n.to_be_bytes()[..], &vec![7; KEY_BYTES_MAX - 2]].concat(), vec![n as u8; VALUE_BYTES_MAX]);
        let mut bytes = 0;
        let mut large = Group::default();
        let mut count = 0_u16;
        while bytes < BATCH_BYTES_MAX {
            let (key, value) = row(count);
            bytes += key.len() + value.len();
            large.put(key, value);
            count += 1;
        }
        engine.apply(&[large]).expect("applies");
        engine.close().expect("closes");
        drop(engine);
        let engine = place.open();
        for n in 0..count {
            let (key, value) = row(n);
            assert_eq!(engine.get(&key).expect("reads"), Some(value), "{} {n}", place.name());
        }
        // sled would have put large pages into files that it never syncs.
        if let Place::Disk(EngineKind::Sled, dir) = &place {
            let spilled = std::fs::read_dir(dir.path().join("data/blobs")).expect("lists").count();
            assert_eq!(spilled, 0, "pages spilled into files");
        }
    }
}

#[test]
fn what_was_filled_in_is_there_with_the_next_group() {
    for place in Place::all() {
        let name = place.name();
        let engine = place.open();
        let row = |n: u32| (n.wrapping_mul(2_654_435_761).to_be_bytes().to_vec(), n.to_be_bytes().repeat(90));
        let mut expected = BTreeMap::new();
        for part in 0..8 {
            let mut filling = Group::filling();
            for (key, value) in (part * 500..(part + 1) * 500).map(row) {
                filling.put(key.clone(), value.clone());
                expected.insert(key, value);
            }
            // Some come with other groups, whose order stays.
            if part % 3 == 2 {
                let key = row(0).0;
                engine.apply(&[group(&[(&key, None)]), filling, group(&[(&key, Some(b"last"))])]).expect("applies");
                expected.insert(key, b"last".to_vec());
            } else {
                engine.fill(&[filling]).expect("fills in");
            }
        }
        let gone = row(7).0;
        let mut filling = Group::filling();
        filling.delete(gone.clone());
        engine.fill(&[filling]).expect("fills in");
        expected.remove(&gone);
        engine.apply(&[group(&[(b"switch", Some(b"on"))])]).expect("applies");
        expected.insert(b"switch".to_vec(), b"on".to_vec());
        engine.close().expect("closes");
        drop(engine);
        let page = place.open().page(&KeyRange::all(), false, PageLimit::rows(10_000)).expect("reads");
        assert!(owned(&page) == Vec::from_iter(expected), "{name}");
    }
}

#[test]
fn a_closed_engine_says_so() {
    for place in Place::all() {
        let engine = place.open();
        engine.close().expect("closes");
        engine.close().expect("twice is fine");
        assert!(matches!(engine.get(b"a"), Err(EngineError::Closed)), "{}", place.name());
        assert!(matches!(engine.apply(&[]), Err(EngineError::Closed)), "{}", place.name());
        assert!(matches!(engine.stats(), Err(EngineError::Closed)), "{}", place.name());
        let page = engine.page(&KeyRange::all(), false, PageLimit::rows(1));
        assert!(matches!(page, Err(EngineError::Closed)), "{}", place.name());
    }
}

#[test]
fn files_in_use_are_locked() {
    for place in Place::all() {
        if let Place::Disk(..) = place {
            let _first = place.open();
            assert!(matches!(place.try_open(), Err(EngineError::Locked)), "{}", place.name());
        }
    }
}

#[test]
fn readers_go_on_while_groups_are_applied() {
    for place in Place::all() {
        let engine = place.open();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut reads = 0_u64;
                while !done.load(Ordering::Acquire) || reads == 0 {
                    let page =
                        engine.page(&KeyRange::all(), reads.is_multiple_of(2), PageLimit::rows(20)).expect("reads");
                    for (key, value) in page.rows() {
                        assert_eq!(key[0], value[0], "a row is never half written");
                    }
                    reads += 1;
                }
            });
            for round in 0..20_u8 {
                let mut writes = Group::default();
                (0..40_u8).for_each(|n| writes.put(vec![n], vec![n, round]));
                engine.apply(&[writes]).expect("applies");
            }
            done.store(true, Ordering::Release);
            reader.join().expect("the reader finds nothing wrong");
        });
    }
}

type Writes = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// One step of the comparison with the model.
#[derive(Clone, Debug)]
enum Step {
    Apply(Vec<Writes>),
    Get(Vec<u8>),
    Page { start: Vec<u8>, end: Option<Vec<u8>>, reverse: bool, rows: usize },
    Reopen,
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    // Few letters, so that keys meet, nest and sort next to each other.
    proptest::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(255), Just(b'a')], 1..4)
}

fn step() -> impl Strategy<Value = Step> {
    let value = proptest::option::weighted(0.7, (any::<u8>(), 0..300_usize).prop_map(|(byte, len)| vec![byte; len]));
    let group = proptest::collection::vec((key(), value), 0..12);
    prop_oneof![
        6 => proptest::collection::vec(group, 0..4).prop_map(Step::Apply),
        3 => key().prop_map(Step::Get),
        4 => (key(), proptest::option::of(key()), any::<bool>(), 1..30_usize)
            .prop_map(|(start, end, reverse, rows)| Step::Page { start, end, reverse, rows }),
        1 => Just(Step::Reopen),
    ]
}

#[test]
fn random_steps_agree_with_a_map() {
    let mut runner = TestRunner::new(Config { cases: 24, failure_persistence: None, ..Config::default() });
    let steps = proptest::collection::vec(step(), 1..40);
    runner
        .run(&steps, |steps| {
            for place in Place::all() {
                compare(&place, &steps)?;
            }
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

fn compare(place: &Place, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut model = BTreeMap::<Vec<u8>, Vec<u8>>::new();
    let mut engine = place.open();
    for step in steps {
        match step {
            Step::Apply(groups) => {
                let mut applied = Vec::new();
                for writes in groups {
                    let mut group = Group::default();
                    for (key, value) in writes.iter().cloned() {
                        match value {
                            Some(value) => {
                                model.insert(key.clone(), value.clone());
                                group.put(key, value);
                            }
                            None => {
                                model.remove(&key);
                                group.delete(key);
                            }
                        }
                    }
                    applied.push(group);
                }
                engine.apply(&applied).expect("applies");
            }
            Step::Get(key) => {
                prop_assert_eq!(engine.get(key).expect("reads"), model.get(key).cloned(), "{}", place.name());
            }
            Step::Page { start, end, reverse, rows } => {
                let range = KeyRange { start: start.clone(), end: end.clone() };
                let page = engine.page(&range, *reverse, PageLimit::rows(*rows)).expect("reads");
                let inside = |key: &Vec<u8>| key >= start && end.as_ref().is_none_or(|end| key < end);
                let mut expected: Vec<_> =
                    model.iter().filter(|(key, _)| inside(key)).map(|(k, v)| (k.clone(), v.clone())).collect();
                if *reverse {
                    expected.reverse();
                }
                prop_assert_eq!(page.more, expected.len() > *rows, "{}", place.name());
                expected.truncate(*rows);
                prop_assert_eq!(owned(&page), expected, "{}", place.name());
            }
            Step::Reopen => {
                engine.close().expect("closes");
                engine = place.open();
            }
        }
    }
    let rows = owned(&engine.page(&KeyRange::all(), false, PageLimit::rows(10_000)).expect("reads"));
    prop_assert_eq!(rows, model.into_iter().collect::<Vec<_>>(), "{}", place.name());
    Ok(())
}
