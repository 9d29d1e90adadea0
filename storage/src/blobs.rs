//! What is known of blobs: which account has which, and which records name them. The bytes are files; here are rows.
//!
//! A blob lives by being named. When an upload is not named in time, or the last record that named it is gone, it is
//! let go in two steps: first its row, so that nobody can name it any more ([`stage_check`]), and after a pause its
//! file, unless somebody has it again by then ([`due_files`]). The pause is longer than any write can be under way, so
//! a write that read the row just before it went puts it back and loses nothing.

use std::time::Duration;

use angel_protocol::data::{BlobRef, Cid};
use angel_protocol::ids::{RepoPath, Tid};
use angel_protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::accounts::{TAKEDOWNS, takedown_of_blob};
use crate::batch::{Batch, RowRefused};
use crate::codec::{Present, Row};
use crate::events::TrimError;
use crate::key::AccountId;
use crate::limits::BULK_ROWS;
use crate::reader::{ReadError, Reader, hex};
use crate::tables::{Table, TableId};
use crate::verify::Check;

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

/// Whether a record of the account names the blob.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn is_named(reader: &Reader, account: AccountId, cid: Cid) -> Result<bool, ReadError> {
    Ok(!reader.scan(&REFS).prefix(&(account, cid.to_bytes())).page(1)?.rows.is_empty())
}

/// Whether a public record of the account names the blob: then anybody may have it.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn is_public(reader: &Reader, account: AccountId, cid: Cid) -> Result<bool, ReadError> {
    let key = |path: &str| (account, cid.to_bytes(), path.to_owned());
    let all = || reader.scan(&REFS).prefix(&(account, cid.to_bytes()));
    // The one character behind the colon's: every private path is less.
    let (before, behind) = (key(PRIVATE), key("at;"));
    Ok(!all().until(&before).page(1)?.rows.is_empty() || !all().from(&behind).page(1)?.rows.is_empty())
}

/// Whether a record of the account in the space names the blob: then whoever may read the space may have it.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn is_in_space(reader: &Reader, account: AccountId, space: &[u8; 32], cid: Cid) -> Result<bool, ReadError> {
    let key = |path: String| (account, cid.to_bytes(), path);
    let prefix = private_prefix(space);
    let (first, end) = (key(format!("{prefix}/")), key(format!("{prefix}0")));
    Ok(!reader.scan(&REFS).from(&first).until(&end).page(1)?.rows.is_empty())
}

/// Up to `limit` blobs that records of the account in the space name, as [`list`].
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn list_in_space(
    reader: &Reader,
    account: AccountId,
    space: &[u8; 32],
    since: Option<Tid>,
    after: Option<Cid>,
    limit: usize,
) -> Result<Vec<Cid>, ReadError> {
    let prefix = format!("{}/", private_prefix(space));
    list_where(reader, account, since, after, limit, |path| path.starts_with(&prefix))
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

/// Whose record names blobs, and since when.
#[derive(Clone, Copy, Debug)]
pub struct Naming<'a> {
    /// The account.
    pub account: AccountId,
    /// The record.
    pub path: &'a RepoPath,
    /// The revision that writes it.
    pub rev: Tid,
    /// Now.
    pub now: Timestamp,
    /// What to do about a blob that is not here.
    pub absent: Absent,
}

/// What to do when a record names a blob that is not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// Refuse the record: its author uploads first.
    Refuse,
    /// Note that it is missing: the record was imported, and the blob follows.
    Note,
}

/// Takes note of the blobs that a record names from now on, and of those that it no longer names. Reads only what
/// uploads have made durable, so it may be called while earlier batches of the account are still being written.
///
/// # Errors
/// [`NamingError`]; the batch is then to be dropped.
pub fn stage_refs(
    reader: &Reader,
    batch: &mut Batch,
    naming: Naming<'_>,
    added: &[BlobRef],
    removed: &[BlobRef],
) -> Result<(), NamingError> {
    let path = naming.path.to_string();
    stage_refs_at(reader, batch, naming, &path, added, removed)
}

/// A record in a space that names blobs: as [`stage_refs`], but only readers of that space will be given them.
///
/// # Errors
/// [`NamingError`]; the batch is then to be dropped.
pub fn stage_private_refs(
    reader: &Reader,
    batch: &mut Batch,
    naming: Naming<'_>,
    space: &[u8; 32],
    added: &[BlobRef],
    removed: &[BlobRef],
) -> Result<(), NamingError> {
    let path = format!("{}/{}", private_prefix(space), naming.path);
    stage_refs_at(reader, batch, naming, &path, added, removed)
}

/// What the path of a record in a space begins with here. No collection begins like it, as none has a colon.
fn private_prefix(space: &[u8; 32]) -> String {
    format!("{PRIVATE}{}", hex(space))
}

/// The beginning of all paths that [`stage_private_refs`] writes.
const PRIVATE: &str = "at://";

fn stage_refs_at(
    reader: &Reader,
    batch: &mut Batch,
    naming: Naming<'_>,
    path: &str,
    added: &[BlobRef],
    removed: &[BlobRef],
) -> Result<(), NamingError> {
    let Naming { account, rev, now, absent, .. } = naming;
    for blob in removed.iter().filter(|blob| !added.iter().any(|other| other.cid == blob.cid)) {
        let cid = blob.cid.to_bytes();
        batch.delete(&REFS, &(account, cid, path.to_owned()))?;
        // Others may name it; that is looked up when the time has come.
        batch.put(&CHECKS, &((now + UNNAMED_FOR).as_millis(), account, cid), &Present)?;
    }
    for blob in added {
        let key = (account, blob.cid.to_bytes());
        match reader.get(&BLOBS, &key)? {
            Some(_) if is_taken_down(reader, account, blob.cid)? => {
                return Err(NamingError::NotFound { cid: blob.cid });
            }
            Some(row) => {
                agree(&row, blob, absent)?;
                batch.put(&BLOBS, &key, &BlobRow { named_at: Some(now), ..row })?;
                batch.put(&HOLDERS, &(key.1, account), &Present)?;
            }
            None if absent == Absent::Note => batch.put(&MISSING, &key, &Present)?,
            None => return Err(NamingError::NotFound { cid: blob.cid }),
        }
        batch.put(&REFS, &(account, key.1, path.to_owned()), &RefRow { rev })?;
    }
    Ok(())
}

/// The first record to name an upload says of it what is true. Later ones may be old records written anew.
fn agree(row: &BlobRow, blob: &BlobRef, absent: Absent) -> Result<(), NamingError> {
    if row.named_at.is_some() || absent == Absent::Note {
        return Ok(());
    }
    if row.mime_type != blob.mime_type {
        let (stored, named) = (row.mime_type.clone(), blob.mime_type.clone());
        return Err(NamingError::MimeType { cid: blob.cid, stored, named });
    }
    match blob.size {
        Some(named) if named != row.size => Err(NamingError::Size { cid: blob.cid, stored: row.size, named }),
        _ => Ok(()),
    }
}

/// Up to `limit` blobs that public records of the account name, each once, behind `after` in the order of their bytes; with
/// `since`, only those that a record written later names.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn list(
    reader: &Reader,
    account: AccountId,
    since: Option<Tid>,
    after: Option<Cid>,
    limit: usize,
) -> Result<Vec<Cid>, ReadError> {
    list_where(reader, account, since, after, limit, |path| !path.starts_with(PRIVATE))
}

fn list_where(
    reader: &Reader,
    account: AccountId,
    since: Option<Tid>,
    after: Option<Cid>,
    limit: usize,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<Cid>, ReadError> {
    let mut found: Vec<Cid> = Vec::new();
    each_ref(reader, account, after, |cid, path, row| {
        if !wanted(path) {
            return true;
        }
        if since.is_none_or(|since| row.rev > since) && found.last() != Some(&cid) {
            if found.len() == limit {
                return false;
            }
            found.push(cid);
        }
        true
    })?;
    Ok(found)
}

/// Up to `limit` blobs that records of the account name and that are not here, behind `after`, each with one of the
/// records.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn missing(
    reader: &Reader,
    account: AccountId,
    after: Option<Cid>,
    limit: usize,
) -> Result<Vec<(Cid, String)>, ReadError> {
    let mut found = Vec::new();
    let mut last = after.map(|cid| (account, cid.to_bytes()));
    loop {
        let mut scan = reader.scan(&MISSING).prefix(&account);
        if let Some(last) = &last {
            scan = scan.after(last);
        }
        let page = scan.page(BULK_ROWS)?;
        for (key, Present) in &page.rows {
            if found.len() == limit {
                return Ok(found);
            }
            let named = reader.scan(&REFS).prefix(key).page(1)?.rows.into_iter().next();
            if let Some(((_, bytes, path), _)) = named
                && !reader.contains(&BLOBS, key)?
                && let Ok(cid) = Cid::from_bytes(&bytes)
            {
                found.push((cid, path));
            }
        }
        match page.rows.last() {
            Some((key, _)) if page.more => last = Some(*key),
            _ => return Ok(found),
        }
    }
}

/// How many blobs the records of an account name, and how many of them are here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Blobs that records name.
    pub named: u64,
    /// Those of them that are here.
    pub present: u64,
}

/// Counts the blobs that public records of an account name. Reads all references.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn counts(reader: &Reader, account: AccountId) -> Result<Counts, ReadError> {
    let mut named: Vec<CidBytes> = Vec::new();
    each_ref(reader, account, None, |cid, path, _| {
        if !path.starts_with(PRIVATE) && named.last() != Some(&cid.to_bytes()) {
            named.push(cid.to_bytes());
        }
        true
    })?;
    let mut counts = Counts { named: named.len() as u64, present: 0 };
    for some in named.chunks(BULK_ROWS) {
        let keys: Vec<_> = some.iter().map(|cid| (account, *cid)).collect();
        counts.present += reader.multi_get(&BLOBS, &keys)?.iter().flatten().count() as u64;
    }
    Ok(counts)
}

/// Shows the references of an account until `visit` says no. Skips those of `after` and before.
fn each_ref(
    reader: &Reader,
    account: AccountId,
    after: Option<Cid>,
    mut visit: impl FnMut(Cid, &str, &RefRow) -> bool,
) -> Result<(), ReadError> {
    let mut from = after.map(|cid| (account, successor(cid.to_bytes()), String::new()));
    let mut last = None;
    loop {
        let mut scan = reader.scan(&REFS).prefix(&account);
        if let Some(from) = &from {
            scan = scan.from(from);
        }
        if let Some(last) = &last {
            scan = scan.after(last);
        }
        let page = scan.page(BULK_ROWS)?;
        for ((_, bytes, path), row) in &page.rows {
            if let Ok(cid) = Cid::from_bytes(bytes)
                && !visit(cid, path, row)
            {
                return Ok(());
            }
        }
        let (first, end) = (page.rows.first(), page.rows.last());
        match (first, end) {
            // Thousands of records may name one blob: the next one is looked for directly.
            (Some(((_, first, _), _)), Some(((_, end, _), _))) if page.more && first == end => {
                (from, last) = (Some((account, successor(*end), String::new())), None);
            }
            (_, Some((key, _))) if page.more => last = Some(key.clone()),
            _ => return Ok(()),
        }
    }
}

/// The bytes that follow directly.
fn successor(mut bytes: CidBytes) -> CidBytes {
    for byte in bytes.iter_mut().rev() {
        let (next, carried) = byte.overflowing_add(1);
        *byte = next;
        if !carried {
            break;
        }
    }
    bytes
}

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

fn stage_gone(batch: &mut Batch, account: AccountId, cid: CidBytes, now: Timestamp) -> Result<(), RowRefused> {
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

/// Why a record cannot name a blob.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NamingError {
    /// The account has no such blob.
    #[error("the blob {cid} is not here; upload it first")]
    NotFound {
        /// The blob.
        cid: Cid,
    },
    /// The record gives another media type than the upload has.
    #[error("the blob {cid} is of type {stored}; the record says {named}")]
    MimeType {
        /// The blob.
        cid: Cid,
        /// The upload's.
        stored: String,
        /// The record's.
        named: String,
    },
    /// The record gives another size than the upload has.
    #[error("the blob {cid} has {stored} bytes; the record says {named}")]
    Size {
        /// The blob.
        cid: Cid,
        /// The upload's.
        stored: u64,
        /// The record's.
        named: u64,
    },
    /// The store cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The batch is full.
    #[error(transparent)]
    Refused(#[from] RowRefused),
}

#[cfg(test)]
mod tests;
