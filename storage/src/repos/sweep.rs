//! Removing contents that are in force no longer, a batch at a time.

use super::{COLLECTIONS, Contents, FRESH_NODES, LINKS, NODES, PACK_RECORDS_MAX, PACKS, RECORDS, RETAINED, stage};
use crate::batch::Batch;
use crate::codec::StoredValue;
use crate::events::TrimError;
use crate::key::{Key, PrefixOf};
use crate::reader::Reader;
use crate::tables::Table;

/// How far a sweep got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swept {
    /// There is more: call again once the batch is written.
    Some,
    /// With this batch nothing is left.
    All,
}

/// Adds the removal of up to `limit` rows of `contents` to `batch`, and of their note among the leftovers when these
/// are the last.
///
/// # Errors
/// The engine fails, or the batch is full.
pub fn sweep(reader: &Reader, batch: &mut Batch, contents: Contents, limit: usize) -> Result<Swept, TrimError> {
    let mut left = limit;
    left -= remove(reader, batch, &RECORDS, &contents, left)?;
    // Each is read as a whole, and counts for what it may hold.
    let packs = remove(reader, batch, &PACKS, &contents, left.div_ceil(PACK_RECORDS_MAX))?;
    left = left.saturating_sub(packs * PACK_RECORDS_MAX);
    left -= remove(reader, batch, &NODES, &contents, left)?;
    left -= remove(reader, batch, &FRESH_NODES, &contents, left)?;
    left -= remove(reader, batch, &COLLECTIONS, &contents, left)?;
    left -= remove(reader, batch, &RETAINED, &contents, left)?;
    left -= remove(reader, batch, &LINKS, &contents, left)?;
    if left == 0 {
        return Ok(Swept::Some);
    }
    stage::remove_leftover(batch, contents)?;
    Ok(Swept::All)
}

/// Adds the removal of up to `limit` rows that were kept for exports: of `contents`, or of all when there are none that
/// could still read them.
///
/// # Errors
/// The engine fails, or the batch is full.
pub fn drop_retained(
    reader: &Reader,
    batch: &mut Batch,
    contents: Option<Contents>,
    limit: usize,
) -> Result<Swept, TrimError> {
    let removed = match contents {
        Some(contents) => remove(reader, batch, &RETAINED, &contents, limit)?,
        None => {
            let rows = reader.scan(&RETAINED).page(limit)?.rows;
            rows.iter().try_for_each(|(key, _)| batch.delete(&RETAINED, key))?;
            rows.len()
        }
    };
    Ok(if removed == limit { Swept::Some } else { Swept::All })
}

fn remove<K: Key, V: StoredValue>(
    reader: &Reader,
    batch: &mut Batch,
    table: &Table<K, V>,
    contents: &Contents,
    limit: usize,
) -> Result<usize, TrimError>
where
    Contents: PrefixOf<K>,
{
    let mut removed = 0;
    let mut last: Option<K> = None;
    while removed < limit {
        let mut scan = reader.scan(table).prefix(contents);
        if let Some(last) = &last {
            scan = scan.after(last);
        }
        let page = scan.page(limit - removed)?;
        for (key, _) in page.rows {
            batch.delete(table, &key)?;
            removed += 1;
            last = Some(key);
        }
        if !page.more {
            break;
        }
    }
    Ok(removed)
}
