//! Going through the records of one owner: the rows of their own, and the packs beside them if there are any
//! (`crate::repos`), as one in the order of the paths.
//!
//! Nothing here is a snapshot, and a record leaves its pack for a row of its own whenever it is changed. So packs are read
//! first and rows after them, stretch by stretch: a record that is not in the pack any more is in the row that is read
//! later. One that is seen in both is told once, as the row has it.

use std::cmp::Ordering;

use super::packed::Packs;
use super::{Order, Record, RecordRef, RecordTable};
use crate::codec::CodecError;
use crate::engine::{KeyRange, Page, PageLimit};
use crate::key::{Key, PrefixOf};
use crate::limits::PAGE_ROWS_MAX;
use crate::reader::{ReadError, Reader, hex};
use crate::repos::{PackRow, RecordRow, RecordView};
use crate::tables::{Table, TableId};

/// Goes through the records of one owner page by page.
#[derive(Debug)]
pub struct RecordScan {
    rows: Rows,
    packs: Option<Packs>,
}

/// Where the next record is.
#[derive(Clone, Copy, Debug)]
enum Next {
    Row,
    Pack,
}

impl RecordScan {
    /// From `first` on, before `end`. Both are paths or the beginnings of such; a path is within them as texts compare.
    pub(crate) fn new<O: Key + Copy + PrefixOf<(O, String, u16)> + PrefixOf<(O, String)>>(
        reader: &Reader,
        table: &RecordTable<O>,
        packs: Option<&Table<(O, String), PackRow>>,
        owner: O,
        first: &str,
        end: Option<&str>,
        order: Order,
    ) -> Self {
        let whole = table.prefix(&owner);
        let prefix_bytes = whole.start.len();
        let key = |path: &str| table.key(&(owner, path.to_owned(), 0));
        let rest = KeyRange { start: key(first), end: end.map(key).or(whole.end) };
        let packs = packs.map(|packs| {
            let whole = packs.prefix(&owner);
            let key = |path: &str| packs.key(&(owner, path.to_owned()));
            let range = KeyRange { start: key(first), end: end.map(key).or(whole.end.clone()) };
            Packs::new(reader, packs.id(), range, whole.start, order)
        });
        let mut rows = Rows::new(reader, table.id(), rest, prefix_bytes, order);
        if packs.is_none() {
            rows.open(None);
        }
        Self { rows, packs }
    }

    /// The next record with its path. `expected` is how many records the caller reckons to take in all: pages are not
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
        match self.find(expected)? {
            None => Ok(None),
            Some(Next::Row) => self.rows.take(expected),
            Some(Next::Pack) => self.packs.as_mut().map_or(Ok(None), Packs::take),
        }
    }

    /// The record at `path`, which lies behind every path asked for before in reading direction; what lies before it is
    /// passed over.
    ///
    /// # Errors
    /// The engine fails, or a row cannot be read or is missing.
    pub fn at(&mut self, path: &str, expected: usize) -> Result<Option<RecordRef<'_>>, ReadError> {
        let order = self.rows.order;
        loop {
            // Compared as bytes, which is the order of texts too: what is passed over, or found, need not be read as one.
            let Some(next) = self.find(expected)? else { return Ok(None) };
            let here = match next {
                Next::Row => self.rows.path()?,
                Next::Pack => self.packs.as_ref().and_then(Packs::path),
            };
            match in_order(order, here.unwrap_or_default(), path.as_bytes()) {
                Ordering::Less => self.pass(next),
                Ordering::Equal => return self.next_ref(expected),
                Ordering::Greater => return Ok(None),
            }
        }
    }

    /// Reads on until it is certain where the next record is, if there is one.
    fn find(&mut self, expected: usize) -> Result<Option<Next>, ReadError> {
        loop {
            let is_row = self.rows.fill(expected)?;
            let Some(packs) = &mut self.packs else { return Ok(is_row.then_some(Next::Row)) };
            if packs.fill()? {
                let (Some(row), Some(packed)) = (self.rows.path()?, packs.path()) else { return Ok(Some(Next::Pack)) };
                return Ok(Some(match in_order(self.rows.order, row, packed) {
                    Ordering::Less => Next::Row,
                    Ordering::Greater => Next::Pack,
                    // It left the pack after that was read.
                    Ordering::Equal => {
                        packs.pass();
                        Next::Row
                    }
                }));
            }
            if is_row {
                return Ok(Some(Next::Row));
            }
            if !packs.read(expected)? {
                return Ok(None);
            }
            self.rows.open(packs.stretch_end(self.rows.table)?);
        }
    }

    /// Leaves out what [`Self::find`] found.
    fn pass(&mut self, next: Next) {
        match next {
            Next::Row => self.rows.at += 1,
            Next::Pack => self.packs.iter_mut().for_each(Packs::pass),
        }
    }
}

/// How two paths follow one another in reading direction.
fn in_order(order: Order, one: &[u8], other: &[u8]) -> Ordering {
    let ordering = one.cmp(other);
    if order == Order::Ascending { ordering } else { ordering.reverse() }
}

/// The rows of their own.
#[derive(Debug)]
struct Rows {
    reader: Reader,
    table: TableId,
    /// What must not be read yet. Every key in it begins with the table and the owner.
    rest: KeyRange,
    /// What has not been read of the part that may be.
    range: KeyRange,
    prefix_bytes: usize,
    order: Order,
    page: Page,
    /// The next row of the page.
    at: usize,
    more: bool,
}

impl Rows {
    fn new(reader: &Reader, table: TableId, rest: KeyRange, prefix_bytes: usize, order: Order) -> Self {
        let range = KeyRange { start: rest.start.clone(), end: Some(rest.start.clone()) };
        let (page, at, more) = (Page::default(), 0, false);
        Self { reader: reader.clone(), table, rest, range, prefix_bytes, order, page, at, more }
    }

    /// Lets what follows be read up to `end`, in reading direction, or all of it. What could be read before has been. The
    /// end may lie outside of what is left: the first pack may end ahead of the first path.
    fn open(&mut self, end: Option<Vec<u8>>) {
        let KeyRange { start, end: behind } = &mut self.rest;
        self.range = match (self.order, end) {
            (_, None) => KeyRange { start: start.clone(), end: behind.clone() },
            (Order::Ascending, Some(end)) => {
                let end = behind.iter().fold(end, |end, behind| end.min(behind.clone())).max(start.clone());
                KeyRange { start: std::mem::replace(start, end.clone()), end: Some(end) }
            }
            (Order::Descending, Some(end)) => {
                let end = end.max(start.clone());
                KeyRange { end: behind.replace(end.clone()), start: end }
            }
        };
        (self.page, self.at, self.more) = (Page::default(), 0, true);
    }

    /// Sees to it that there is a next row of what may be read; answers whether there is one.
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

    /// The path of the next row, if it has been read, as bytes.
    fn path(&self) -> Result<Option<&[u8]>, ReadError> {
        let Some((key, _)) = self.page.row(self.at) else { return Ok(None) };
        let place = key.get(self.prefix_bytes..).and_then(text_and_part);
        place.map(|(path, _)| Some(path)).ok_or_else(|| self.no_record(key))
    }

    /// The record that begins with the next row, which has been read.
    fn take(&mut self, expected: usize) -> Result<Option<RecordRef<'_>>, ReadError> {
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
