//! Letting go of what no record names: first the row, and after a pause the file.

use angel_protocol::data::Cid;
use angel_protocol::time::Timestamp;

use super::{BLOBS, CHECKS, CidBytes, FILE_STAYS_FOR, FILES, HOLDERS, REFS, UNNAMED_FOR};
use crate::batch::{Batch, RowRefused};
use crate::codec::Present;
use crate::events::TrimError;
use crate::key::AccountId;
use crate::reader::{ReadError, Reader};

/// A blob that may have to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueCheck {
    due: u64,
    account: AccountId,
    cid: CidBytes,
}

/// Up to `limit` blobs to look at by `now`, the longest due first.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn due_checks(reader: &Reader, now: Timestamp, limit: usize) -> Result<Vec<DueCheck>, ReadError> {
    let end = (now.as_millis().saturating_add(1), AccountId(0), [0; Cid::BYTES]);
    let rows = reader.scan(&CHECKS).until(&end).page(limit)?.rows;
    Ok(rows.into_iter().map(|((due, account, cid), _)| DueCheck { due, account, cid }).collect())
}

/// Lets a blob go that no record names; answers whether it does. The batch is for this one alone: it is refused when a
/// record begins to name the blob meanwhile.
///
/// # Errors
/// The engine fails, or the batch is full.
pub fn stage_check(reader: &Reader, batch: &mut Batch, check: DueCheck, now: Timestamp) -> Result<bool, TrimError> {
    let DueCheck { due, account, cid } = check;
    batch.delete(&CHECKS, &(due, account, cid))?;
    let Some(row) = reader.get(&BLOBS, &(account, cid))? else { return Ok(false) };
    let named = !reader.scan(&REFS).prefix(&(account, cid)).page(1)?.rows.is_empty();
    let touched = row.named_at.map_or(row.uploaded_at, |named| named.max(row.uploaded_at));
    // Whatever touched it later has its own check to come.
    if named || touched + UNNAMED_FOR > now {
        return Ok(false);
    }
    batch.expect_value(&BLOBS, &(account, cid), &row)?;
    stage_gone(batch, account, cid, now)?;
    Ok(true)
}

/// Takes the row of a blob away; its file follows.
pub(super) fn stage_gone(
    batch: &mut Batch,
    account: AccountId,
    cid: CidBytes,
    now: Timestamp,
) -> Result<(), RowRefused> {
    batch.delete(&BLOBS, &(account, cid))?;
    batch.delete(&HOLDERS, &(cid, account))?;
    batch.put(&FILES, &((now + FILE_STAYS_FOR).as_millis(), cid), &Present)
}

/// A file that may have to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueFile {
    due: u64,
    /// The blob.
    pub cid: Cid,
}

/// Up to `limit` files to look at by `now`, the longest due first.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn due_files(reader: &Reader, now: Timestamp, limit: usize) -> Result<Vec<DueFile>, ReadError> {
    let end = (now.as_millis().saturating_add(1), [0; Cid::BYTES]);
    let rows = reader.scan(&FILES).until(&end).page(limit)?.rows;
    Ok(rows.into_iter().filter_map(|((due, cid), _)| Some(DueFile { due, cid: Cid::from_bytes(&cid).ok()? })).collect())
}

/// The file has been dealt with.
///
/// # Errors
/// The batch is full.
pub fn stage_file_done(batch: &mut Batch, file: DueFile) -> Result<(), RowRefused> {
    batch.delete(&FILES, &(file.due, file.cid.to_bytes()))
}
