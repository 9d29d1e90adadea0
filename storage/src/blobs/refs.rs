//! Which records name which blobs: noted as records are written, listed, counted, and asked for what is missing.
//!
//! A private record's path begins with that of its space, so that one look at a reference tells who may have the blob.

use angel_protocol::data::{BlobRef, Cid};
use angel_protocol::ids::{RepoPath, Tid};
use angel_protocol::time::Timestamp;

use super::{BLOBS, BlobRow, CHECKS, CidBytes, HOLDERS, MISSING, REFS, RefRow, UNNAMED_FOR, is_taken_down};
use crate::batch::{Batch, RowRefused};
use crate::codec::Present;
use crate::key::AccountId;
use crate::limits::BULK_ROWS;
use crate::reader::{ReadError, Reader, hex};

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
