//! Compaction and conversion, finished and interrupted.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::Batch;
use crate::codec::Raw;
use crate::store::{Options, Store};
use crate::tables::{Table, TableId};

const ROWS: Table<u64, Raw> = Table::new(TableId::Peers);

fn open(dir: &Path, kind: EngineKind) -> Store {
    Store::open(dir, Options::new(kind, "angel 0.1.0")).unwrap_or_else(|error| panic!("{kind}: {error}"))
}

/// A store of 6,000 rows, three quarters of them removed again.
fn sparse(kind: EngineKind) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("temporary directory");
    let store = open(dir.path(), kind);
    for step in 0..6_u64 {
        let mut batch = Batch::new();
        for n in step * 1000..(step + 1) * 1000 {
            batch.put(&ROWS, &n, &Raw(vec![n as u8; 1000])).expect("fits");
        }
        store.writer().commit(batch).expect("commits");
    }
    for step in 0..6_u64 {
        let mut batch = Batch::new();
        for n in (step * 1000..(step + 1) * 1000).filter(|n| n % 4 != 0) {
            batch.delete(&ROWS, &n).expect("fits");
        }
        store.writer().commit(batch).expect("commits");
    }
    store.close().expect("closes");
    dir
}

fn check(dir: &Path, kind: EngineKind) {
    let store = open(dir, kind);
    let rows = store.reader().scan(&ROWS).page(10_000).expect("reads").rows;
    assert_eq!(rows.len(), 1500, "{kind}");
    assert!(rows.iter().all(|(n, value)| n % 4 == 0 && value.0 == vec![*n as u8; 1000]), "{kind}");
    // It can be written to as before.
    let mut batch = Batch::new();
    batch.put(&ROWS, &0, &Raw(vec![0; 1000])).expect("fits");
    store.writer().commit(batch).expect("commits");
    store.close().expect("closes");
}

#[test]
fn compaction_keeps_every_row_and_gives_space_back() {
    for kind in EngineKind::ALL {
        let dir = sparse(kind);
        let mut phases = Vec::new();
        let report = compact(dir.path(), Tuning::default(), &mut |progress| {
            if phases.last() != Some(&progress.phase) {
                phases.push(progress.phase);
            }
        });
        let report = report.unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!(phases, [Phase::Copying, Phase::Verifying, Phase::Replacing], "{kind}");
        // 1,500 rows, and the store's own about format and closing.
        assert_eq!(report.rows, 1502, "{kind}");
        if kind == EngineKind::Sled {
            assert!(report.disk_after < report.disk_before / 2, "{kind}: {report:?}");
        }
        assert!(!dir.path().join("data-1").exists());
        check(dir.path(), kind);
    }
}

#[test]
fn conversion_goes_both_ways() {
    let dir = sparse(EngineKind::Sled);
    for kind in [EngineKind::Fjall, EngineKind::Sled] {
        convert(dir.path(), kind, Tuning::default(), &mut |_| {}).unwrap_or_else(|error| panic!("{kind}: {error}"));
        let again = convert(dir.path(), kind, Tuning::default(), &mut |_| {});
        assert!(matches!(again, Err(RebuildError::SameEngine { .. })));
        check(dir.path(), kind);
    }
}

#[test]
fn a_compaction_that_dies_at_any_step_leaves_the_old_store() {
    for kind in EngineKind::ALL {
        let dir = sparse(kind);
        for die_at in 0.. {
            let mut steps = 0;
            // A panic unwinds without any of the tidying that an error gets, like a crash between two steps.
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                compact(dir.path(), Tuning::default(), &mut |_| {
                    assert!(steps != die_at, "dies here");
                    steps += 1;
                })
            }));
            match outcome {
                Ok(report) => {
                    report.unwrap_or_else(|error| panic!("{kind}: {error}"));
                    assert!(die_at > 2, "it died in every phase before");
                    break;
                }
                Err(_) => check(dir.path(), kind),
            }
        }
        check(dir.path(), kind);
    }
}

#[test]
fn an_exchange_interrupted_between_manifest_and_removal_is_finished() {
    for kind in EngineKind::ALL {
        let dir = sparse(kind);
        // What a crash leaves right after the manifest changed: the old directory is still there, and named.
        std::fs::create_dir(dir.path().join("data-0")).expect("creates");
        std::fs::create_dir(dir.path().join("data-9")).expect("creates");
        let mut manifest = crate::manifest::Manifest::read(dir.path()).expect("reads").expect("is there");
        manifest.retired = Some("data-0".to_owned());
        manifest.building = Some("data-9".to_owned());
        manifest.write(dir.path()).expect("writes");
        check(dir.path(), kind);
        assert!(!dir.path().join("data-0").exists() && !dir.path().join("data-9").exists());
    }
}

#[test]
fn a_store_in_use_or_absent_is_left_alone() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let absent = compact(&dir.path().join("nowhere"), Tuning::default(), &mut |_| {});
    assert!(matches!(absent, Err(RebuildError::Open(OpenError::NotFound { .. }))));
    assert!(!dir.path().join("nowhere").exists());
    let _store = open(dir.path(), EngineKind::Sled);
    let in_use = compact(dir.path(), Tuning::default(), &mut |_| {});
    assert!(matches!(in_use, Err(RebuildError::Open(OpenError::InUse { .. }))));
}
