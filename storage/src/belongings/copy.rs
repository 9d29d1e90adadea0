//! Private rows of an account that another node serves: kept apart from the rows that are served here, until this node
//! takes the account over ([`super::install`]).
//!
//! They come in two ways: as changes from the other node's log, in their order, and as whole ranges. Either way each row
//! is checked for being what its table says, a permissioned repository for its set hash following from its operations,
//! and what records name is noted as missing, so that files are fetched while they can be.

use std::collections::{BTreeMap, BTreeSet};

use angel_protocol::data::{BlobRef, blob_refs, cbor};
use angel_protocol::ids::RepoPath;
use angel_protocol::permissioned::{Head, Op, SetHash};
pub use angel_protocol::replication::rows::Place as Position;
use angel_protocol::time::Timestamp;
use sha2::{Digest, Sha256};

use super::journal::{Change, Changed};
use super::{Found, Nature, NotTheirs, OwnRow, Owned, check, found, places, tables};
use crate::batch::{Batch, RowRefused};
use crate::blobs::{Absent, Naming, NamingError, stage_private_refs};
use crate::codec;
use crate::engine::{KeyRange, PageLimit};
use crate::key::{AccountId, Key};
use crate::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::permissioned::{OpRow, RepoRow, SpaceDigest};
use crate::reader::{ReadError, Reader};
use crate::repos::RecordRow;
use crate::tables::TableId;

/// Rows and bytes that are read at once to be summed up.
const SUMMARY_ROWS: usize = 2_000;
const SUMMARY_BYTES: usize = 2 * 1024 * 1024;

/// Stands for the account's in keys that are looked at for their form.
const ANY_DID: &str = "did:web:example.com";

/// The rows behind a place, up to another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stretch {
    /// The rows with the byte of their table.
    pub rows: Vec<(u8, OwnRow)>,
    /// Where it ends, included; `None` when it goes to the end of everything.
    pub end: Option<Position>,
}

/// Why changes are not taken into a copy. Nothing of the batch is to be written then.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// A row is not one that is copied.
    #[error("table {0} is not copied row by row")]
    Table(u8),
    /// A row is not what it should be.
    #[error(transparent)]
    Row(#[from] NotTheirs),
    /// A permissioned repository does not follow from its operations.
    #[error("a permissioned repository is not what its operations make of it")]
    SetHash,
    /// A record is not what its CID says.
    #[error("a private record is not what its CID says")]
    Record,
    /// The batch is full, which the sizes rule out.
    #[error(transparent)]
    Batch(#[from] RowRefused),
    /// The store.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What a record names.
    #[error(transparent)]
    Naming(#[from] NamingError),
}

/// All private rows of an account in one number: equal where two nodes have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// How many there are.
    pub rows: u64,
    /// A digest over them.
    pub digest: [u8; 32],
}

impl Summary {
    fn over(mut next: impl FnMut(Option<&Position>) -> Result<Stretch, ReadError>) -> Result<Self, ReadError> {
        let (mut rows, mut hash, mut after) = (0, Sha256::new(), None);
        loop {
            let stretch = next(after.as_ref())?;
            rows += stretch.rows.len() as u64;
            stretch.add_to(&mut hash);
            match stretch.end {
                Some(end) => after = Some(end),
                None => return Ok(Self { rows, digest: hash.finalize().into() }),
            }
        }
    }
}

impl Stretch {
    /// A digest over the rows, by which two nodes find that they have the same.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        self.add_to(&mut hash);
        hash.finalize().into()
    }

    fn add_to(&self, hash: &mut Sha256) {
        for (table, row) in &self.rows {
            hash.update([*table]);
            for part in [&row.key, &row.value] {
                hash.update((part.len() as u64).to_be_bytes());
                hash.update(part);
            }
        }
    }

    fn ended_by(rows: Vec<(u8, OwnRow)>, more: bool) -> Self {
        let end = rows.last().filter(|_| more).map(|(table, row)| Position { table: *table, key: row.key.clone() });
        Self { rows, end }
    }
}

/// The private rows behind `after` of an account that is served here.
///
/// # Errors
/// The engine fails.
pub fn stretch_of_own(
    reader: &Reader,
    owned: &Owned,
    after: Option<&Position>,
    limit: usize,
    bytes: usize,
) -> Result<Stretch, ReadError> {
    let mut rows = Vec::new();
    let mut taken = 0;
    for table in tables(Nature::Private) {
        let byte = table.byte();
        let behind = match after {
            Some(after) if after.table > byte => continue,
            Some(after) if after.table == byte => Some(after.key.as_slice()),
            _ => None,
        };
        if rows.len() >= limit || taken >= bytes {
            return Ok(Stretch::ended_by(rows, true));
        }
        let page = owned.page(reader, table, behind, limit - rows.len(), bytes - taken)?;
        taken += page.rows.iter().map(|row| row.key.len() + row.value.len()).sum::<usize>();
        rows.extend(page.rows.into_iter().map(|row| (byte, row)));
        if page.more {
            return Ok(Stretch::ended_by(rows, true));
        }
    }
    Ok(Stretch::ended_by(rows, false))
}

/// All private rows of an account that is served here.
///
/// # Errors
/// The engine fails.
pub fn summary_of_own(reader: &Reader, owned: &Owned) -> Result<Summary, ReadError> {
    Summary::over(|after| stretch_of_own(reader, owned, after, SUMMARY_ROWS, SUMMARY_BYTES))
}

/// All private rows of a copy.
///
/// # Errors
/// The engine fails.
pub fn summary_of_copy(reader: &Reader, account: AccountId) -> Result<Summary, ReadError> {
    Summary::over(|after| stretch_of_copy(reader, account, after, None, SUMMARY_ROWS))
}

/// The rows of the copy behind `after`, up to `until` and at most `limit` of them.
///
/// # Errors
/// The engine fails.
pub fn stretch_of_copy(
    reader: &Reader,
    account: AccountId,
    after: Option<&Position>,
    until: Option<&Position>,
    limit: usize,
) -> Result<Stretch, ReadError> {
    let prefix = prefix(account);
    let mut range = KeyRange::prefix(&prefix);
    if let Some(after) = after {
        range = range.beyond(&stored(account, after.table, &after.key), false);
    }
    if let Some(until) = until {
        range.end = Some([stored(account, until.table, &until.key), vec![0]].concat());
    }
    if range.is_empty() {
        return Ok(Stretch { rows: Vec::new(), end: until.cloned() });
    }
    let page = reader.rows(&range, false, PageLimit::rows(limit))?;
    let rows = page.rows().filter_map(|(key, value)| {
        let (table, key) = key[prefix.len()..].split_first()?;
        Some((*table, OwnRow { key: key.to_vec(), value: value.to_vec() }))
    });
    let found = Stretch::ended_by(rows.collect(), page.more);
    Ok(if found.end.is_none() { Stretch { end: until.cloned(), ..found } } else { found })
}

/// One row of a copy.
///
/// # Errors
/// The engine fails.
pub fn row_of_copy(reader: &Reader, account: AccountId, table: u8, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
    let start = stored(account, table, key);
    let range = KeyRange { end: Some([start.as_slice(), &[0]].concat()), start };
    let page = reader.rows(&range, false, PageLimit { rows: 1, bytes: 1 })?;
    Ok(page.row(0).map(|(_, value)| value.to_vec()))
}

/// Whether there is any row of a copy.
///
/// # Errors
/// The engine fails.
pub fn is_empty(reader: &Reader, account: AccountId) -> Result<bool, ReadError> {
    Ok(stretch_of_copy(reader, account, None, None, 1)?.rows.is_empty())
}

/// Adds the removal of up to `limit` rows of a copy to `batch`; answers how many.
///
/// # Errors
/// The engine fails, or the batch is full.
pub fn stage_removal(reader: &Reader, batch: &mut Batch, account: AccountId, limit: usize) -> Result<usize, NotTaken> {
    let found = stretch_of_copy(reader, account, None, None, limit)?;
    for (table, row) in &found.rows {
        batch.delete_stored(TableId::ReplicaRows, stored(account, *table, &row.key))?;
        places::stage_removal(batch, account, *table, row)?;
    }
    Ok(found.rows.len())
}

pub(super) fn prefix(account: AccountId) -> Vec<u8> {
    let mut key = vec![TableId::ReplicaRows.byte()];
    account.encode(&mut key);
    key
}

fn stored(account: AccountId, table: u8, key: &[u8]) -> Vec<u8> {
    let mut stored = prefix(account);
    stored.push(table);
    stored.extend_from_slice(key);
    stored
}

/// Changes on their way into a copy, in one batch.
#[derive(Debug)]
pub struct Taking<'a> {
    reader: &'a Reader,
    account: AccountId,
    now: Timestamp,
    batch: Batch,
    rows: BTreeMap<(u8, Vec<u8>), Option<Vec<u8>>>,
    grew: i64,
    /// Whether rows were read while they were written: a record of several may be of two versions, until what was told
    /// meanwhile has come too.
    is_fuzzy: bool,
}

impl<'a> Taking<'a> {
    /// Nothing yet, into the copy under `account`.
    #[must_use]
    pub fn new(reader: &'a Reader, account: AccountId, now: Timestamp) -> Self {
        Self { reader, account, now, batch: Batch::new(), rows: BTreeMap::new(), grew: 0, is_fuzzy: false }
    }

    /// The batch, and by how many bytes the copy grows with it.
    #[must_use]
    pub fn done(self) -> (Batch, i64) {
        (self.batch, self.grew)
    }

    /// Bytes and rows so far.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        (self.batch.bytes(), self.batch.rows())
    }

    /// What one event of the other node's log tells.
    ///
    /// # Errors
    /// [`NotTaken`].
    pub fn take(&mut self, changed: &Changed) -> Result<(), NotTaken> {
        if changed.whole {
            self.check_heads(&changed.rows)?;
        }
        changed.rows.iter().try_for_each(|change| self.row(change))
    }

    /// Makes the rows behind `after`, up to the stretch's end, those of the stretch; answers how many were others.
    ///
    /// # Errors
    /// [`NotTaken`].
    pub fn replace(&mut self, after: Option<&Position>, stretch: Stretch) -> Result<usize, NotTaken> {
        let mut others = 0;
        self.is_fuzzy = true;
        let keys: BTreeSet<_> = stretch.rows.iter().map(|(table, row)| (*table, row.key.clone())).collect();
        if keys.len() != stretch.rows.len() {
            return Err(NotTaken::Table(0));
        }
        let mut from = after.cloned();
        loop {
            let here = stretch_of_copy(self.reader, self.account, from.as_ref(), stretch.end.as_ref(), 2_000)?;
            let full = here.rows.len() >= 2_000;
            for (table, row) in here.rows {
                from = Some(Position { table, key: row.key.clone() });
                if !keys.contains(&(table, row.key.clone())) {
                    others += 1;
                    self.row(&Change { table, key: row.key, value: None })?;
                }
            }
            if !full {
                break;
            }
        }
        for (table, row) in stretch.rows {
            let place = Position { table, key: row.key };
            let is_inside =
                after.is_none_or(|after| place > *after) && stretch.end.as_ref().is_none_or(|end| place <= *end);
            if !is_inside {
                return Err(NotTaken::Table(table));
            }
            if row_of_copy(self.reader, self.account, table, &place.key)?.as_ref() != Some(&row.value) {
                others += 1;
                self.row(&Change { table, key: place.key, value: Some(row.value.into()) })?;
            }
        }
        Ok(others)
    }

    fn current(&self, table: u8, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        match self.rows.get(&(table, key.to_vec())) {
            Some(value) => Ok(value.clone()),
            None => row_of_copy(self.reader, self.account, table, key),
        }
    }

    fn row(&mut self, change: &Change) -> Result<(), NotTaken> {
        let known = TableId::from_byte(change.table).and_then(|table| Some((table, found(table, Nature::Private)?)));
        let (table, found) = known.ok_or(NotTaken::Table(change.table))?;
        if change.key.len() + 16 > KEY_BYTES_MAX || change.value.as_ref().is_some_and(|it| it.len() > VALUE_BYTES_MAX) {
            return Err(NotTaken::Table(change.table));
        }
        if let Some(value) = &change.value {
            let mut key = vec![change.table];
            match found {
                Found::ByAccount => self.account.encode(&mut key),
                // The DID does not travel, and whose it is makes no difference to what a row is: the form is judged here.
                Found::ByDid => ANY_DID.to_owned().encode(&mut key),
                Found::BySpace | Found::ByPermissionedSpace | Found::Elsewhere => {}
            }
            key.extend_from_slice(&change.key);
            check(table, &key, value)?;
        }
        let before = self.current(change.table, &change.key)?;
        let removed = match table {
            TableId::PermissionedRecords => self.blobs_of(change, before.as_deref())?,
            _ => Vec::new(),
        };
        let weight = |value: Option<usize>| value.map_or(0, |bytes| (bytes + change.key.len()) as i64);
        self.grew += weight(change.value.as_ref().map(|value| value.len())) - weight(before.as_ref().map(Vec::len));
        let key = stored(self.account, change.table, &change.key);
        let value = change.value.as_ref().map(|value| value.to_vec());
        places::stage(&mut self.batch, self.account, (table, &change.key), before.as_deref(), value.as_deref())?;
        match &value {
            Some(value) => self.batch.put_stored(TableId::ReplicaRows, key, value.clone())?,
            None => self.batch.delete_stored(TableId::ReplicaRows, key)?,
        }
        self.rows.insert((change.table, change.key.clone()), value);
        if table == TableId::PermissionedRecords {
            self.note_blobs(change, &removed)?;
        }
        Ok(())
    }

    /// That the set hash of each repository follows from the operations that came with it.
    fn check_heads(&self, rows: &[Change]) -> Result<(), NotTaken> {
        let heads = rows.iter().filter(|change| change.table == TableId::PermissionedRepos.byte());
        for change in heads {
            let Some(after) = change.value.as_ref().and_then(|value| codec::decode::<RepoRow>(value).ok()) else {
                continue;
            };
            let before = self.current(change.table, &change.key)?;
            let before = before.and_then(|value| codec::decode::<RepoRow>(&value).ok());
            let mut head = match before {
                // It is known already, from a stretch that was read later.
                Some(before) if before.rev >= after.rev => continue,
                Some(before) => {
                    let hash = SetHash::from_bytes(&before.hash).ok_or(NotTaken::SetHash)?;
                    Head { rev: before.rev, hash, records: before.records }
                }
                None => Head::empty(),
            };
            let mut ops = Vec::new();
            for op in rows.iter().filter(|op| op.table == TableId::PermissionedOps.byte()) {
                let Ok((space, number, _)) = <(SpaceDigest, u64, u16)>::decode(&mut op.key.as_slice()) else {
                    continue;
                };
                if space[..] != change.key[..] || number != crate::permissioned::number(after.rev) {
                    continue;
                }
                let row = op.value.as_ref().and_then(|value| codec::decode::<OpRow>(value).ok());
                ops.extend(row.map(|row| Op { path: row.path, cid: row.cid, prev: row.prev }));
            }
            let advanced = head.advance(after.rev, &ops).is_ok();
            if !advanced || head.hash.to_bytes() != after.hash || head.records != after.records {
                return Err(NotTaken::SetHash);
            }
        }
        Ok(())
    }

    /// The blobs that the record named before, when this is its first row.
    fn blobs_of(&self, change: &Change, before: Option<&[u8]>) -> Result<Vec<BlobRef>, NotTaken> {
        let Ok((_, _, 0)) = <(SpaceDigest, String, u16)>::decode(&mut change.key.as_slice()) else {
            return Ok(Vec::new());
        };
        match before {
            Some(before) => Ok(self.record(&change.key, before)?.map(|record| named(&record.1)).unwrap_or_default()),
            None => Ok(Vec::new()),
        }
    }

    /// Notes what a record names once all of it is here, and lets go of what it named.
    fn note_blobs(&mut self, change: &Change, removed: &[BlobRef]) -> Result<(), NotTaken> {
        let Ok((space, path, part)) = <(SpaceDigest, String, u16)>::decode(&mut change.key.as_slice()) else {
            return Ok(());
        };
        let mut first = Vec::new();
        (space, path.clone(), 0_u16).encode(&mut first);
        let row = self.current(change.table, &first)?;
        let record = match &row {
            Some(row) => self.record(&first, row)?,
            None => None,
        };
        let Ok(path) = path.parse::<RepoPath>() else { return Ok(()) };
        let (rev, added) = match record {
            Some((row, bytes)) => {
                let RecordRow::First { rev, cid, parts, .. } = row else { return Ok(()) };
                if part + 1 != parts {
                    return Ok(());
                }
                if <[u8; 32]>::from(Sha256::digest(&bytes)) != *cid.digest() {
                    return if self.is_fuzzy { Ok(()) } else { Err(NotTaken::Record) };
                }
                (rev, named(&bytes))
            }
            None if part == 0 && row.is_none() => (angel_protocol::ids::Tid::MIN, Vec::new()),
            None => return Ok(()),
        };
        if added.is_empty() && removed.is_empty() {
            return Ok(());
        }
        let naming = Naming { account: self.account, path: &path, rev, now: self.now, absent: Absent::Note };
        Ok(stage_private_refs(self.reader, &mut self.batch, naming, &space, &added, removed)?)
    }

    /// The record whose first row is `row`, when all of its rows are here.
    fn record(&self, first: &[u8], row: &[u8]) -> Result<Option<(RecordRow, Vec<u8>)>, NotTaken> {
        let Ok(row) = codec::decode::<RecordRow>(row) else { return Ok(None) };
        let RecordRow::First { parts, bytes, .. } = &row else { return Ok(None) };
        let mut whole = bytes.clone();
        for part in 1..*parts {
            let key = [&first[..first.len() - 2], &part.to_be_bytes()].concat();
            match self.current(TableId::PermissionedRecords.byte(), &key)?.map(|row| codec::decode(&row)) {
                Some(Ok(RecordRow::Further(more))) => whole.extend_from_slice(&more),
                _ => return Ok(None),
            }
        }
        Ok(Some((row, whole)))
    }
}

fn named(record: &[u8]) -> Vec<BlobRef> {
    match cbor::outline(record) {
        Ok(outline) if outline.may_name_blobs => cbor::decode(record).map(|it| blob_refs(&it)).unwrap_or_default(),
        _ => Vec::new(),
    }
}
