//! Records in packs: a run of those that an import brought, in one row.
//!
//! An engine's work is by the row, and most of what an import or an export costs is that work. Records that come in the
//! order of their paths go several to a row ([`Packer`]), into contents that nobody reads yet; nothing else makes a pack,
//! or adds to one. Whoever changes or removes a record takes it out of its pack in the same batch ([`take_out`]), and a
//! changed one is a row of its own from then on. So packs only shrink: what one holds is what it held at any moment
//! before, without what was taken out since (ADR 123).
//!
//! A pack's key is the path of the first record that it was made with, and stays when that one goes. Packs of the same
//! contents do not overlap, so the one that may hold a path is that with the greatest key up to it. Rows of their own may
//! lie between the records of a pack.

use angel_protocol::data::{Block, Cid, Codec};
use angel_protocol::ids::Tid;

use super::rows::{body_of, decode_rev, encode_rev, too_short};
use super::{Contents, PACKS, RECORDS};
use crate::batch::{Batch, RowRefused};
use crate::codec::{CodecError, StoredValue};
use crate::engine::{KeyRange, PageLimit};
use crate::events::TrimError;
use crate::reader::{ReadError, Reader, hex};
use crate::records::{self, Record};

/// Most records of a pack: as many rows of an engine's page become one. More would make a change of one of them dearer.
pub const PACK_RECORDS_MAX: usize = 16;

/// Bytes of records and paths after which a pack takes no more.
const PACK_BYTES_MAX: usize = 8 * 1024;

/// Larger records are rows of their own: few of them would fit into a pack, and their bytes cost more than their rows.
const PACKED_BYTES_MAX: usize = 2 * 1024;

/// Longest path of a record in a pack, in bytes. What this node takes over is shorter.
const PATH_BYTES_MAX: usize = 1024;

/// Stored form of a pack.
///
/// First the beginning that all paths share, its length ahead; then one record after the other: the rest of its path,
/// its revision, its digest and its bytes. Lengths have two bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackRow {
    /// Paths and records, at least one, in the order of the paths.
    pub records: Vec<(String, Record)>,
}

impl StoredValue for PackRow {
    const VERSION: u8 = 1;

    fn encode_body(&self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        encode(
            out,
            self.records.iter().map(|(path, Record { cid, rev, bytes })| Packed { path, rev: *rev, cid: *cid, bytes }),
        );
        Ok(())
    }

    fn decode_body(body: &[u8]) -> Result<Self, CodecError> {
        let pack = PackView::of_body(body)?;
        let mut records: Vec<(String, Record)> = Vec::with_capacity(PACK_RECORDS_MAX);
        let mut at = pack.first;
        while at < body.len() {
            let (entry, next) = pack.entry(at)?;
            let path = [pack.prefix, entry.path].concat();
            if path.contains('\0') || records.last().is_some_and(|(last, _)| *last >= path) {
                return Err(CodecError::Decode { detail: "the paths of a pack are in no order".to_owned() });
            }
            records.push((path, Record { cid: entry.cid, rev: entry.rev, bytes: entry.bytes.to_vec() }));
            at = next;
        }
        if records.is_empty() { Err(too_short()) } else { Ok(Self { records }) }
    }
}

/// A record of a pack, where it lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packed<'a> {
    /// Of what a [`PackView`] answers, without what all paths of the pack begin with.
    pub(crate) path: &'a str,
    pub(crate) rev: Tid,
    pub(crate) cid: Cid,
    pub(crate) bytes: &'a [u8],
}

/// What a stored pack says, without a copy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PackView<'a> {
    body: &'a [u8],
    /// What all paths begin with.
    pub(crate) prefix: &'a str,
    /// Where the first record lies in the body.
    pub(crate) first: usize,
}

impl<'a> PackView<'a> {
    pub(crate) fn of(stored: &'a [u8]) -> Result<Self, CodecError> {
        body_of::<PackRow>(stored).and_then(Self::of_body)
    }

    fn of_body(body: &'a [u8]) -> Result<Self, CodecError> {
        let (prefix, rest) = text(body)?;
        Ok(Self { body, prefix, first: body.len() - rest.len() })
    }

    /// The record that lies at `at`, and where the next one does.
    pub(crate) fn entry(&self, at: usize) -> Result<(Packed<'a>, usize), CodecError> {
        let (path, rest) = text(self.body.get(at..).ok_or_else(too_short)?)?;
        let ((rev, cid, bytes), rest) = behind_path(rest)?;
        Ok((Packed { path, rev, cid, bytes }, self.body.len() - rest.len()))
    }

    /// Where the records lie, in the order of their paths.
    pub(crate) fn places(&self, into: &mut Vec<usize>) -> Result<(), CodecError> {
        let mut at = self.first;
        while at < self.body.len() {
            into.push(at);
            let (_path, rest) = piece(self.body.get(at..).ok_or_else(too_short)?)?;
            at = self.body.len() - behind_path(rest)?.1.len();
        }
        Ok(())
    }

    /// Of the record that lies at `at` in a stored pack, its path without what all paths of the pack begin with.
    pub(crate) fn path_at(stored: &'a [u8], at: usize) -> Result<&'a str, CodecError> {
        let body = body_of::<PackRow>(stored)?;
        Ok(text(body.get(at..).ok_or_else(too_short)?)?.0)
    }

    /// The record itself: its revision, its CID and its bytes.
    pub(crate) fn record_at(stored: &'a [u8], at: usize) -> Result<(Tid, Cid, &'a [u8]), CodecError> {
        let body = body_of::<PackRow>(stored)?;
        let (_path, rest) = piece(body.get(at..).ok_or_else(too_short)?)?;
        Ok(behind_path(rest)?.0)
    }

    fn entries(&self) -> Result<Vec<Packed<'a>>, CodecError> {
        let mut places = Vec::with_capacity(PACK_RECORDS_MAX);
        self.places(&mut places)?;
        places.into_iter().map(|at| Ok(self.entry(at)?.0)).collect()
    }
}

/// What follows the path of a record: revision, CID, bytes, and what comes behind them.
#[expect(clippy::type_complexity, reason = "what is read, and the rest, as with every piece")]
fn behind_path(bytes: &[u8]) -> Result<((Tid, Cid, &[u8]), &[u8]), CodecError> {
    let (rev, rest) = decode_rev(bytes)?;
    let (digest, rest) = rest.split_first_chunk().ok_or_else(too_short)?;
    let (bytes, rest) = piece(rest)?;
    Ok(((rev, Cid::from_digest(Codec::DagCbor, *digest), bytes), rest))
}

/// A text behind its length.
fn text(bytes: &[u8]) -> Result<(&str, &[u8]), CodecError> {
    let (text, rest) = piece(bytes)?;
    let text = std::str::from_utf8(text);
    Ok((text.map_err(|_| CodecError::Decode { detail: "a path is no text".to_owned() })?, rest))
}

/// Bytes behind their length.
fn piece(bytes: &[u8]) -> Result<(&[u8], &[u8]), CodecError> {
    let (length, rest) = bytes.split_first_chunk().ok_or_else(too_short)?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or_else(too_short)
}

fn put_piece(piece: &[u8], out: &mut Vec<u8>) {
    // Nothing in a row is longer than a row may be (`VALUE_BYTES_MAX`), which is far below this.
    let length = u16::try_from(piece.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&piece[..usize::from(length)]);
}

/// Appends the body of a pack of these records, whose paths are whole and in order.
fn encode<'a>(out: &mut Vec<u8>, records: impl DoubleEndedIterator<Item = Packed<'a>> + Clone) {
    let (first, last) = (records.clone().next(), records.clone().next_back());
    // What the first and the last of them share, all in between share as well.
    let prefix = first.zip(last).map_or("", |(first, last)| shared(first.path, last.path));
    put_piece(prefix.as_bytes(), out);
    for record in records {
        put_piece(&record.path.as_bytes()[prefix.len()..], out);
        encode_rev(record.rev, out);
        out.extend_from_slice(record.cid.digest());
        put_piece(record.bytes, out);
    }
}

/// What both texts begin with.
fn shared<'a>(one: &'a str, other: &str) -> &'a str {
    let mut pairs = one.char_indices().zip(other.chars());
    let end = pairs.find(|((_, one), other)| one != other).map_or(one.len().min(other.len()), |((at, _), _)| at);
    &one[..end]
}

fn stored<'a>(bytes: usize, records: impl DoubleEndedIterator<Item = Packed<'a>> + Clone) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes);
    out.push(PackRow::VERSION);
    encode(&mut out, records);
    out
}

/// Puts records into packs that come in the order of their paths, into contents that nobody reads yet.
#[derive(Debug)]
pub struct Packer {
    contents: Contents,
    run: Vec<(String, Tid, Block)>,
    /// Bytes that the run takes in a row, at most.
    bytes: usize,
    packed: u64,
    /// The last path of the packs so far.
    behind: Option<String>,
}

impl Packer {
    /// For records of `contents`, of which none is stored.
    #[must_use]
    pub const fn new(contents: Contents) -> Self {
        Self { contents, run: Vec::new(), bytes: 0, packed: 0, behind: None }
    }

    /// Adds the record at `path`, now or with a later one, to the batch that is given then. A large one, and one that is
    /// not behind all before it, is a row of its own.
    ///
    /// # Errors
    /// The batch is full. It may then hold a part of the record: drop it.
    pub fn put(&mut self, batch: &mut Batch, path: &str, rev: Tid, record: &Block) -> Result<(), RowRefused> {
        let last = self.run.last().map(|(last, ..)| last).or(self.behind.as_ref());
        let is_in_order = last.is_none_or(|last| last.as_str() < path);
        if !is_in_order || path.len() > PATH_BYTES_MAX || record.bytes().len() > PACKED_BYTES_MAX {
            return records::stage_put(batch, &RECORDS, self.contents, path, rev, record, None);
        }
        // Lengths, revision and digest besides.
        let bytes = 2 + path.len() + 8 + 32 + 2 + record.bytes().len();
        if self.run.len() >= PACK_RECORDS_MAX || self.bytes + bytes > PACK_BYTES_MAX {
            self.put_pack(batch)?;
        }
        self.bytes += bytes;
        self.run.push((path.to_owned(), rev, record.clone()));
        Ok(())
    }

    /// Adds the last records to `batch`; answers how many lie in packs.
    ///
    /// # Errors
    /// The batch is full.
    pub fn finish(mut self, batch: &mut Batch) -> Result<u64, RowRefused> {
        self.put_pack(batch)?;
        Ok(self.packed)
    }

    fn put_pack(&mut self, batch: &mut Batch) -> Result<(), RowRefused> {
        match self.run.as_slice() {
            [] => return Ok(()),
            // Alone it is as cheap in a row of its own.
            [(path, rev, record)] => {
                records::stage_put(batch, &RECORDS, self.contents, path, *rev, record, None)?;
            }
            run @ [(first, ..), ..] => {
                let key = PACKS.key(&(self.contents, first.clone()));
                let records = run.iter().map(|(path, rev, record)| Packed {
                    path,
                    rev: *rev,
                    cid: record.cid(),
                    bytes: record.bytes(),
                });
                batch.put_stored(PACKS.id(), key, stored(self.bytes + 2 + PATH_BYTES_MAX, records))?;
                self.packed += run.len() as u64;
            }
        }
        self.behind = self.run.pop().map(|(last, ..)| last);
        self.run.clear();
        self.bytes = 0;
        Ok(())
    }
}

/// A pack with its key, both as they are stored.
struct Pack {
    key: Vec<u8>,
    stored: Vec<u8>,
}

/// The pack that may hold `path`.
fn find(reader: &Reader, contents: Contents, path: &str) -> Result<Option<Pack>, ReadError> {
    let up_to = [PACKS.key(&(contents, path.to_owned())), vec![0]].concat();
    let range = KeyRange { start: PACKS.prefix(&contents).start, end: Some(up_to) };
    let page = reader.rows(&range, true, PageLimit::rows(1))?;
    Ok(page.row(0).map(|(key, stored)| Pack { key: key.to_vec(), stored: stored.to_vec() }))
}

fn broken(key: &[u8]) -> impl Fn(CodecError) -> ReadError {
    move |source| ReadError::Row { table: PACKS.id(), key: hex(key), source }
}

/// The record at `path`, if it lies in a pack.
pub(super) fn record(reader: &Reader, contents: Contents, path: &str) -> Result<Option<Record>, ReadError> {
    let Some(Pack { key, stored }) = find(reader, contents, path)? else { return Ok(None) };
    let look = || -> Result<Option<Record>, CodecError> {
        let pack = PackView::of(&stored)?;
        let Some(rest) = path.strip_prefix(pack.prefix) else { return Ok(None) };
        let mut at = pack.first;
        while at < pack.body.len() {
            let (entry, next) = pack.entry(at)?;
            if entry.path == rest {
                return Ok(Some(Record { cid: entry.cid, rev: entry.rev, bytes: entry.bytes.to_vec() }));
            }
            at = next;
        }
        Ok(None)
    };
    look().map_err(broken(&key))
}

/// Takes the record at `path` out of the pack in which it lies; answers whether it lay in one. `has_gone` says of every
/// other path whether a batch that is on its way has taken it out: the store may not know of that yet, and to write the
/// pack with it would bring it back.
///
/// # Errors
/// The engine fails, a row cannot be read, or the batch is full.
pub fn take_out(
    reader: &Reader,
    batch: &mut Batch,
    contents: Contents,
    path: &str,
    has_gone: impl Fn(&str) -> bool,
) -> Result<bool, TrimError> {
    let Some(Pack { key, stored: mut pack }) = find(reader, contents, path)? else { return Ok(false) };
    // The same batch may have taken another out.
    match batch.group.lookup(&key) {
        Some(None) => return Ok(false),
        Some(Some(left)) => pack = left.to_vec(),
        None => {}
    }
    let view = PackView::of(&pack).map_err(broken(&key))?;
    let entries = view.entries().map_err(broken(&key))?;
    let Some(rest) = path.strip_prefix(view.prefix) else { return Ok(false) };
    if entries.iter().all(|entry| entry.path != rest) {
        return Ok(false);
    }
    let others = entries.iter().filter(|entry| entry.path != rest);
    let others = others.map(|entry| ([view.prefix, entry.path].concat(), entry));
    let left: Vec<_> = others.filter(|(path, _)| !has_gone(path)).collect();
    if left.is_empty() {
        batch.delete_stored(PACKS.id(), key)?;
    } else {
        let records = left.iter().map(|(path, entry)| Packed { path, ..**entry });
        batch.put_stored(PACKS.id(), key, stored(pack.len(), records))?;
    }
    Ok(true)
}
