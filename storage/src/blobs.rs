//! What is known of blobs: which account has which, and which records name them. The bytes are files; here are rows.
//!
//! A blob lives by being named. When an upload is not named in time, or the last record that named it is gone, it is
//! let go in two steps: first its row, so that nobody can name it any more ([`stage_check`]), and after a pause its
//! file, unless somebody has it again by then ([`due_files`]). The pause is longer than any write can be under way, so
//! a write that read the row just before it went puts it back and loses nothing.

mod refs;
mod sweep;

use std::time::Duration;

use angel_protocol::data::{BlobRef, Cid};
use angel_protocol::ids::Tid;
use angel_protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::accounts::{TAKEDOWNS, takedown_of_blob};
use crate::batch::{Batch, RowRefused};
use crate::codec::{Present, Row};
use crate::events::TrimError;
use crate::key::AccountId;
use crate::limits::BULK_ROWS;
use crate::reader::{ReadError, Reader};
use crate::tables::{Table, TableId};
use crate::verify::Check;

pub use refs::{
    Absent, Counts, Naming, NamingError, counts, is_in_space, is_named, is_public, list, list_in_space, missing,
    stage_private_refs, stage_refs,
};
use sweep::stage_gone;
pub use sweep::{DueCheck, DueFile, due_checks, due_files, stage_check, stage_file_done};

/// How long a blob that no record names is kept: an upload whose record is still being written, or a record that is
/// replaced in two steps.
pub const UNNAMED_FOR: Duration = Duration::from_hours(24);

/// How long the file stays after the row is gone.
pub const FILE_STAYS_FOR: Duration = Duration::from_hours(1);

type CidBytes = [u8; Cid::BYTES];

const BLOBS: Table<(AccountId, CidBytes), BlobRow> = Table::new(TableId::Blobs);
const REFS: Table<(AccountId, CidBytes, String), RefRow> = Table::new(TableId::BlobRefs);
const HOLDERS: Table<(CidBytes, AccountId), Present> = Table::new(TableId::BlobHolders);
const MISSING: Table<(AccountId, CidBytes), Present> = Table::new(TableId::BlobsMissing);
const CHECKS: Table<(u64, AccountId, CidBytes), Present> = Table::new(TableId::BlobChecks);
const FILES: Table<(u64, CidBytes), Present> = Table::new(TableId::BlobFiles);

/// A blob of an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobRow {
    /// Its media type.
    pub mime_type: String,
    /// Its size in bytes.
    pub size: u64,
    /// When the account last uploaded it.
    pub uploaded_at: Timestamp,
    /// When a record last began to name it; `None` when none ever did.
    pub named_at: Option<Timestamp>,
}

impl Row for BlobRow {
    const VERSION: u8 = 1;
}

/// That a record names a blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RefRow {
    /// The revision that wrote the record.
    rev: Tid,
}

impl Row for RefRow {
    const VERSION: u8 = 1;
}

/// How many bytes the blobs of an account have together.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn bytes_of(reader: &Reader, account: AccountId) -> Result<u64, ReadError> {
    let mut bytes = 0;
    let mut last = None;
    loop {
        let scan = reader.scan(&BLOBS).prefix(&account);
        let page = match &last {
            Some(last) => scan.after(last).page(BULK_ROWS)?,
            None => scan.page(BULK_ROWS)?,
        };
        bytes += page.rows.iter().map(|(_, row)| row.size).sum::<u64>();
        last = page.rows.into_iter().next_back().map(|(key, _)| key);
        if !page.more {
            return Ok(bytes);
        }
    }
}

/// How the rows of these tables are checked.
#[must_use]
pub fn checks() -> Vec<Check> {
    vec![
        Check::of(&BLOBS),
        Check::of(&REFS),
        Check::of(&HOLDERS),
        Check::of(&MISSING),
        Check::of(&CHECKS),
        Check::of(&FILES),
    ]
}

/// The blob, if the account has it.
///
/// # Errors
/// The engine fails, or the row cannot be read.
pub fn get(reader: &Reader, account: AccountId, cid: Cid) -> Result<Option<BlobRow>, ReadError> {
    reader.get(&BLOBS, &(account, cid.to_bytes()))
}

/// Whether any account has the blob: then its file stays.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn is_held(reader: &Reader, cid: Cid) -> Result<bool, ReadError> {
    Ok(!reader.scan(&HOLDERS).prefix(&cid.to_bytes()).page(1)?.rows.is_empty())
}

/// Whether the operator took the blob down.
///
/// # Errors
/// The engine fails.
pub fn is_taken_down(reader: &Reader, account: AccountId, cid: Cid) -> Result<bool, ReadError> {
    reader.contains(&TAKEDOWNS, &(account, takedown_of_blob(&cid)))
}

/// Adds an upload, whose file is in place. An upload of what is there already keeps the media type that records rely
/// on. Answers with the row as it is then.
///
/// # Errors
/// The engine fails, or the batch is full.
pub fn stage_upload(
    reader: &Reader,
    batch: &mut Batch,
    account: AccountId,
    upload: &BlobRef,
    now: Timestamp,
) -> Result<BlobRow, TrimError> {
    let key = (account, upload.cid.to_bytes());
    let before = reader.get(&BLOBS, &key)?;
    let named_before = before.as_ref().and_then(|row| row.named_at);
    let named_at = match named_before {
        None if is_named(reader, account, upload.cid)? => Some(now),
        other => other,
    };
    let row = BlobRow {
        mime_type: before
            .as_ref()
            .filter(|_| named_before.is_some())
            .map_or_else(|| upload.mime_type.clone(), |row| row.mime_type.clone()),
        size: upload.size.unwrap_or_default(),
        uploaded_at: now,
        named_at,
    };
    batch.put(&BLOBS, &key, &row)?;
    batch.put(&HOLDERS, &(key.1, account), &Present)?;
    batch.delete(&MISSING, &key)?;
    batch.put(&CHECKS, &((now + UNNAMED_FOR).as_millis(), account, key.1), &Present)?;
    Ok(row)
}

/// Counts a blob whose row comes from elsewhere as held by the account: its file stays while it is, and it is looked
/// whether a record names it as after an upload at `now`.
///
/// # Errors
/// The batch is full.
pub fn stage_held(batch: &mut Batch, account: AccountId, cid: Cid, now: Timestamp) -> Result<(), RowRefused> {
    batch.put(&HOLDERS, &(cid.to_bytes(), account), &Present)?;
    batch.put(&CHECKS, &((now + UNNAMED_FOR).as_millis(), account, cid.to_bytes()), &Present)
}

/// The row that says that the account holds a file, as it is stored.
pub(crate) fn holder_row(account: AccountId, cid: Cid) -> (Vec<u8>, Vec<u8>) {
    let value = crate::codec::encode(&Present).expect("that something is there has a stored form");
    (HOLDERS.key(&(cid.to_bytes(), account)), value)
}

/// Adds the removal of up to about `limit` rows of an account that is gone; answers how many. Call it until it answers
/// zero.
///
/// # Errors
/// The engine fails, or the batch is full.
pub fn stage_removal(
    reader: &Reader,
    batch: &mut Batch,
    account: AccountId,
    now: Timestamp,
    limit: usize,
) -> Result<usize, TrimError> {
    let refs = reader.scan(&REFS).prefix(&account).page(limit)?.rows;
    refs.iter().try_for_each(|(key, _)| batch.delete(&REFS, key))?;
    let missing = reader.scan(&MISSING).prefix(&account).page(limit)?.rows;
    missing.iter().try_for_each(|(key, _)| batch.delete(&MISSING, key))?;
    let blobs = reader.scan(&BLOBS).prefix(&account).page(limit)?.rows;
    blobs.iter().try_for_each(|((account, cid), _)| stage_gone(batch, *account, *cid, now))?;
    Ok(refs.len() + missing.len() + blobs.len())
}

#[cfg(test)]
mod tests;
