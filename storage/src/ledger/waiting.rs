//! Transactions that wait to be decided, so that what was accepted survives a restart.
//!
//! Those that came together lie together: a group is one value, dropped once none of it waits any more, because a new
//! row costs the engine more than its bytes. Before, each transaction had a value of its own; such are read, and
//! dropped, as they are.

use serde_bytes::{ByteBuf, Bytes};

use crate::batch::{Batch, RowRefused};
use crate::chunked::ChunkedTable;
use crate::codec::{self, CodecError};
use crate::key::Key;
use crate::reader::{ReadError, Reader};
use crate::tables::TableId;

const GROUPS: ChunkedTable<u64> = ChunkedTable::new(TableId::MempoolGroups);
const ALONE: ChunkedTable<[u8; 32]> = ChunkedTable::new(TableId::Mempool);

/// Bytes of transactions that a group may have: a value's, less what surrounds each of a full group's.
pub const GROUP_BYTES_MAX: usize = crate::limits::CHUNKED_BYTES_MAX / 2;

/// A transaction as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its place in the order of arrival.
    pub arrival: u64,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Where a transaction is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In a group, with others.
    Group(u64),
    /// Under its id, as versions before kept it.
    Alone([u8; 32]),
}

/// Adds a group that is not there yet to `batch`; its transactions have at most [`GROUP_BYTES_MAX`] bytes.
///
/// # Errors
/// The group is too large, or the batch is full.
pub fn keep(batch: &mut Batch, group: u64, waiting: &[Waiting]) -> Result<(), RowRefused> {
    let written: Vec<_> = waiting.iter().map(|it| (it.arrival, Bytes::new(&it.bytes))).collect();
    let value = serde_ipld_dagcbor::to_vec(&written).map_err(|error| RowRefused::Value {
        table: TableId::MempoolGroups,
        source: CodecError::Encode { detail: error.to_string() },
    })?;
    GROUPS.put(batch, &group, &value)
}

/// Adds the removal of a group, or of a transaction that is stored alone, to `batch`.
///
/// # Errors
/// The engine fails, or the batch is full.
pub fn forget(reader: &Reader, batch: &mut Batch, place: Place) -> Result<(), crate::events::TrimError> {
    match place {
        Place::Group(group) => GROUPS.delete(reader, batch, &group),
        Place::Alone(id) => ALONE.delete(reader, batch, &id),
    }
}

/// All of them with their places, in the order in which they came.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn all(reader: &Reader) -> Result<Vec<(Place, Waiting)>, ReadError> {
    let mut waiting = Vec::new();
    for id in keys(reader, &ALONE)? {
        if let Some(value) = ALONE.get(reader, &id)?
            && let Some((arrival, bytes)) = value.split_first_chunk::<8>()
        {
            let one = Waiting { arrival: u64::from_be_bytes(*arrival), bytes: bytes.to_vec() };
            waiting.push((Place::Alone(id), one));
        }
    }
    for group in keys(reader, &GROUPS)? {
        let Some(value) = GROUPS.get(reader, &group)? else { continue };
        let read: Vec<(u64, ByteBuf)> =
            codec::from_cbor(&value).map_err(|error| ReadError::row(&GROUPS.rows(), &(group, 0), error))?;
        let one =
            |(arrival, bytes): (u64, ByteBuf)| (Place::Group(group), Waiting { arrival, bytes: bytes.into_vec() });
        waiting.extend(read.into_iter().map(one));
    }
    waiting.sort_by_key(|(_, waiting)| waiting.arrival);
    Ok(waiting)
}

fn keys<K: Key + Clone>(reader: &Reader, table: &ChunkedTable<K>) -> Result<Vec<K>, ReadError> {
    let rows = table.rows();
    let mut keys = Vec::new();
    let mut after = None;
    loop {
        let mut scan = reader.scan(&rows);
        if let Some(after) = &after {
            scan = scan.after(after);
        }
        let page = scan.page(crate::limits::BULK_ROWS)?;
        keys.extend(page.rows.iter().filter(|((_, part), _)| *part == 0).map(|((key, _), _)| key.clone()));
        let Some((last, _)) = page.rows.into_iter().next_back().filter(|_| page.more) else { return Ok(keys) };
        after = Some(last);
    }
}
