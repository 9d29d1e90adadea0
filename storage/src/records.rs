//! Records by path, each in as many rows as it needs: public and permissioned repositories lay them out alike.
//!
//! A row's key is whose it is, the path, and the number of the part; the rows of a record are written and removed in one
//! batch. Most records are one row, and whoever reads many sees those where the page has them, without a copy
//! ([`RecordScan`]).

mod packed;
mod scan;

use std::borrow::Cow;

use angel_protocol::data::{Block, Cid};
use angel_protocol::ids::Tid;

use crate::batch::{Batch, RowRefused};
use crate::codec::CodecError;
use crate::key::Key;
use crate::reader::{ReadError, Reader, hex};
use crate::repos::{PART_BYTES, RecordRow, RecordView, pieces};
use crate::tables::{Table, TableId};

pub use scan::RecordScan;

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

fn out_of_place(table: TableId, key: &[u8]) -> ReadError {
    let detail = "not the part of a record that belongs here".to_owned();
    ReadError::Row { table, key: hex(key), source: CodecError::Decode { detail } }
}
