//! Identities (did:plc) as far as they lie outside the ledger: those of accounts that were made and are not decided yet,
//! and logs from the time before the ledger decided identities, until they are carried over.
//!
//! Which operation may follow on what is the ledger's to say; here are only the rows.

use angel_protocol::ids::Did;
use angel_protocol::plc::{InvalidOperation, LogEntry, PlcLog, PlcOperation};
use angel_protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::batch::{Batch, RowRefused};
use crate::codec::{Cbor, Row};
use crate::limits::PAGE_ROWS_MAX;
use crate::reader::{ReadError, Reader};
use crate::tables::{Table, TableId};
use crate::verify::Check;

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

/// The first operation of an account's identity, until it is decided and the account is told of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingRow {
    /// Its canonical bytes.
    #[serde(with = "serde_bytes")]
    operation: Vec<u8>,
}

impl Row for PendingRow {
    const VERSION: u8 = 1;
}

/// The operations of each identity from the time before the ledger, in order.
pub const ENTRIES: Table<(Did, u32), EntryRow> = Table::new(TableId::PlcEntries);

/// Whose operation was accepted at which moment, in milliseconds since 1970, and its place in that log.
pub const ACCEPTED: Table<u64, Cbor<(Did, u32)>> = Table::new(TableId::PlcAccepted);

/// Accounts whose identity is not decided yet.
const PENDING: Table<Did, PendingRow> = Table::new(TableId::PlcPending);

/// How these tables are verified.
#[must_use]
pub fn checks() -> Vec<Check> {
    vec![Check::of(&ENTRIES), Check::of(&ACCEPTED), Check::of(&PENDING)]
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

/// Adds to `batch` that the identity which `operation` makes is not decided yet.
///
/// # Errors
/// The batch is full.
pub fn stage_pending(batch: &mut Batch, did: &Did, operation: &PlcOperation) -> Result<(), RowRefused> {
    batch.expect_absent(&PENDING, did)?;
    batch.put(&PENDING, did, &PendingRow { operation: operation.to_bytes() })
}

/// Adds to `batch` that the identity is decided, or never will be. The batch is refused when that was said before.
///
/// # Errors
/// The batch is full.
pub fn stage_settled(batch: &mut Batch, did: &Did) -> Result<(), RowRefused> {
    batch.expect_present(&PENDING, did)?;
    batch.delete(&PENDING, did)
}

/// Identities that are not decided yet, behind `after`, and what would make them; none when there are no more.
///
/// # Errors
/// [`LogReadError`].
pub fn pending(reader: &Reader, after: Option<&Did>) -> Result<Vec<(Did, PlcOperation)>, LogReadError> {
    let mut scan = reader.scan(&PENDING);
    if let Some(after) = after {
        scan = scan.after(after);
    }
    let rows = scan.page(PAGE_ROWS_MAX)?.rows;
    rows.into_iter()
        .map(|(did, row)| read_operation(&did, 0, &row.operation).map(|operation| (did, operation)))
        .collect()
}

/// Whether the identity is still to be decided.
///
/// # Errors
/// The engine fails.
pub fn is_pending(reader: &Reader, did: &Did) -> Result<bool, ReadError> {
    Ok(reader.get(&PENDING, did)?.is_some())
}

/// The first identity behind `after` whose log lies here.
///
/// # Errors
/// The engine fails.
pub fn first(reader: &Reader, after: Option<&Did>) -> Result<Option<Did>, ReadError> {
    let mut scan = reader.scan(&ENTRIES);
    if let Some(after) = after {
        scan = scan.after(&(after.clone(), u32::MAX));
    }
    Ok(scan.page(1)?.rows.into_iter().next().map(|((did, _), _)| did))
}

/// The log of `did`; `None` when it does not lie here.
///
/// # Errors
/// [`LogReadError`].
pub fn log(reader: &Reader, did: &Did) -> Result<Option<PlcLog>, LogReadError> {
    let mut entries = Vec::new();
    let mut last = None;
    loop {
        let mut scan = reader.scan(&ENTRIES).prefix(did);
        if let Some(last) = &last {
            scan = scan.after(last);
        }
        let page = scan.page(PAGE_ROWS_MAX)?;
        for ((_, at), row) in &page.rows {
            let operation = read_operation(did, *at, &row.operation)?;
            let EntryRow { created_at, nullified, .. } = *row;
            entries.push(LogEntry { cid: operation.cid(), operation, created_at, nullified });
        }
        if !page.more {
            return Ok(PlcLog::from_kept(did.clone(), entries));
        }
        last = page.rows.into_iter().next_back().map(|(key, _)| key);
    }
}

/// Adds a log to `batch`, as nodes kept it before the ledger.
///
/// # Errors
/// The batch is full.
pub fn stage_log(batch: &mut Batch, log: &PlcLog) -> Result<(), RowRefused> {
    for (at, entry) in (0..).zip(log.entries()) {
        let key = (log.did().clone(), at);
        let LogEntry { ref operation, created_at, nullified, .. } = *entry;
        batch.put(&ENTRIES, &key, &EntryRow { operation: operation.to_bytes(), created_at, nullified })?;
        batch.put(&ACCEPTED, &created_at.as_millis(), &Cbor(key))?;
    }
    Ok(())
}

/// Adds the removal of a log to `batch`.
///
/// # Errors
/// The batch is full.
pub fn stage_dropped(batch: &mut Batch, log: &PlcLog) -> Result<(), RowRefused> {
    for (at, entry) in (0..).zip(log.entries()) {
        batch.delete(&ENTRIES, &(log.did().clone(), at))?;
        batch.delete(&ACCEPTED, &entry.created_at.as_millis())?;
    }
    Ok(())
}

fn read_operation(did: &Did, at: u32, bytes: &[u8]) -> Result<PlcOperation, LogReadError> {
    PlcOperation::from_bytes(bytes).map_err(|source| LogReadError::Operation { did: did.clone(), at, source })
}

#[cfg(test)]
mod tests;
