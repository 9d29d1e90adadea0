//! Reading repositories, one thing or page by page.

use angel_protocol::data::{Cid, Codec};
use angel_protocol::ids::Tid;
use angel_protocol::permissioned::{Head, Op, SetHash};

use super::{INDEX, OPS, RECORDS, REPOS, Repo, RepoKey, RepoRow, SpaceDigest, number, revision};
use crate::codec::{CodecError, StoredValue};
use crate::key::{AccountId, Key};
use crate::limits::PAGE_ROWS_MAX;
use crate::reader::{ReadError, Reader};
use crate::tables::Table;

pub use crate::records::{Order, Record, RecordScan};

/// A repository, if the account has one in the space.
///
/// # Errors
/// The engine fails, or the row cannot be read.
pub fn repo(reader: &Reader, key: RepoKey) -> Result<Option<Repo>, ReadError> {
    reader.get(&REPOS, &key)?.map(|row| repo_of(key, row)).transpose()
}

/// Up to `limit` repositories of an account behind the one in the space `after`, in the order of the spaces' digests.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn repos_of(
    reader: &Reader,
    account: AccountId,
    after: Option<SpaceDigest>,
    limit: usize,
) -> Result<Vec<Repo>, ReadError> {
    let mut scan = reader.scan(&REPOS).prefix(&account);
    if let Some(space) = after {
        scan = scan.after(&RepoKey { account, space });
    }
    scan.page(limit)?.rows.into_iter().map(|(key, row)| repo_of(key, row)).collect()
}

fn repo_of(key: RepoKey, row: RepoRow) -> Result<Repo, ReadError> {
    let hash = SetHash::from_bytes(&row.hash).ok_or_else(|| broken(&REPOS, &key, "the set hash has a wrong length"))?;
    Ok(Repo {
        space: row.space,
        head: Head { rev: row.rev, hash, records: row.records },
        log_from: row.log_from,
        log_ops: row.log_ops,
        space_deleted_at: row.space_deleted_at,
    })
}

/// The record at `path`.
///
/// # Errors
/// The engine fails, or a row cannot be read or is missing.
pub fn record(reader: &Reader, repo: RepoKey, path: &str) -> Result<Option<Record>, ReadError> {
    crate::records::record(reader, &RECORDS, repo, path)
}

/// Records in the order of their paths, from `first` on, before `end`. Both are paths or the beginnings of such.
#[must_use]
pub fn records(reader: &Reader, repo: RepoKey, first: &str, end: Option<&str>, order: Order) -> RecordScan {
    RecordScan::new(reader, &RECORDS, None, repo, first, end, order)
}

/// An entry of the index: where a record is, and which one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// Its path.
    pub path: String,
    /// Its CID.
    pub cid: Cid,
}

/// Up to `limit` entries of the index behind `after`, in the order of a serialised repository: short paths first, those
/// of one length by their bytes.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn index(reader: &Reader, repo: RepoKey, after: Option<&str>, limit: usize) -> Result<Vec<IndexEntry>, ReadError> {
    let mut scan = reader.scan(&INDEX).prefix(&repo);
    if let Some(after) = after {
        scan = scan.after(&(repo, super::stage::length(after), after.to_owned()));
    }
    let rows = scan.page(limit)?.rows;
    rows.into_iter()
        .map(|(key, row)| {
            let digest = row.0.as_slice().try_into();
            let digest = digest.map_err(|_| broken(&INDEX, &key, "the digest has a wrong length"))?;
            Ok(IndexEntry { path: key.2, cid: Cid::from_digest(Codec::DagCbor, digest) })
        })
        .collect()
}

/// Operations after the revision `since` in their order, up to `limit` and then to the end of their revision, for
/// those of one revision belong together.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn ops(reader: &Reader, repo: RepoKey, since: Option<Tid>, limit: usize) -> Result<Vec<(Tid, Op)>, ReadError> {
    let after = since.map(|since| (repo, number(since), u16::MAX));
    let mut found: Vec<(Tid, Op)> = Vec::new();
    let mut last = after;
    loop {
        let mut scan = reader.scan(&OPS).prefix(&repo);
        if let Some(last) = &last {
            scan = scan.after(last);
        }
        let page = scan.page(limit.clamp(1, PAGE_ROWS_MAX))?;
        for ((_, rev, n), row) in page.rows {
            if found.len() >= limit && found.last().is_some_and(|(last, _)| *last != revision(rev)) {
                return Ok(found);
            }
            last = Some((repo, rev, n));
            found.push((revision(rev), Op { path: row.path, cid: row.cid, prev: row.prev }));
        }
        if !page.more {
            return Ok(found);
        }
    }
}

fn broken<K: Key, V: StoredValue>(table: &Table<K, V>, key: &K, detail: &str) -> ReadError {
    ReadError::row(table, key, CodecError::Decode { detail: detail.to_owned() })
}
