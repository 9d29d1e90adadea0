//! The did:plc directory that the ledger keeps: what a node reads to answer as one.
//!
//! An operation is accepted when the batch that holds it is decided, at the batch's time. So every node tells the same
//! log with the same times, and operations of one batch share theirs: an export is paged by number, and a page by time
//! ends with a batch.
//! Writing is a transaction: [`super::Signed::from_operation`].

use super::rows::{self, Directory, Identity, IdentityOperation, Order, Row};
use super::view::{View, ViewError};
use crate::data::{Cid, Codec};
use crate::ids::Did;
use crate::limits::PLC_EXPORT_ENTRIES_MAX;
use crate::plc::{LogEntry, PlcLog, PlcOperation};
use crate::time::Timestamp;

/// An operation of any identity, in decided order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// Its number, from 0.
    pub number: u64,
    /// Whose it is.
    pub did: Did,
    /// The operation and what became of it.
    pub entry: LogEntry,
}

/// The head of the log of `did`, nothing when the identity does not exist.
///
/// # Errors
/// [`ViewError`] when it cannot be read.
pub fn identity(view: &impl View, did: &Did) -> Result<Option<Identity>, ViewError> {
    rows::read(view, &[did.as_str().as_bytes()])
}

/// The last operation of `did`, which holds: its data is the identity's. Costs two reads, however long the log is.
///
/// # Errors
/// [`ViewError`] when it cannot be read.
pub fn last(view: &impl View, did: &Did) -> Result<Option<LogEntry>, ViewError> {
    match identity(view, did)? {
        Some(identity) => entry(view, did, identity.operations.saturating_sub(1)).map(Some),
        None => Ok(None),
    }
}

/// The whole log of `did`.
///
/// # Errors
/// [`ViewError`] when it cannot be read.
pub fn log(view: &impl View, did: &Did) -> Result<Option<PlcLog>, ViewError> {
    let Some(identity) = identity(view, did)? else { return Ok(None) };
    let entries = (0..identity.operations).map(|place| entry(view, did, place)).collect::<Result<_, _>>()?;
    Ok(PlcLog::from_kept(did.clone(), entries))
}

/// How many operations the directory holds: one above the number of the latest.
///
/// # Errors
/// [`ViewError`] when it cannot be read.
pub fn operations(view: &impl View) -> Result<u64, ViewError> {
    Ok(rows::read::<Directory>(view, &[])?.unwrap_or_default().operations)
}

/// The operations from number `from` on, in decided order: at most `count`, and at most [`PLC_EXPORT_ENTRIES_MAX`].
///
/// # Errors
/// [`ViewError`] when one cannot be read.
pub fn export(view: &impl View, from: u64, count: usize) -> Result<Vec<Exported>, ViewError> {
    let count = u64::try_from(count.min(PLC_EXPORT_ENTRIES_MAX)).unwrap_or(u64::MAX);
    let numbers = from..operations(view)?.min(from.saturating_add(count));
    let exported = |number: u64| {
        let (did, place) = ordered(view, number)?;
        Ok(Exported { number, entry: entry(view, &did, place)?, did })
    };
    numbers.map(exported).collect()
}

/// As [`export`], from the first operation accepted after `after`. It goes on past `count` to the end of a height: the
/// operations of a height share their time, and whoever goes on from the time of the last one must miss none. Beyond
/// `count` that is one batch at most.
///
/// # Errors
/// [`ViewError`] when one cannot be read.
pub fn export_after(view: &impl View, after: Timestamp, count: usize) -> Result<Vec<Exported>, ViewError> {
    let first = first_after(view, after)?;
    let mut page = export(view, first, count)?;
    if let Some(last) = page.last() {
        let time = last.entry.created_at;
        let end = first_after(view, time)?;
        let mut next = last.number + 1;
        while next < end {
            let more = export(view, next, usize::try_from(end - next).unwrap_or(usize::MAX))?;
            next += more.len() as u64;
            page.extend(more);
        }
    }
    Ok(page)
}

/// The number of the first operation accepted after `after`, or of the next one to be accepted. Times rise with the
/// numbers, so it takes as many reads as the number has digits in base two.
fn first_after(view: &impl View, after: Timestamp) -> Result<u64, ViewError> {
    let (mut low, mut high) = (0, operations(view)?);
    while low < high {
        let middle = low + (high - low) / 2;
        let (did, place) = ordered(view, middle)?;
        if entry(view, &did, place)?.created_at <= after {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

/// Which operation has a number.
fn ordered(view: &impl View, number: u64) -> Result<(Did, u32), ViewError> {
    let order: Option<Order> = rows::read(view, &[&number.to_be_bytes()])?;
    let Order { did, place } = order.ok_or(ViewError::Damaged { table: Order::TABLE })?;
    Ok((did, place))
}

fn entry(view: &impl View, did: &Did, place: u32) -> Result<LogEntry, ViewError> {
    const DAMAGED: ViewError = ViewError::Damaged { table: IdentityOperation::TABLE };
    let row: Option<IdentityOperation> = rows::read(view, &[did.as_str().as_bytes(), &place.to_be_bytes()])?;
    let IdentityOperation { operation, created_at, nullified, .. } = row.ok_or(DAMAGED)?;
    Ok(LogEntry {
        cid: Cid::of(Codec::DagCbor, &operation),
        operation: PlcOperation::from_bytes(&operation).map_err(|_| DAMAGED)?,
        created_at: Timestamp::from_millis(created_at),
        nullified,
    })
}
