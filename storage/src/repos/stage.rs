//! Changes, row by row, into a batch.

use angel_protocol::data::{Block, Cid};
use angel_protocol::ids::Tid;

use super::rows::{HeadRow, NodeRow, NodeView, pieces};
use super::{
    COLLECTION_REPOS, COLLECTIONS, Contents, Digest, FRESH_NODES, HEADS, Head, LEFTOVERS, NODES, Place, RECORDS,
    RETAINED, Record,
};
use crate::batch::{Batch, RowRefused};
use crate::codec::Present;
use crate::key::AccountId;
use crate::records::{self, last_part};
use crate::tables::Table;

/// Sets the head of an account's repository.
///
/// # Errors
/// The batch is full.
pub fn put_head(batch: &mut Batch, head: &Head) -> Result<(), RowRefused> {
    let row = HeadRow {
        commit: head.commit.block().bytes().to_vec(),
        generation: head.contents.generation,
        records: head.totals.records,
        nodes: head.totals.nodes,
        nodes_in_parts: head.totals.nodes_in_parts,
        fresh_nodes: head.totals.fresh_nodes,
        packed_records: head.totals.packed_records,
    };
    batch.put(&HEADS, &head.contents.account, &row)
}

/// Takes an account's repository away. Its contents are leftovers from then on: say so with [`put_leftover`].
///
/// # Errors
/// The batch is full.
pub fn remove_head(batch: &mut Batch, account: AccountId) -> Result<(), RowRefused> {
    batch.delete(&HEADS, &account)
}

/// Adds a tree node; answers whether it took more than one row.
///
/// # Errors
/// The batch is full. It may then hold a part of the node: drop it.
pub fn put_node(batch: &mut Batch, contents: Contents, rev: Tid, node: &Block) -> Result<bool, RowRefused> {
    put_block(batch, &NODES, contents, rev, (node.cid(), node.bytes()))
}

/// As [`put_node`], for a node that a commit wrote: most of them are superseded soon.
///
/// # Errors
/// The batch is full. It may then hold a part of the node: drop it.
pub fn put_fresh_node(batch: &mut Batch, contents: Contents, rev: Tid, node: &Block) -> Result<bool, RowRefused> {
    put_block(batch, &FRESH_NODES, contents, rev, (node.cid(), node.bytes()))
}

/// Removes a tree node of `bytes` bytes from where it lies.
///
/// # Errors
/// The batch is full. It may then remove a part of the node: drop it.
pub fn delete_node(
    batch: &mut Batch,
    contents: Contents,
    place: Place,
    cid: Cid,
    bytes: usize,
) -> Result<(), RowRefused> {
    let table = match place {
        Place::Fresh => &FRESH_NODES,
        Place::Settled => &NODES,
    };
    for part in 0..=last_part(bytes) {
        batch.delete(table, &(contents, *cid.digest(), part))?;
    }
    Ok(())
}

/// Sets the record at `path`, in the place of `before` if there is one. If that lies in a pack, take it out as well
/// ([`super::take_out`]).
///
/// # Errors
/// The batch is full. It may then hold a part of the record: drop it.
pub fn put_record(
    batch: &mut Batch,
    contents: Contents,
    path: &str,
    rev: Tid,
    record: &Block,
    before: Option<&Record>,
) -> Result<(), RowRefused> {
    let before = before.map(|before| before.bytes.len());
    records::stage_put(batch, &RECORDS, contents, path, rev, record, before)
}

/// Removes the record at `path`, which is `record`, unless it lies in a pack ([`super::take_out`]).
///
/// # Errors
/// The batch is full. It may then remove a part of the record: drop it.
pub fn delete_record(batch: &mut Batch, contents: Contents, path: &str, record: &Record) -> Result<(), RowRefused> {
    records::stage_delete(batch, &RECORDS, contents, path, record.bytes.len())
}

/// Notes that a collection holds a record; `listed` also tells those who look for accounts by collection, which only
/// the contents in force may do.
///
/// # Errors
/// The batch is full.
pub fn put_collection(batch: &mut Batch, contents: Contents, collection: &str, listed: bool) -> Result<(), RowRefused> {
    if listed {
        batch.put(&COLLECTION_REPOS, &(collection.to_owned(), contents.account), &Present)?;
    }
    batch.put(&COLLECTIONS, &(contents, collection.to_owned()), &Present)
}

/// Notes that a collection holds no record any more. `unlisted` as with [`put_collection`].
///
/// # Errors
/// The batch is full.
pub fn remove_collection(
    batch: &mut Batch,
    contents: Contents,
    collection: &str,
    unlisted: bool,
) -> Result<(), RowRefused> {
    if unlisted {
        batch.delete(&COLLECTION_REPOS, &(collection.to_owned(), contents.account))?;
    }
    batch.delete(&COLLECTIONS, &(contents, collection.to_owned()))
}

/// Tells those who look for accounts by collection that this account has no record in it any more; its contents are
/// left as they are, for they go out of force.
///
/// # Errors
/// The batch is full.
pub fn unlist_collection(batch: &mut Batch, account: AccountId, collection: &str) -> Result<(), RowRefused> {
    batch.delete(&COLLECTION_REPOS, &(collection.to_owned(), account))
}

/// Keeps a block that is superseded by the same batch, for exports that began before it.
///
/// # Errors
/// The batch is full. It may then hold a part of the block: drop it.
pub fn retain(batch: &mut Batch, contents: Contents, cid: Cid, rev: Tid, bytes: &[u8]) -> Result<(), RowRefused> {
    put_block(batch, &RETAINED, contents, rev, (cid, bytes))?;
    Ok(())
}

/// Answers whether the block took more than one row.
fn put_block(
    batch: &mut Batch,
    table: &Table<(Contents, Digest, u16), NodeRow>,
    contents: Contents,
    rev: Tid,
    (cid, bytes): (Cid, &[u8]),
) -> Result<bool, RowRefused> {
    let (parts, first, further) = pieces(bytes);
    let key = |part: u16| table.key(&(contents, *cid.digest(), part));
    batch.put_stored(table.id(), key(0), NodeView::First { rev, parts, bytes: first }.stored())?;
    for (part, bytes) in further {
        batch.put_stored(table.id(), key(part), NodeView::Further(bytes).stored())?;
    }
    Ok(parts > 1)
}

/// Notes that contents are not in force, before their first row is written or in the batch that takes them out of it.
///
/// # Errors
/// The batch is full.
pub fn put_leftover(batch: &mut Batch, contents: Contents) -> Result<(), RowRefused> {
    batch.put(&LEFTOVERS, &contents, &Present)
}

/// Notes that contents come into force, or that nothing is left of them.
///
/// # Errors
/// The batch is full.
pub fn remove_leftover(batch: &mut Batch, contents: Contents) -> Result<(), RowRefused> {
    batch.delete(&LEFTOVERS, &contents)
}
