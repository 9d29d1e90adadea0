//! Reading, one thing or page by page.

use angel_protocol::data::{Block, Cid, Codec};
use angel_protocol::repo::SignedCommit;

use super::rows::{HeadRow, NodeRow, RecordRow};
use super::{
    COLLECTION_REPOS, COLLECTIONS, Contents, HEADS, Head, LEFTOVERS, NODES, Node, RECORDS, RETAINED, Record, Totals,
};
use crate::codec::CodecError;
use crate::key::{AccountId, Key};
use crate::limits::PAGE_ROWS_MAX;
use crate::reader::{ReadError, Reader};
use crate::tables::Table;

/// The head of an account's repository, if it has one.
///
/// # Errors
/// The engine fails, or the row cannot be read.
pub fn head(reader: &Reader, account: AccountId) -> Result<Option<Head>, ReadError> {
    reader.get(&HEADS, &account)?.map(|row| head_of(account, row)).transpose()
}

/// Which contents of an account are in force, for readers that do not care for its head.
///
/// # Errors
/// The engine fails, or the row cannot be read.
pub fn contents(reader: &Reader, account: AccountId) -> Result<Option<Contents>, ReadError> {
    Ok(reader.get(&HEADS, &account)?.map(|row| Contents { account, generation: row.generation }))
}

/// The generation of the next contents of an account, which none of its contents has had that still have rows.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn next_generation(reader: &Reader, account: AccountId) -> Result<u32, ReadError> {
    let in_force = contents(reader, account)?.map_or(0, |contents| contents.generation);
    let first = Contents { account, generation: 0 };
    let end = Contents { account: AccountId(account.0.saturating_add(1)), generation: 0 };
    let newest = reader.scan(&LEFTOVERS).from(&first).until(&end).reverse().page(1)?;
    let leftover = newest.rows.first().map_or(0, |(contents, _)| contents.generation);
    Ok(in_force.max(leftover).saturating_add(1))
}

/// Up to `limit` heads of accounts behind `after`, in the order of their ids.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn heads(reader: &Reader, after: Option<AccountId>, limit: usize) -> Result<Vec<Head>, ReadError> {
    let mut scan = reader.scan(&HEADS);
    if let Some(after) = &after {
        scan = scan.after(after);
    }
    scan.page(limit)?.rows.into_iter().map(|(account, row)| head_of(account, row)).collect()
}

fn head_of(account: AccountId, row: HeadRow) -> Result<Head, ReadError> {
    let commit = SignedCommit::decode(Block::new(Codec::DagCbor, row.commit));
    let commit = commit.map_err(|error| broken(&HEADS, &account, error.to_string()))?;
    let contents = Contents { account, generation: row.generation };
    let totals = Totals { records: row.records, nodes: row.nodes, nodes_in_parts: row.nodes_in_parts };
    Ok(Head { commit, contents, totals })
}

/// A tree node.
///
/// # Errors
/// The engine fails, or a row cannot be read or is missing.
pub fn node(reader: &Reader, contents: Contents, cid: Cid) -> Result<Option<Node>, ReadError> {
    block(reader, &NODES, contents, cid)
}

/// A block that was superseded while an export read.
///
/// # Errors
/// The engine fails, or a row cannot be read or is missing.
pub fn retained(reader: &Reader, contents: Contents, cid: Cid) -> Result<Option<Node>, ReadError> {
    block(reader, &RETAINED, contents, cid)
}

fn block(
    reader: &Reader,
    table: &Table<(Contents, [u8; 32], u16), NodeRow>,
    contents: Contents,
    cid: Cid,
) -> Result<Option<Node>, ReadError> {
    let first = (contents, *cid.digest(), 0);
    match reader.get(table, &first)? {
        None => Ok(None),
        Some(NodeRow::Further(_)) => Err(out_of_place(table, &first)),
        Some(NodeRow::First { rev, parts, mut bytes }) => {
            for part in 1..parts {
                let key = (contents, *cid.digest(), part);
                match reader.get(table, &key)? {
                    Some(NodeRow::Further(more)) => bytes.extend_from_slice(&more),
                    Some(NodeRow::First { .. }) => return Err(out_of_place(table, &key)),
                    None => return Err(ReadError::missing(table, &key)),
                }
            }
            Ok(Some(Node { rev, bytes }))
        }
    }
}

/// Every tree node of `contents` in the order of digests, for whoever needs them all: one scan is far cheaper than a
/// read for each. `visit` sees them one by one; an error of its own ends the scan.
///
/// # Errors
/// The engine fails, or a row cannot be read or is missing.
pub fn nodes<E: From<ReadError>>(
    reader: &Reader,
    contents: Contents,
    mut visit: impl FnMut(Cid, Node) -> Result<(), E>,
) -> Result<(), E> {
    let mut last: Option<(Contents, [u8; 32], u16)> = None;
    let mut unfinished: Option<(Cid, Node, u16)> = None;
    loop {
        let mut scan = reader.scan(&NODES).prefix(&contents);
        if let Some(last) = &last {
            scan = scan.after(last);
        }
        let page = scan.page(PAGE_ROWS_MAX)?;
        for (key, row) in page.rows {
            match row {
                NodeRow::First { rev, parts, bytes } => {
                    unfinished = Some((Cid::from_digest(Codec::DagCbor, key.1), Node { rev, bytes }, parts));
                }
                NodeRow::Further(more) => match &mut unfinished {
                    Some((_, node, _)) => node.bytes.extend_from_slice(&more),
                    None => return Err(out_of_place(&NODES, &key).into()),
                },
            }
            if let Some((cid, node, _)) = unfinished.take_if(|(_, _, parts)| key.2 + 1 == *parts) {
                visit(cid, node)?;
            }
            last = Some(key);
        }
        if !page.more {
            return Ok(());
        }
    }
}

/// The record at `path`.
///
/// # Errors
/// The engine fails, or a row cannot be read or is missing.
pub fn record(reader: &Reader, contents: Contents, path: &str) -> Result<Option<Record>, ReadError> {
    let first = (contents, path.to_owned(), 0);
    match reader.get(&RECORDS, &first)? {
        None => Ok(None),
        Some(RecordRow::Further(_)) => Err(out_of_place(&RECORDS, &first)),
        Some(RecordRow::First { rev, cid, parts, mut bytes }) => {
            for part in 1..parts {
                let key = (contents, path.to_owned(), part);
                match reader.get(&RECORDS, &key)? {
                    Some(RecordRow::Further(more)) => bytes.extend_from_slice(&more),
                    Some(RecordRow::First { .. }) => return Err(out_of_place(&RECORDS, &key)),
                    None => return Err(ReadError::missing(&RECORDS, &key)),
                }
            }
            Ok(Some(Record { cid, rev, bytes }))
        }
    }
}

/// Which end to begin at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// From the least path up: the order of the tree.
    Ascending,
    /// From the greatest path down.
    Descending,
}

/// Records in the order of their paths, from `first` on, before `end`.
///
/// Both bounds are paths or the beginnings of such; a path is within them as texts compare.
#[must_use]
pub fn records(reader: &Reader, contents: Contents, first: &str, end: Option<&str>, order: Order) -> RecordScan {
    let first = (contents, first.to_owned(), 0);
    let end = end.map(|end| (contents, end.to_owned(), 0));
    RecordScan {
        reader: reader.clone(),
        contents,
        first,
        end,
        order,
        last: None,
        waiting: Vec::new().into_iter(),
        more: true,
    }
}

type RecordKey = (Contents, String, u16);

/// Goes through records page by page: see [`records`].
#[derive(Debug)]
pub struct RecordScan {
    reader: Reader,
    contents: Contents,
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
        match self.order {
            Order::Ascending => self.next_ascending(expected),
            Order::Descending => self.next_descending(expected),
        }
    }

    fn next_ascending(&mut self, expected: usize) -> Result<Option<(String, Record)>, ReadError> {
        let Some((key, row)) = self.row(expected)? else { return Ok(None) };
        let RecordRow::First { rev, cid, parts, mut bytes } = row else {
            return Err(out_of_place(&RECORDS, &key));
        };
        for part in 1..parts {
            let expected_key = (key.0, key.1.clone(), part);
            match self.row(expected)? {
                Some((key, RecordRow::Further(more))) if key == expected_key => bytes.extend_from_slice(&more),
                _ => return Err(ReadError::missing(&RECORDS, &expected_key)),
            }
        }
        Ok(Some((key.1, Record { cid, rev, bytes })))
    }

    fn next_descending(&mut self, expected: usize) -> Result<Option<(String, Record)>, ReadError> {
        let mut further = Vec::new();
        loop {
            match self.row(expected)? {
                None if further.is_empty() => return Ok(None),
                None => return Err(ReadError::missing(&RECORDS, &self.first)),
                Some((_, RecordRow::Further(more))) => further.push(more),
                Some((key, RecordRow::First { rev, cid, parts, mut bytes })) => {
                    if further.len() + 1 != usize::from(parts) {
                        return Err(out_of_place(&RECORDS, &key));
                    }
                    further.iter().rev().for_each(|more| bytes.extend_from_slice(more));
                    return Ok(Some((key.1, Record { cid, rev, bytes })));
                }
            }
        }
    }

    fn row(&mut self, expected: usize) -> Result<Option<(RecordKey, RecordRow)>, ReadError> {
        loop {
            if let Some((key, row)) = self.waiting.next() {
                if self.waiting.len() == 0 {
                    self.last = Some(key.clone());
                }
                return Ok(Some((key, row)));
            }
            if !self.more {
                return Ok(None);
            }
            let mut scan = self.reader.scan(&RECORDS).prefix(&self.contents).from(&self.first);
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
            if self.waiting.len() == 0 {
                return Ok(None);
            }
        }
    }
}

/// The collections that hold a record, in order.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn collections(reader: &Reader, contents: Contents) -> Result<Vec<String>, ReadError> {
    let mut found: Vec<String> = Vec::new();
    loop {
        let mut scan = reader.scan(&COLLECTIONS).prefix(&contents);
        if let Some(last) = found.last() {
            scan = scan.after(&(contents, last.clone()));
        }
        let page = scan.page(PAGE_ROWS_MAX)?;
        found.extend(page.rows.into_iter().map(|((_, collection), _)| collection));
        if !page.more {
            return Ok(found);
        }
    }
}

/// Whether `collection` holds a record.
///
/// # Errors
/// The engine fails.
pub fn has_collection(reader: &Reader, contents: Contents, collection: &str) -> Result<bool, ReadError> {
    reader.contains(&COLLECTIONS, &(contents, collection.to_owned()))
}

/// Up to `limit` accounts behind `after` that have a record in `collection`, in the order of their ids.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn accounts_with(
    reader: &Reader,
    collection: &str,
    after: Option<AccountId>,
    limit: usize,
) -> Result<Vec<AccountId>, ReadError> {
    let mut scan = reader.scan(&COLLECTION_REPOS).prefix(&collection.to_owned());
    if let Some(after) = after {
        scan = scan.after(&(collection.to_owned(), after));
    }
    Ok(scan.page(limit)?.rows.into_iter().map(|((_, account), _)| account).collect())
}

/// Contents that are not in force and not swept yet.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn leftovers(reader: &Reader) -> Result<Vec<Contents>, ReadError> {
    let mut found: Vec<Contents> = Vec::new();
    loop {
        let mut scan = reader.scan(&LEFTOVERS);
        if let Some(last) = found.last() {
            scan = scan.after(last);
        }
        let page = scan.page(PAGE_ROWS_MAX)?;
        found.extend(page.rows.into_iter().map(|(contents, _)| contents));
        if !page.more {
            return Ok(found);
        }
    }
}

fn out_of_place<K: Key, V: crate::codec::StoredValue>(table: &Table<K, V>, key: &K) -> ReadError {
    broken(table, key, "not the part of a block that belongs here".to_owned())
}

fn broken<K: Key, V: crate::codec::StoredValue>(table: &Table<K, V>, key: &K, detail: String) -> ReadError {
    ReadError::row(table, key, CodecError::Decode { detail })
}
