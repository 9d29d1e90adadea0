//! Checking a closed store: reads every row, and decodes those whose types are known.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use crate::codec::StoredValue;
use crate::engine::{EngineError, EngineKind, KeyRange, PageLimit, Tuning};
use crate::key::Key;
use crate::limits::BULK_ROWS;
use crate::reader::hex;
use crate::store::{OpenError, open_existing};
use crate::tables::{CURSORS, EVENT_PARTS, EVENTS, NODE_META, Table, TableId};

/// Faults that are described; the rest are counted.
const FAULTS_LISTED_MAX: usize = 100;

/// How to check the rows of one table.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    table: TableId,
    decode: fn(&[u8], &[u8]) -> Result<(), String>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The engine that keeps the store.
    pub engine: EngineKind,
    /// Rows per table, in the order of the catalogue; rows of no known table under `None`.
    pub rows: BTreeMap<Option<TableId>, u64>,
    /// Rows of tables whose types nobody gave: read, not decoded.
    pub unchecked: u64,
    /// The first faults.
    pub faults: Vec<Fault>,
    /// All faults.
    pub faults_total: u64,
}

/// A row that is not what its table says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The table, if the first byte names one.
    pub table: Option<TableId>,
    /// The stored key, in hexadecimal.
    pub key: String,
    /// What is wrong.
    pub detail: String,
}

impl Report {
    /// Whether every row is what its table says.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.faults_total == 0
    }

    /// Rows read.
    #[must_use]
    pub fn rows_total(&self) -> u64 {
        self.rows.values().sum()
    }

    fn fault(&mut self, table: Option<TableId>, key: &[u8], detail: String) {
        self.faults_total += 1;
        if self.faults.len() < FAULTS_LISTED_MAX {
            self.faults.push(Fault { table, key: hex(key), detail });
        }
    }
}

impl Check {
    /// Decodes keys and values with the table's types.
    #[must_use]
    pub fn of<K: Key, V: StoredValue>(table: &Table<K, V>) -> Self {
        fn decode<K: Key, V: StoredValue>(key: &[u8], value: &[u8]) -> Result<(), String> {
            let id = key.first().copied().and_then(TableId::from_byte).ok_or("the key has no table")?;
            let table = Table::<K, V>::new(id);
            table.decode_key(key).map_err(|error| error.to_string())?;
            table.decode_value(value).map(|_| ()).map_err(|error| error.to_string())
        }
        Self { table: table.id(), decode: decode::<K, V> }
    }

    /// How the rows of a table of this crate are checked; `None` for a table of which it knows only bytes.
    pub(crate) fn of_table(table: TableId) -> Option<Self> {
        static CHECKS: LazyLock<BTreeMap<TableId, Check>> = LazyLock::new(|| {
            Check::own().into_iter().chain(crate::repos::checks()).map(|check| (check.table, check)).collect()
        });
        CHECKS.get(&table).copied()
    }

    /// Whether a row is what its table says; the error never shows what is in it.
    pub(crate) fn accepts(&self, key: &[u8], value: &[u8]) -> Result<(), String> {
        (self.decode)(key, value)
    }

    /// The tables that this crate owns.
    fn own() -> Vec<Self> {
        let mut own = vec![Self::of(&NODE_META), Self::of(&EVENTS), Self::of(&EVENT_PARTS), Self::of(&CURSORS)];
        own.extend(crate::accounts::checks());
        own.extend(crate::blobs::checks());
        own.extend(crate::plc::checks());
        own.extend(crate::tenants::checks());
        own.extend(crate::permissioned::checks());
        own.extend(crate::spaces::checks());
        own.extend(crate::replicas::checks());
        own.extend(crate::moves::checks());
        own.extend(crate::roadmap::checks());
        own.extend(crate::belongings::checks());
        own
    }
}

/// Reads every row of the closed store in `dir`. `checks` decode the tables of the caller; `progress` hears the number
/// of rows read so far.
///
/// # Errors
///
/// The store cannot be opened, or the engine cannot read on: what it read until then is in the error's text.
pub fn verify(
    dir: &Path,
    tuning: Tuning,
    checks: &[Check],
    progress: &mut dyn FnMut(u64),
) -> Result<Report, VerifyError> {
    let opened = open_existing(dir, tuning)?;
    let checks: BTreeMap<TableId, Check> =
        Check::own().iter().chain(&crate::repos::checks()).chain(checks).map(|check| (check.table, *check)).collect();
    let mut report = Report {
        engine: opened.manifest.engine,
        rows: BTreeMap::new(),
        unchecked: 0,
        faults: Vec::new(),
        faults_total: 0,
    };
    let mut range = KeyRange::all();
    loop {
        let page = opened.engine.page(&range, false, PageLimit::rows(BULK_ROWS));
        let page = page.map_err(|source| VerifyError::Unreadable { rows: report.rows_total(), source })?;
        for (key, value) in page.rows() {
            inspect(&mut report, &checks, key, value);
        }
        progress(report.rows_total());
        match page.last_key() {
            Some(last) if page.more => range = range.beyond(last, false),
            _ => break,
        }
    }
    opened.engine.close().map_err(OpenError::from)?;
    Ok(report)
}

fn inspect(report: &mut Report, checks: &BTreeMap<TableId, Check>, key: &[u8], value: &[u8]) {
    let table = key.first().copied().and_then(TableId::from_byte);
    *report.rows.entry(table).or_default() += 1;
    match table.map(|table| checks.get(&table)) {
        None => report.fault(None, key, "the key belongs to no table of this software".to_owned()),
        Some(None) => report.unchecked += 1,
        Some(Some(check)) => {
            if let Err(detail) = (check.decode)(key, value) {
                report.fault(table, key, detail);
            }
        }
    }
}

/// Why a store could not be checked to its end.
#[derive(Clone, Debug, thiserror::Error)]
pub enum VerifyError {
    /// It cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A row cannot be read.
    #[error("after {rows} rows that could be read: {source}; restore the store from a backup or from a peer")]
    Unreadable {
        /// Rows read before.
        rows: u64,
        /// What the engine says.
        source: EngineError,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Cbor, Raw};
    use crate::store::{Options, Store};
    use crate::{Batch, cursors};

    #[test]
    fn rows_are_counted_and_wrong_ones_named() {
        const RAW: Table<u64, Raw> = Table::new(TableId::Peers);
        const TYPED: Table<u64, Cbor<String>> = Table::new(TableId::Peers);
        let dir = tempfile::tempdir().expect("temporary directory");
        let store = Store::open(dir.path(), Options::new(EngineKind::Sled, "angel 0.1.0")).expect("creates");
        let mut batch = Batch::new();
        batch.put(&TYPED, &1, &Cbor("fine".to_owned())).expect("fits");
        batch.put(&RAW, &2, &Raw(vec![0xFF])).expect("fits");
        let row = cursors::CursorRow { sequence: 1, at: angel_protocol::time::Timestamp::EPOCH };
        cursors::set(&mut batch, "index", "handles", row).expect("fits");
        store.writer().commit(batch).expect("commits");
        store.close().expect("closes");

        let mut seen = 0;
        let report = verify(dir.path(), Tuning::default(), &[Check::of(&TYPED)], &mut |rows| seen = rows);
        let report = report.expect("reads");
        assert_eq!((report.rows[&Some(TableId::Peers)], report.rows[&Some(TableId::Cursors)]), (2, 1));
        assert_eq!((report.faults_total, report.unchecked, seen), (1, 0, report.rows_total()));
        assert_eq!(report.faults[0].key, "050000000000000002");

        let report = verify(dir.path(), Tuning::default(), &[], &mut |_| {}).expect("reads");
        assert!(report.is_sound() && report.unchecked == 2);
        Store::open(dir.path(), Options::new(EngineKind::Sled, "angel 0.1.0")).expect("still opens");
    }
}
