//! Row formats and the way forward: migrations run at open, in bounded atomic batches, and go on where they stopped.
//!
//! Most changes need none: a value carries its version and is brought forward when read ([`crate::codec`]). A migration
//! is for changes of keys and for changes that every row must have before the first read.

use crate::codec;
use crate::engine::{Engine, EngineError, Group, KeyRange, PageLimit};
use crate::limits::BULK_ROWS;
use crate::node_meta::{FORMAT, FormatRow, MetaRow, Migrating};
use crate::tables::NODE_META;

/// The row format that this software writes.
pub(crate) const CURRENT: u32 = 1;

/// Every migration, oldest first, one per step of the format.
pub(crate) const MIGRATIONS: &[Migration] = &[];

/// Bytes that one batch of a migration may read.
const BATCH_BYTES: usize = 2 * 1024 * 1024;

/// One step of the row format.
#[derive(Clone, Debug)]
pub(crate) struct Migration {
    /// The format it starts from; it leads to the next.
    pub(crate) from: u32,
    /// For the log.
    pub(crate) name: &'static str,
    /// The rows it looks at.
    pub(crate) range: fn() -> KeyRange,
    /// What it makes of a row. Must answer the same when asked again, and a row that it adds must either lie outside
    /// the range or be kept when met.
    pub(crate) edit: fn(&[u8], &[u8]) -> Result<Edit, String>,
}

/// What a migration makes of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(not(test), expect(dead_code, reason = "the first format has no migrations"))]
pub(crate) enum Edit {
    /// Leave it.
    Keep,
    /// Give it this value.
    Replace(Vec<u8>),
    /// Move it to this key, with this value.
    Move(Vec<u8>, Vec<u8>),
    /// Remove it.
    Remove,
}

/// Brings the rows to format `target`. Returns how many rows were looked at.
pub(crate) fn run(
    engine: &dyn Engine,
    mut row: FormatRow,
    target: u32,
    migrations: &[Migration],
    software: &str,
) -> Result<u64, MigrateError> {
    if row.format > target || row.migrating.as_ref().is_some_and(|migrating| migrating.to > target) {
        let format = row.migrating.as_ref().map_or(row.format, |migrating| migrating.to);
        return Err(MigrateError::Newer { format, software: row.software, known: target });
    }
    let mut seen = 0;
    while row.format < target {
        let migration = migrations
            .iter()
            .find(|migration| migration.from == row.format)
            .ok_or(MigrateError::NoPath { format: row.format, software: row.software.clone() })?;
        tracing::info!(from = row.format, migration = migration.name, "migrating the store");
        seen += step(engine, &mut row, migration, software)?;
    }
    if row.software != software {
        row.software = software.to_owned();
        engine.apply(&[group_with(&row)?])?;
    }
    Ok(seen)
}

/// Runs one migration from where it stopped to its end.
fn step(engine: &dyn Engine, row: &mut FormatRow, migration: &Migration, software: &str) -> Result<u64, MigrateError> {
    let to = migration.from + 1;
    software.clone_into(&mut row.software);
    let mut seen = 0;
    loop {
        let mut range = (migration.range)();
        if let Some(migrating) = &row.migrating {
            range = range.beyond(&migrating.after, false);
        }
        let page = engine.page(&range, false, PageLimit { rows: BULK_ROWS, bytes: BATCH_BYTES })?;
        let mut group = Group::default();
        for (key, value) in page.rows() {
            let edit = (migration.edit)(key, value).map_err(|detail| MigrateError::Row {
                migration: migration.name,
                key: crate::reader::hex(key),
                detail,
            })?;
            match edit {
                Edit::Keep => {}
                Edit::Replace(value) => group.put(key.to_vec(), value),
                Edit::Move(new_key, value) => {
                    group.delete(key.to_vec());
                    group.put(new_key, value);
                }
                Edit::Remove => group.delete(key.to_vec()),
            }
        }
        seen += u64::try_from(page.len()).unwrap_or(u64::MAX);
        match page.last_key() {
            Some(last) if page.more => row.migrating = Some(Migrating { to, after: last.to_vec() }),
            _ => {
                row.migrating = None;
                row.format = to;
            }
        }
        let stored = encode(row)?;
        group.put(NODE_META.key(&FORMAT.to_owned()), stored);
        engine.apply(&[group])?;
        if row.format == to {
            return Ok(seen);
        }
    }
}

/// The group that stores `row` and nothing else.
pub(crate) fn group_with(row: &FormatRow) -> Result<Group, MigrateError> {
    let mut group = Group::default();
    group.put(NODE_META.key(&FORMAT.to_owned()), encode(row)?);
    Ok(group)
}

fn encode(row: &FormatRow) -> Result<Vec<u8>, MigrateError> {
    codec::encode(&MetaRow::Format(row.clone()))
        .map_err(|error| EngineError::Failed { detail: error.to_string() }.into())
}

/// Why the rows cannot be brought to the current format.
#[derive(Clone, Debug, thiserror::Error)]
pub enum MigrateError {
    /// Newer software wrote them.
    #[error(
        "the store was last written by {software} (row format {format}), this software reads formats up to {known}: \
         start {software} again, or restore a backup made before the upgrade"
    )]
    Newer {
        /// The format found.
        format: u32,
        /// Who wrote it.
        software: String,
        /// The newest format known here.
        known: u32,
    },
    /// Software too old to be upgraded from in one step, or no release at all.
    #[error(
        "the store was last written by {software} (row format {format}), from which there is no way forward here: \
         start a release in between first"
    )]
    NoPath {
        /// The format found.
        format: u32,
        /// Who wrote it.
        software: String,
    },
    /// A row is not what the migration expects.
    #[error("migration {migration} stopped at row {key}: {detail}; nothing is lost, run `angel storage verify`")]
    Row {
        /// The migration.
        migration: &'static str,
        /// The stored key, in hexadecimal.
        key: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The engine failed; the next opening goes on from there.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::engine::{EngineStats, MemoryEngine, Page};
    use crate::tables::TableId;

    const ROWS: u64 = 5 * BULK_ROWS as u64 + 17;

    fn old_key(n: u64) -> Vec<u8> {
        [&[TableId::Peers.byte()][..], &n.to_le_bytes()].concat()
    }

    fn new_key(n: u64) -> Vec<u8> {
        [&[TableId::Cursors.byte()][..], &n.to_be_bytes()].concat()
    }

    /// Format 1 kept little-endian keys in another table; format 2 moves them; format 3 doubles each value's bytes once.
    const STEPS: &[Migration] = &[
        Migration {
            from: 1,
            name: "big-endian keys",
            range: || TableId::Peers.range(),
            edit: |key, value| {
                let n: [u8; 8] = key[1..].try_into().map_err(|_| "a key has eight bytes".to_owned())?;
                Ok(Edit::Move(new_key(u64::from_le_bytes(n)), value.to_vec()))
            },
        },
        Migration {
            from: 2,
            name: "values of two bytes",
            range: || TableId::Cursors.range(),
            edit: |key, value| match (key[8] % 4, value.len()) {
                (0, _) => Ok(Edit::Remove),
                (1, _) => Ok(Edit::Keep),
                (_, 1) => Ok(Edit::Replace(value.repeat(2))),
                (_, other) => Err(format!("a value has one byte, not {other}")),
            },
        },
    ];

    /// A store as format 1 left it.
    fn old_store() -> (MemoryEngine, FormatRow) {
        let engine = MemoryEngine::new();
        let row = FormatRow { format: 1, software: "angel 0.1.0".to_owned(), migrating: None };
        let mut group = group_with(&row).expect("encodes");
        (0..ROWS).for_each(|n| group.put(old_key(n), vec![n as u8]));
        engine.apply(&[group]).expect("applies");
        (engine, row)
    }

    fn stored_format(engine: &dyn Engine) -> FormatRow {
        let stored = engine.get(&NODE_META.key(&FORMAT.to_owned())).expect("reads").expect("is there");
        match NODE_META.decode_value(&stored).expect("decodes") {
            MetaRow::Format(row) => row,
            other => panic!("{other:?}"),
        }
    }

    fn check_migrated(engine: &dyn Engine) {
        assert_eq!(stored_format(engine), FormatRow { format: 3, software: "angel 0.3.0".to_owned(), migrating: None });
        assert!(engine.page(&TableId::Peers.range(), false, PageLimit::rows(1)).expect("reads").is_empty());
        for n in 0..ROWS {
            let expected = match n % 4 {
                0 => None,
                1 => Some(vec![n as u8]),
                _ => Some(vec![n as u8; 2]),
            };
            assert_eq!(engine.get(&new_key(n)).expect("reads"), expected, "{n}");
        }
    }

    #[test]
    fn old_rows_become_new_ones() {
        let (engine, row) = old_store();
        assert_eq!(run(&engine, row, 3, STEPS, "angel 0.3.0").expect("migrates"), 2 * ROWS);
        check_migrated(&engine);
        let row = stored_format(&engine);
        assert_eq!(run(&engine, row, 3, STEPS, "angel 0.3.0").expect("nothing to do"), 0);
    }

    /// Lets a number of batches through and then loses power.
    #[derive(Debug)]
    struct Dying {
        inner: MemoryEngine,
        left: AtomicU64,
    }

    impl Engine for Dying {
        fn apply(&self, groups: &[Group]) -> Result<(), EngineError> {
            let alive = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
            alive.map_err(|_| EngineError::Failed { detail: "power cut".to_owned() })?;
            self.inner.apply(groups)
        }

        fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
            self.inner.get(key)
        }

        fn multi_get(&self, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, EngineError> {
            self.inner.multi_get(keys)
        }

        fn page(&self, range: &KeyRange, reverse: bool, limit: PageLimit) -> Result<Page, EngineError> {
            self.inner.page(range, reverse, limit)
        }

        fn maintain(&self) -> Result<(), EngineError> {
            self.inner.maintain()
        }

        fn stats(&self) -> Result<EngineStats, EngineError> {
            self.inner.stats()
        }

        fn close(&self) -> Result<(), EngineError> {
            self.inner.close()
        }
    }

    #[test]
    fn a_crash_after_any_batch_is_resumed() {
        for batches in 0.. {
            let (engine, row) = old_store();
            let dying = Dying { inner: engine.reopen(), left: AtomicU64::new(batches) };
            let finished = run(&dying, row, 3, STEPS, "angel 0.3.0").is_ok();
            if !finished {
                let row = stored_format(&engine);
                run(&engine, row, 3, STEPS, "angel 0.3.0").expect("goes on");
            }
            check_migrated(&engine);
            if finished {
                assert!(batches > 8, "the migration took several batches");
                return;
            }
        }
    }

    #[test]
    fn rows_of_newer_software_name_it() {
        let (engine, _) = old_store();
        let newer = FormatRow { format: 4, software: "angel 9.0.0".to_owned(), migrating: None };
        let error = run(&engine, newer, 3, STEPS, "angel 0.3.0").expect_err("is newer").to_string();
        assert!(error.contains("written by angel 9.0.0") && error.contains("start angel 9.0.0 again"), "{error}");
        // Half-way to a format that this software does not know.
        let migrating = Some(Migrating { to: 4, after: Vec::new() });
        let halfway = FormatRow { format: 3, software: "angel 9.0.0".to_owned(), migrating };
        assert!(matches!(run(&engine, halfway, 3, STEPS, "x"), Err(MigrateError::Newer { format: 4, .. })));
        let ancient = FormatRow { format: 0, software: "angel 0.0.1".to_owned(), migrating: None };
        assert!(matches!(run(&engine, ancient, 3, STEPS, "x"), Err(MigrateError::NoPath { format: 0, .. })));
    }

    #[test]
    fn a_row_that_does_not_fit_stops_the_migration_and_is_named() {
        let (engine, row) = old_store();
        let mut group = Group::default();
        group.put(vec![TableId::Peers.byte(), 1], vec![1]);
        engine.apply(&[group]).expect("applies");
        let error = run(&engine, row, 3, STEPS, "angel 0.3.0").expect_err("stops").to_string();
        assert!(error.contains("big-endian keys") && error.contains("0501"), "{error}");
    }
}
