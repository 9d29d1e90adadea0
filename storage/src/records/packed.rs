//! The packs of one owner, page by page, record by record.

use super::{Order, RecordRef};
use crate::codec::CodecError;
use crate::engine::{KeyRange, Page, PageLimit};
use crate::limits::PAGE_ROWS_MAX;
use crate::reader::{ReadError, Reader, hex};
use crate::repos::{PACK_RECORDS_MAX, PackView};
use crate::tables::TableId;

/// What the key of a record ends with behind its path: the end of the text, then the number of the part.
const TEXT_END: [u8; 2] = [0, 1];

/// Greater than [`TEXT_END`], whatever follows it.
const BEHIND_TEXT: [u8; 2] = [0, 2];

/// Goes through packs. What has been read comes first; more is read when the caller says so.
#[derive(Debug)]
pub(super) struct Packs {
    reader: Reader,
    table: TableId,
    /// Keys that have not been read.
    range: KeyRange,
    /// What every key of the owner begins with.
    prefix: Vec<u8>,
    /// From the first path, included, to the end, excluded.
    bounds: (Vec<u8>, Option<Vec<u8>>),
    order: Order,
    page: Page,
    /// The next pack of the page.
    next_pack: usize,
    /// Where the records lie in the pack before that, in reading order.
    places: Vec<usize>,
    /// The next of them.
    next: usize,
    /// Its path. All of the pack begin with so many bytes of it.
    path: String,
    shared: usize,
    is_path_known: bool,
    has_begun: bool,
    more: bool,
}

impl Packs {
    /// `range` is from the key of the first path to that of the last, each as if a pack began there.
    pub(super) fn new(reader: &Reader, table: TableId, range: KeyRange, prefix: Vec<u8>, order: Order) -> Self {
        let path_of = |key: &[u8]| {
            let rest = key.get(prefix.len()..).filter(|_| key.starts_with(&prefix));
            rest.and_then(|rest| rest.strip_suffix(&TEXT_END)).map(<[u8]>::to_vec)
        };
        let bounds = (path_of(&range.start).unwrap_or_default(), range.end.as_deref().and_then(path_of));
        Self {
            reader: reader.clone(),
            table,
            range,
            prefix,
            bounds,
            order,
            page: Page::default(),
            next_pack: 0,
            places: Vec::with_capacity(PACK_RECORDS_MAX),
            next: 0,
            path: String::new(),
            shared: 0,
            is_path_known: false,
            has_begun: false,
            more: true,
        }
    }

    /// Reads more packs, once those that were read are through; answers whether there may have been any. `expected` is how
    /// many records the caller reckons to take.
    pub(super) fn read(&mut self, expected: usize) -> Result<bool, ReadError> {
        if !self.more {
            return Ok(false);
        }
        if !std::mem::replace(&mut self.has_begun, true) {
            self.reach_back()?;
        }
        let reverse = self.order == Order::Descending;
        if let Some(last) = self.page.last_key() {
            self.range = std::mem::replace(&mut self.range, KeyRange::all()).beyond(last, reverse);
        }
        let limit = PageLimit::rows(expected.div_ceil(PACK_RECORDS_MAX).clamp(1, PAGE_ROWS_MAX));
        self.page = self.reader.rows(&self.range, reverse, limit)?;
        (self.next_pack, self.more) = (0, self.page.more);
        Ok(true)
    }

    /// The first path may lie in a pack that begins before it.
    fn reach_back(&mut self) -> Result<(), ReadError> {
        if self.bounds.0.is_empty() {
            return Ok(());
        }
        let before = KeyRange { start: self.prefix.clone(), end: Some(self.range.start.clone()) };
        if let Some((key, _)) = self.reader.rows(&before, true, PageLimit::rows(1))?.row(0) {
            self.range.start = key.to_vec();
        }
        Ok(())
    }

    /// Up to where, in reading direction, everything that lies in packs has been read, as the end of a range of keys of
    /// `rows`; `None` when that is everything.
    pub(super) fn stretch_end(&self, rows: TableId) -> Result<Option<Vec<u8>>, ReadError> {
        let Some((key, stored)) = self.page.row(self.page.len().wrapping_sub(1)).filter(|_| self.more) else {
            return Ok(None);
        };
        let owner = &self.prefix[1..];
        if self.order == Order::Descending {
            return Ok(Some([&[rows.byte()], &key[1..], &[0, 0]].concat()));
        }
        let last = || -> Result<String, CodecError> {
            let pack = PackView::of(stored)?;
            let mut places = Vec::with_capacity(PACK_RECORDS_MAX);
            pack.places(&mut places)?;
            let last = places.last().map(|at| pack.entry(*at)).transpose()?;
            Ok([pack.prefix, last.map_or("", |(last, _)| last.path)].concat())
        };
        let last = last().map_err(|source| self.broken(key, source))?;
        Ok(Some([&[rows.byte()], owner, last.as_bytes(), &BEHIND_TEXT].concat()))
    }

    /// Sees to it that the next record's path is known; answers whether there is one among those that were read.
    pub(super) fn fill(&mut self) -> Result<bool, ReadError> {
        while !self.is_path_known {
            if self.next < self.places.len() {
                self.know_path()?;
            } else if self.next_pack < self.page.len() {
                self.next_pack += 1;
                self.enter()?;
            } else {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The next record's path, if it is known.
    pub(super) fn path(&self) -> Option<&[u8]> {
        self.is_path_known.then_some(self.path.as_bytes())
    }

    /// Leaves the next record out.
    pub(super) fn pass(&mut self) {
        self.next += 1;
        self.is_path_known = false;
    }

    /// The next record, whose path is known.
    pub(super) fn take(&mut self) -> Result<Option<RecordRef<'_>>, ReadError> {
        let Some(at) = self.places.get(self.next).copied() else { return Ok(None) };
        self.pass();
        let (key, stored) = self.pack();
        let (rev, cid, bytes) = PackView::record_at(stored, at).map_err(|source| self.broken(key, source))?;
        Ok(Some(RecordRef { path: self.path.as_str().into(), cid, rev, bytes: bytes.into() }))
    }

    /// Key and value of the pack that is gone through.
    fn pack(&self) -> (&[u8], &[u8]) {
        self.page.row(self.next_pack.wrapping_sub(1)).unwrap_or_default()
    }

    fn enter(&mut self) -> Result<(), ReadError> {
        let mut places = std::mem::take(&mut self.places);
        let mut path = std::mem::take(&mut self.path);
        places.clear();
        path.clear();
        let (key, stored) = self.pack();
        let within = PackView::of(stored).and_then(|pack| {
            path.push_str(pack.prefix);
            pack.places(&mut places)?;
            let (first, end) = (&self.bounds.0, &self.bounds.1);
            // Only the outermost packs reach beyond the bounds.
            let mut is_within = |at: &usize| -> Result<bool, CodecError> {
                let path = [pack.prefix, pack.entry(*at)?.0.path].concat();
                Ok(path.as_bytes() >= first.as_slice()
                    && end.as_ref().is_none_or(|end| path.as_bytes() < end.as_slice()))
            };
            let ends = [places.first(), places.last()].into_iter().flatten();
            if ends.map(&mut is_within).collect::<Result<Vec<_>, _>>()?.contains(&false) {
                let mut kept = Vec::with_capacity(places.len());
                for at in &places {
                    if is_within(at)? {
                        kept.push(*at);
                    }
                }
                places = kept;
            }
            Ok(())
        });
        let within = within.map_err(|source| self.broken(key, source));
        (self.shared, self.path) = (path.len(), path);
        within?;
        if self.order == Order::Descending {
            places.reverse();
        }
        (self.places, self.next) = (places, 0);
        Ok(())
    }

    fn know_path(&mut self) -> Result<(), ReadError> {
        let mut path = std::mem::take(&mut self.path);
        path.truncate(self.shared);
        let (key, stored) = self.pack();
        let at = self.places.get(self.next).copied().unwrap_or_default();
        let read = PackView::path_at(stored, at).map(|rest| path.push_str(rest));
        let read = read.map_err(|source| self.broken(key, source));
        (self.path, self.is_path_known) = (path, read.is_ok());
        read
    }

    fn broken(&self, key: &[u8], source: CodecError) -> ReadError {
        ReadError::Row { table: self.table, key: hex(key), source }
    }
}
