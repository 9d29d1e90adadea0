//! The embedded did:plc directory: the log of every identity that is registered here, and all operations in the order
//! they were accepted.
//!
//! What may follow on what is decided by `angel_protocol::plc`; here it is kept. Each operation has a moment of
//! acceptance that no other has and that only rises, so the moment is also its place in the export ([`Clock`]).

mod clock;

use angel_protocol::ids::Did;
use angel_protocol::plc::{InvalidOperation, LogEntry, LogError, PlcLog, PlcOperation};
use angel_protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::batch::{Batch, RowRefused};
use crate::codec::{Cbor, Row};
use crate::limits::PAGE_ROWS_MAX;
use crate::reader::{ReadError, Reader};
use crate::tables::{Table, TableId};
use crate::verify::Check;

pub use clock::{Clock, Moment};

/// The only method that is kept here.
const METHOD: &str = "plc";

/// An operation in its place in the log of its identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryRow {
    /// Its canonical bytes.
    #[serde(with = "serde_bytes")]
    operation: Vec<u8>,
    /// When it was accepted.
    created_at: Timestamp,
    /// Whether a later operation has taken it back.
    nullified: bool,
}

impl Row for EntryRow {
    const VERSION: u8 = 1;
}

/// The operations of each identity, in order.
pub const ENTRIES: Table<(Did, u32), EntryRow> = Table::new(TableId::PlcEntries);

/// Whose operation was accepted at which moment, in milliseconds since 1970, and its place in that log.
pub const ACCEPTED: Table<u64, Cbor<(Did, u32)>> = Table::new(TableId::PlcAccepted);

/// How the tables of the directory are verified.
#[must_use]
pub fn checks() -> Vec<Check> {
    vec![Check::of(&ENTRIES), Check::of(&ACCEPTED)]
}

/// Why a log cannot be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LogReadError {
    /// The engine, or a row of another form.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A row that holds no operation.
    #[error("operation {at} of {did} cannot be read: {source}; run `angel storage verify`")]
    Operation {
        /// Whose.
        did: Did,
        /// Which, from 0.
        at: u32,
        /// What is wrong with it.
        source: InvalidOperation,
    },
}

/// Why an operation is not taken into a batch.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StageError {
    /// It may not follow on the log as it is.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] LogReadError),
    /// The batch is full.
    #[error(transparent)]
    Refused(#[from] RowRefused),
}

/// The log of `did`; `None` when it is not registered here.
///
/// # Errors
/// [`LogReadError`].
pub fn log(reader: &Reader, did: &Did) -> Result<Option<PlcLog>, LogReadError> {
    if did.method() != METHOD {
        return Ok(None);
    }
    let mut entries = Vec::new();
    let mut last = None;
    loop {
        let mut scan = reader.scan(&ENTRIES).prefix(did);
        if let Some(last) = &last {
            scan = scan.after(last);
        }
        let page = scan.page(PAGE_ROWS_MAX)?;
        for ((_, at), row) in &page.rows {
            entries.push(row.entry(did, *at)?);
        }
        if !page.more {
            return Ok(PlcLog::from_kept(did.clone(), entries));
        }
        last = page.rows.into_iter().next_back().map(|(key, _)| key);
    }
}

/// The last operation of `did` that holds: all that is needed to know its state. One read in the usual case.
///
/// # Errors
/// [`LogReadError`].
pub fn head(reader: &Reader, did: &Did) -> Result<Option<LogEntry>, LogReadError> {
    if did.method() != METHOD {
        return Ok(None);
    }
    let mut last: Option<(Did, u32)> = None;
    loop {
        let mut scan = reader.scan(&ENTRIES).prefix(did).reverse();
        if let Some(last) = &last {
            scan = scan.after(last);
        }
        let page = scan.page(1)?;
        let Some((key, row)) = page.rows.into_iter().next() else { return Ok(None) };
        if !row.nullified {
            return row.entry(did, key.1).map(Some);
        }
        last = Some(key);
    }
}

/// Adds the first operation of an identity to `batch`. The batch is refused as a whole when the identity exists by
/// then.
///
/// # Errors
/// [`StageError`], by what is wrong. The batch may then hold a part of it: drop it.
pub fn stage_genesis(batch: &mut Batch, operation: &PlcOperation, at: Timestamp) -> Result<PlcLog, StageError> {
    let log = PlcLog::create(operation.clone(), at)?;
    stage_entry(batch, &log, 0)?;
    Ok(log)
}

/// Adds an operation that follows on those of `did` to `batch`, and answers the log with it. The batch is refused as a
/// whole when another operation has come in between.
///
/// # Errors
/// [`StageError`], by what is wrong. The batch may then hold a part of it: drop it.
pub fn stage(
    batch: &mut Batch,
    mut log: PlcLog,
    operation: &PlcOperation,
    at: Timestamp,
) -> Result<PlcLog, StageError> {
    let index = place(log.entries().len());
    let nullified = log.append(operation.clone(), at)?;
    for (index, entry) in (0..index).zip(log.entries()) {
        if nullified.contains(&entry.cid) {
            batch.put(&ENTRIES, &(log.did().clone(), index), &EntryRow::of(entry))?;
        }
    }
    stage_entry(batch, &log, index)?;
    Ok(log)
}

fn place(entries: usize) -> u32 {
    u32::try_from(entries).expect("a log has at most PLC_LOG_ENTRIES_MAX operations")
}

fn stage_entry(batch: &mut Batch, log: &PlcLog, index: u32) -> Result<(), StageError> {
    let key = (log.did().clone(), index);
    let entry = &log.entries()[index as usize];
    batch.expect_absent(&ENTRIES, &key)?;
    batch.put(&ENTRIES, &key, &EntryRow::of(entry))?;
    batch.put(&ACCEPTED, &entry.created_at.as_millis(), &Cbor(key))?;
    Ok(())
}

/// An operation as the export has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// Whose.
    pub did: Did,
    /// The operation.
    pub entry: LogEntry,
}

/// Up to `limit` operations accepted after `after` and not after `until`, in the order they were accepted.
///
/// # Errors
/// [`LogReadError`].
pub fn export(
    reader: &Reader,
    after: Timestamp,
    until: Timestamp,
    limit: usize,
) -> Result<Vec<Exported>, LogReadError> {
    let end = until.as_millis().saturating_add(1);
    let accepted = reader.scan(&ACCEPTED).after(&after.as_millis()).until(&end).page(limit)?;
    let keys: Vec<_> = accepted.rows.into_iter().map(|(_, Cbor(key))| key).collect();
    let mut exported = Vec::with_capacity(keys.len());
    for (row, (did, at)) in reader.multi_get(&ENTRIES, &keys)?.into_iter().zip(&keys) {
        let row = row.ok_or_else(|| ReadError::missing(&ENTRIES, &(did.clone(), *at)))?;
        exported.push(Exported { did: did.clone(), entry: row.entry(did, *at)? });
    }
    Ok(exported)
}

/// When the newest operation was accepted.
///
/// # Errors
/// [`LogReadError`].
pub fn newest(reader: &Reader) -> Result<Option<Timestamp>, LogReadError> {
    let page = reader.scan(&ACCEPTED).reverse().page(1)?;
    Ok(page.rows.first().map(|(millis, _)| Timestamp::from_millis(*millis)))
}

impl EntryRow {
    fn of(entry: &LogEntry) -> Self {
        Self { operation: entry.operation.to_bytes(), created_at: entry.created_at, nullified: entry.nullified }
    }

    fn entry(&self, did: &Did, at: u32) -> Result<LogEntry, LogReadError> {
        let operation = PlcOperation::from_bytes(&self.operation).map_err(|source| LogReadError::Operation {
            did: did.clone(),
            at,
            source,
        })?;
        Ok(LogEntry { cid: operation.cid(), operation, created_at: self.created_at, nullified: self.nullified })
    }
}

#[cfg(test)]
mod tests;
