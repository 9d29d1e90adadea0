//! Transactions that wait to be decided, so that what was accepted survives a restart.

use crate::batch::{Batch, RowRefused};
use crate::chunked::ChunkedTable;
use crate::reader::{ReadError, Reader};
use crate::tables::TableId;

const WAITING: ChunkedTable<[u8; 32]> = ChunkedTable::new(TableId::Mempool);

/// A transaction as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its place in the order of arrival.
    pub arrival: u64,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Adds a transaction to `batch`.
///
/// # Errors
/// The batch is full.
pub fn keep(batch: &mut Batch, id: [u8; 32], waiting: &Waiting) -> Result<(), RowRefused> {
    let value = [&waiting.arrival.to_be_bytes()[..], &waiting.bytes].concat();
    WAITING.put(batch, &id, &value)
}

/// Adds the removal of a transaction to `batch`.
///
/// # Errors
/// The engine fails, or the batch is full.
pub fn forget(reader: &Reader, batch: &mut Batch, id: [u8; 32]) -> Result<(), crate::events::TrimError> {
    WAITING.delete(reader, batch, &id)
}

/// All of them, in the order in which they came.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn all(reader: &Reader) -> Result<Vec<Waiting>, ReadError> {
    let rows = WAITING.rows();
    let mut waiting = Vec::new();
    let mut after = None;
    loop {
        let mut scan = reader.scan(&rows);
        if let Some(after) = &after {
            scan = scan.after(after);
        }
        let page = scan.page(crate::limits::BULK_ROWS)?;
        for ((id, part), _) in &page.rows {
            if *part == 0
                && let Some(value) = WAITING.get(reader, id)?
                && let Some((arrival, bytes)) = value.split_first_chunk::<8>()
            {
                waiting.push(Waiting { arrival: u64::from_be_bytes(*arrival), bytes: bytes.to_vec() });
            }
        }
        let Some((last, _)) = page.rows.into_iter().next_back().filter(|_| page.more) else { break };
        after = Some(last);
    }
    waiting.sort_by_key(|waiting| waiting.arrival);
    Ok(waiting)
}
