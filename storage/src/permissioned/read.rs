//! Reading repositories, one thing or page by page.

use angel_protocol::data::{Cid, Codec};
use angel_protocol::ids::Tid;
use angel_protocol::permissioned::{Head, Op, SetHash};

use super::{INDEX, OPS, RECORDS, REPOS, Record, Repo, RepoKey, RepoRow, SpaceDigest, number, revision};
use crate::codec::{CodecError, StoredValue};
use crate::key::{AccountId, Key};
use crate::limits::PAGE_ROWS_MAX;
use crate::reader::{ReadError, Reader};
use crate::repos::RecordRow;
use crate::tables::Table;

pub use crate::repos::Order;

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
    let first = (repo, path.to_owned(), 0);
    match reader.get(&RECORDS, &first)? {
        None => Ok(None),
        Some(RecordRow::Further(_)) => Err(out_of_place(&first)),
        Some(RecordRow::First { rev, cid, parts, mut bytes }) => {
            for part in 1..parts {
                let key = (repo, path.to_owned(), part);
                match reader.get(&RECORDS, &key)? {
                    Some(RecordRow::Further(more)) => bytes.extend_from_slice(&more),
                    Some(RecordRow::First { .. }) => return Err(out_of_place(&key)),
                    None => return Err(ReadError::missing(&RECORDS, &key)),
                }
            }
            Ok(Some(Record { cid, rev, bytes }))
        }
    }
}

type RecordKey = (RepoKey, String, u16);

/// Records in the order of their paths, from `first` on, before `end`. Both are paths or the beginnings of such.
#[must_use]
pub fn records(reader: &Reader, repo: RepoKey, first: &str, end: Option<&str>, order: Order) -> RecordScan {
    RecordScan {
        reader: reader.clone(),
        repo,
        first: (repo, first.to_owned(), 0),
        end: end.map(|end| (repo, end.to_owned(), 0)),
        order,
        last: None,
        waiting: Vec::new().into_iter(),
        more: true,
    }
}

/// Goes through records page by page: see [`records`].
#[derive(Debug)]
pub struct RecordScan {
    reader: Reader,
    repo: RepoKey,
    first: RecordKey,
    end: Option<RecordKey>,
    order: Order,
    last: Option<RecordKey>,
    waiting: std::vec::IntoIter<(RecordKey, RecordRow)>,
    more: bool,
}

impl RecordScan {
    /// The next record with its path. `expected` is how many rows the caller reckons to take in all: pages are not
    /// made longer than that.
    ///
    /// # Errors
    /// The engine fails, or a row cannot be read or is missing.
    pub fn next(&mut self, expected: usize) -> Result<Option<(String, Record)>, ReadError> {
        let mut further: Vec<(RecordKey, Vec<u8>)> = Vec::new();
        loop {
            let Some((key, row)) = self.row(expected)? else {
                return further.first().map_or(Ok(None), |(key, _)| Err(ReadError::missing(&RECORDS, key)));
            };
            match (row, self.order) {
                (RecordRow::Further(more), Order::Descending) => further.push((key, more)),
                (RecordRow::Further(_), Order::Ascending) => return Err(out_of_place(&key)),
                (RecordRow::First { rev, cid, parts, mut bytes }, order) => {
                    if order == Order::Ascending {
                        for _ in 1..parts {
                            match self.row(expected)? {
                                Some((key, RecordRow::Further(more))) => further.push((key, more)),
                                Some((key, RecordRow::First { .. })) => return Err(out_of_place(&key)),
                                None => return Err(ReadError::missing(&RECORDS, &key)),
                            }
                        }
                    } else {
                        further.reverse();
                    }
                    if further.len() + 1 != usize::from(parts) || further.iter().any(|(other, _)| other.1 != key.1) {
                        return Err(out_of_place(&key));
                    }
                    further.iter().for_each(|(_, more)| bytes.extend_from_slice(more));
                    return Ok(Some((key.1, Record { cid, rev, bytes })));
                }
            }
        }
    }

    fn row(&mut self, expected: usize) -> Result<Option<(RecordKey, RecordRow)>, ReadError> {
        if let Some((key, row)) = self.waiting.next() {
            if self.waiting.len() == 0 {
                self.last = Some(key.clone());
            }
            return Ok(Some((key, row)));
        }
        if !self.more {
            return Ok(None);
        }
        let mut scan = self.reader.scan(&RECORDS).prefix(&self.repo).from(&self.first);
        if let Some(end) = &self.end {
            scan = scan.until(end);
        }
        if self.order == Order::Descending {
            scan = scan.reverse();
        }
        if let Some(last) = &self.last {
            scan = scan.after(last);
        }
        let page = scan.page(expected.clamp(1, PAGE_ROWS_MAX))?;
        self.more = page.more;
        self.waiting = page.rows.into_iter();
        if self.waiting.len() == 0 { Ok(None) } else { self.row(expected) }
    }
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

fn out_of_place(key: &RecordKey) -> ReadError {
    broken(&RECORDS, key, "not the part of a record that belongs here")
}

fn broken<K: Key, V: StoredValue>(table: &Table<K, V>, key: &K, detail: &str) -> ReadError {
    ReadError::row(table, key, CodecError::Decode { detail: detail.to_owned() })
}
