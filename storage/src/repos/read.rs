//! Reading, one thing or page by page.

use angel_protocol::data::{Block, Cid, Codec};
use angel_protocol::ids::Tid;
use angel_protocol::repo::SignedCommit;

use super::rows::{HeadRow, NodeRow, NodeView};
use super::{
    COLLECTION_REPOS, COLLECTIONS, Contents, FRESH_NODES, HEADS, Head, LEFTOVERS, NODES, Node, PACKS, RECORDS,
    RETAINED, Totals, packs,
};
use crate::codec::CodecError;
use crate::engine::PageLimit;
use crate::key::{AccountId, Key};
use crate::limits::PAGE_ROWS_MAX;
use crate::reader::{ReadError, Reader, hex};
use crate::records::{Order, Record, RecordScan};
use crate::tables::Table;

/// Tree nodes read at a time where all are wanted.
const NODES_PAGE: usize = 512;

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
    let totals = Totals {
        records: row.records,
        nodes: row.nodes,
        nodes_in_parts: row.nodes_in_parts,
        fresh_nodes: row.fresh_nodes,
        packed_records: row.packed_records,
    };
    Ok(Head { commit, contents, totals })
}

/// A tree node.
///
/// # Errors
/// The engine fails, or a row cannot be read or is missing.
pub fn node(reader: &Reader, contents: Contents, cid: Cid) -> Result<Option<Node>, ReadError> {
    // It may move from the first place to the second meanwhile, and one that comes back is in the first again.
    for table in [&FRESH_NODES, &NODES, &FRESH_NODES] {
        if let Some(node) = block(reader, table, contents, cid)? {
            return Ok(Some(node));
        }
    }
    Ok(None)
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

/// A tree node where it was read to.
#[derive(Clone, Copy, Debug)]
pub struct NodeRef<'a> {
    /// The revision that wrote it.
    pub rev: Tid,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// Every tree node of `contents`, for whoever needs them all: a scan is far cheaper than a read for each. Those of recent
/// commits come first, then the others, both in the order of digests; one that is moved meanwhile may come twice. `visit`
/// sees them one by one; an error of its own ends the scan.
///
/// # Errors
/// The engine fails, or a row cannot be read or is missing.
pub fn nodes<E: From<ReadError>>(
    reader: &Reader,
    contents: Contents,
    mut visit: impl FnMut(Cid, NodeRef<'_>) -> Result<(), E>,
) -> Result<(), E> {
    nodes_in(reader, &FRESH_NODES, contents, &mut visit)?;
    nodes_in(reader, &NODES, contents, &mut visit)
}

fn nodes_in<E: From<ReadError>>(
    reader: &Reader,
    table: &Table<(Contents, [u8; 32], u16), NodeRow>,
    contents: Contents,
    visit: &mut impl FnMut(Cid, NodeRef<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut range = table.prefix(&contents);
    let mut unfinished: Option<(Cid, Node, u16)> = None;
    loop {
        let page = reader.rows(&range, false, PageLimit::rows(NODES_PAGE)).map_err(ReadError::from)?;
        for (key, stored) in page.rows() {
            let failed = |source| ReadError::Row { table: table.id(), key: hex(key), source };
            let place = table.decode_key(key).map_err(|error| CodecError::Decode { detail: error.to_string() });
            let (_, digest, part) = place.map_err(failed)?;
            match NodeRow::view(stored).map_err(failed)? {
                NodeView::First { rev, parts: 1, bytes } => {
                    visit(Cid::from_digest(Codec::DagCbor, digest), NodeRef { rev, bytes })?;
                }
                NodeView::First { rev, parts, bytes } => {
                    let node = Node { rev, bytes: bytes.to_vec() };
                    unfinished = Some((Cid::from_digest(Codec::DagCbor, digest), node, parts));
                }
                NodeView::Further(more) => match &mut unfinished {
                    Some((cid, node, _)) if *cid.digest() == digest => node.bytes.extend_from_slice(more),
                    _ => return Err(out_of_place(table, &(contents, digest, part)).into()),
                },
            }
            if let Some((cid, node, _)) = unfinished.take_if(|(_, _, parts)| part + 1 == *parts) {
                visit(cid, NodeRef { rev: node.rev, bytes: &node.bytes })?;
            }
        }
        match page.last_key() {
            Some(last) if page.more => range = range.beyond(last, false),
            _ => return Ok(()),
        }
    }
}

/// The record at `path`.
///
/// # Errors
/// The engine fails, or a row cannot be read or is missing.
pub fn record(reader: &Reader, contents: Contents, path: &str) -> Result<Option<Record>, ReadError> {
    let in_a_row = || crate::records::record(reader, &RECORDS, contents, path);
    if let Some(record) = in_a_row()? {
        return Ok(Some(record));
    }
    if let Some(record) = packs::record(reader, contents, path)? {
        return Ok(Some(record));
    }
    // It may have left its pack between the two looks, and comes back to none.
    in_a_row()
}

/// Records in the order of their paths, from `first` on, before `end`.
///
/// Both bounds are paths or the beginnings of such; a path is within them as texts compare.
#[must_use]
pub fn records(reader: &Reader, contents: Contents, first: &str, end: Option<&str>, order: Order) -> RecordScan {
    RecordScan::new(reader, &RECORDS, Some(&PACKS), contents, first, end, order)
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
