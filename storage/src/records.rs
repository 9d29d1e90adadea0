//! Records by path, each in as many rows as it needs: public and permissioned repositories lay them out alike.
//!
//! A row's key is whose it is, the path, and the number of the part; the rows of a record are written and removed in one
//! batch. Most records are one row, and whoever reads many sees those where the page has them, without a copy.

use std::borrow::Cow;
use std::cmp::Ordering;

use angel_protocol::data::{Block, Cid};
use angel_protocol::ids::Tid;

use crate::batch::{Batch, RowRefused};
use crate::codec::CodecError;
use crate::engine::{KeyRange, Page, PageLimit};
use crate::key::{Key, PrefixOf};
use crate::limits::PAGE_ROWS_MAX;
use crate::reader::{ReadError, Reader, hex};
use crate::repos::{PART_BYTES, RecordRow, RecordView, pieces};
use crate::tables::{Table, TableId};

/// A table of records of many owners.
pub(crate) type RecordTable<O> = Table<(O, String, u16), RecordRow>;

/// A record as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its CID, of codec DAG-CBOR.
    pub cid: Cid,
    /// The revision that wrote it.
    pub rev: Tid,
    /// Its canonical DAG-CBOR.
    pub bytes: Vec<u8>,
}

/// A record where it was read to, with its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordRef<'a> {
    /// Where it lies.
    pub path: Cow<'a, str>,
    /// Its CID, of codec DAG-CBOR.
    pub cid: Cid,
    /// The revision that wrote it.
    pub rev: Tid,
    /// Its canonical DAG-CBOR.
    pub bytes: Cow<'a, [u8]>,
}

/// Which end to begin at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// From the least path up: the order of the tree.
    Ascending,
    /// From the greatest path down.
    Descending,
}

/// The record of `owner` at `path`.
pub(crate) fn record<O: Key + Copy>(
    reader: &Reader,
    table: &RecordTable<O>,
    owner: O,
    path: &str,
) -> Result<Option<Record>, ReadError> {
    let first = (owner, path.to_owned(), 0);
    match reader.get(table, &first)? {
        None => Ok(None),
        Some(RecordRow::Further(_)) => Err(out_of_place(table.id(), &table.key(&first))),
        Some(RecordRow::First { rev, cid, parts, mut bytes }) => {
            for part in 1..parts {
                let key = (owner, path.to_owned(), part);
                match reader.get(table, &key)? {
                    Some(RecordRow::Further(more)) => bytes.extend_from_slice(&more),
                    Some(RecordRow::First { .. }) => return Err(out_of_place(table.id(), &table.key(&key))),
                    None => return Err(ReadError::missing(table, &key)),
                }
            }
            Ok(Some(Record { cid, rev, bytes }))
        }
    }
}

/// Sets the record of `owner` at `path`. `before` is the length in bytes of the record that was there.
pub(crate) fn stage_put<O: Key + Copy>(
    batch: &mut Batch,
    table: &RecordTable<O>,
    owner: O,
    path: &str,
    rev: Tid,
    record: &Block,
    before: Option<usize>,
) -> Result<(), RowRefused> {
    let (parts, first, further) = pieces(record.bytes());
    let key = |part: u16| (owner, path.to_owned(), part);
    let first = RecordView::First { rev, cid: record.cid(), parts, bytes: first };
    batch.put_stored(table.id(), table.key(&key(0)), first.stored())?;
    for (part, bytes) in further {
        batch.put_stored(table.id(), table.key(&key(part)), RecordView::Further(bytes).stored())?;
    }
    for part in before.into_iter().flat_map(|before| parts..=last_part(before)) {
        batch.delete(table, &key(part))?;
    }
    Ok(())
}

/// Removes the record of `owner` at `path`, which has `bytes` bytes.
pub(crate) fn stage_delete<O: Key + Copy>(
    batch: &mut Batch,
    table: &RecordTable<O>,
    owner: O,
    path: &str,
    bytes: usize,
) -> Result<(), RowRefused> {
    (0..=last_part(bytes)).try_for_each(|part| batch.delete(table, &(owner, path.to_owned(), part)))
}

/// The number of the last row of a block.
pub(crate) fn last_part(bytes: usize) -> u16 {
    u16::try_from(bytes.saturating_sub(1) / PART_BYTES).unwrap_or(u16::MAX)
}

/// Goes through the records of one owner page by page.
#[derive(Debug)]
pub struct RecordScan {
    reader: Reader,
    table: TableId,
    /// What has not been read. Every key in it begins with the table and the owner.
    range: KeyRange,
    prefix_bytes: usize,
    order: Order,
    page: Page,
    /// The next row of the page.
    at: usize,
    more: bool,
}

impl RecordScan {
    /// From `first` on, before `end`. Both are paths or the beginnings of such; a path is within them as texts compare.
    pub(crate) fn new<O: Key + Copy + PrefixOf<(O, String, u16)>>(
        reader: &Reader,
        table: &RecordTable<O>,
        owner: O,
        first: &str,
        end: Option<&str>,
        order: Order,
    ) -> Self {
        let whole = table.prefix(&owner);
        let prefix_bytes = whole.start.len();
        let key = |path: &str| table.key(&(owner, path.to_owned(), 0));
        let range = KeyRange { start: key(first), end: end.map(key).or(whole.end) };
        let (page, at, more) = (Page::default(), 0, true);
        Self { reader: reader.clone(), table: table.id(), range, prefix_bytes, order, page, at, more }
    }

    /// The next record with its path. `expected` is how many rows the caller reckons to take in all: pages are not
    /// made longer than that.
    ///
    /// # Errors
    /// The engine fails, or a row cannot be read or is missing.
    pub fn next(&mut self, expected: usize) -> Result<Option<(String, Record)>, ReadError> {
        let Some(RecordRef { path, cid, rev, bytes }) = self.next_ref(expected)? else { return Ok(None) };
        Ok(Some((path.into_owned(), Record { cid, rev, bytes: bytes.into_owned() })))
    }

    /// The same without a copy, for as long as the scan stands still.
    ///
    /// # Errors
    /// The engine fails, or a row cannot be read or is missing.
    pub fn next_ref(&mut self, expected: usize) -> Result<Option<RecordRef<'_>>, ReadError> {
        if !self.fill(expected)? {
            return Ok(None);
        }
        if !matches!(self.view_at(self.at)?, RecordView::First { parts: 1, .. }) {
            return self.assemble(expected).map(Some);
        }
        self.at += 1;
        let (path, _) = self.path_at(self.at - 1)?;
        match self.view_at(self.at - 1)? {
            RecordView::First { rev, cid, bytes, .. } => {
                Ok(Some(RecordRef { path: path.into(), cid, rev, bytes: bytes.into() }))
            }
            RecordView::Further(_) => Ok(None),
        }
    }

    /// The record at `path`, which lies behind every path asked for before in reading direction; what lies before it is
    /// passed over.
    ///
    /// # Errors
    /// The engine fails, or a row cannot be read or is missing.
    pub fn at<'a>(&'a mut self, path: &'a str, expected: usize) -> Result<Option<RecordRef<'a>>, ReadError> {
        loop {
            if !self.fill(expected)? {
                return Ok(None);
            }
            // Compared as bytes, which is the order of texts too: what is passed over, or found, need not be read as one.
            let (key, _) = self.page.row(self.at).unwrap_or_default();
            let (here, _) = key.get(self.prefix_bytes..).and_then(text_and_part).ok_or_else(|| self.no_record(key))?;
            let here = here.cmp(path.as_bytes());
            match if self.order == Order::Ascending { here } else { here.reverse() } {
                Ordering::Less => self.at += 1,
                Ordering::Equal => break,
                Ordering::Greater => return Ok(None),
            }
        }
        if !matches!(self.view_at(self.at)?, RecordView::First { parts: 1, .. }) {
            return self.assemble(expected).map(Some);
        }
        self.at += 1;
        match self.view_at(self.at - 1)? {
            RecordView::First { rev, cid, bytes, .. } => {
                Ok(Some(RecordRef { path: path.into(), cid, rev, bytes: bytes.into() }))
            }
            RecordView::Further(_) => Ok(None),
        }
    }

    /// Puts together a record of several rows, the next of which is there.
    fn assemble(&mut self, expected: usize) -> Result<RecordRef<'static>, ReadError> {
        let path = self.path_at(self.at)?.0.to_owned();
        let (mut found, mut first) = (Vec::new(), None);
        while self.fill(expected)? {
            let (here, part) = self.path_at(self.at)?;
            if here != path {
                break;
            }
            match self.view_at(self.at)? {
                RecordView::First { rev, cid, parts, bytes } => {
                    first = Some((rev, cid, parts));
                    found.push((part, bytes.to_vec()));
                }
                RecordView::Further(bytes) => found.push((part, bytes.to_vec())),
            }
            self.at += 1;
        }
        found.sort_unstable_by_key(|(part, _)| *part);
        let parts_fit = (0_u16..).zip(&found).all(|(expected, (part, _))| expected == *part);
        match first {
            Some((rev, cid, parts)) if parts_fit && found.len() == usize::from(parts) => {
                let bytes = found.into_iter().flat_map(|(_, bytes)| bytes).collect::<Vec<_>>();
                Ok(RecordRef { path: path.into(), cid, rev, bytes: bytes.into() })
            }
            _ => {
                let detail = format!("the parts of the record at {path} are not what its first one says");
                Err(self.broken(&self.range.start, detail))
            }
        }
    }

    /// Sees to it that there is a next row; answers whether there is one.
    fn fill(&mut self, expected: usize) -> Result<bool, ReadError> {
        if self.at < self.page.len() {
            return Ok(true);
        }
        if !self.more {
            return Ok(false);
        }
        let reverse = self.order == Order::Descending;
        if let Some(last) = self.page.last_key() {
            self.range = std::mem::replace(&mut self.range, KeyRange::all()).beyond(last, reverse);
        }
        self.page = self.reader.rows(&self.range, reverse, PageLimit::rows(expected.clamp(1, PAGE_ROWS_MAX)))?;
        (self.at, self.more) = (0, self.page.more);
        Ok(!self.page.is_empty())
    }

    /// Path and part of a row of the page.
    fn path_at(&self, index: usize) -> Result<(&str, u16), ReadError> {
        let (key, _) = self.page.row(index).unwrap_or_default();
        let place = key.get(self.prefix_bytes..).and_then(path_and_part);
        place.ok_or_else(|| self.no_record(key))
    }

    fn no_record(&self, key: &[u8]) -> ReadError {
        self.broken(key, "the key is none of a record".to_owned())
    }

    /// Value of a row of the page.
    fn view_at(&self, index: usize) -> Result<RecordView<'_>, ReadError> {
        let (key, stored) = self.page.row(index).unwrap_or_default();
        RecordRow::view(stored).map_err(|source| ReadError::Row { table: self.table, key: hex(key), source })
    }

    fn broken(&self, key: &[u8], detail: String) -> ReadError {
        ReadError::Row { table: self.table, key: hex(key), source: CodecError::Decode { detail } }
    }
}

/// What follows the owner in a key. A path holds no zero byte, so it lies there as it is.
fn path_and_part(rest: &[u8]) -> Option<(&str, u16)> {
    let (path, part) = text_and_part(rest)?;
    Some((std::str::from_utf8(path).ok().filter(|path| !path.contains('\0'))?, part))
}

/// The same, the path as bytes that may be none.
fn text_and_part(rest: &[u8]) -> Option<(&[u8], u16)> {
    let (text, part) = rest.split_last_chunk()?;
    Some((text.strip_suffix(&[0, 1])?, u16::from_be_bytes(*part)))
}

fn out_of_place(table: TableId, key: &[u8]) -> ReadError {
    let detail = "not the part of a record that belongs here".to_owned();
    ReadError::Row { table, key: hex(key), source: CodecError::Decode { detail } }
}
