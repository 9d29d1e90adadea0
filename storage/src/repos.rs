//! The repositories of accounts: heads, tree nodes, records, and the indexes over them.
//!
//! Records lie by path, so that one is one read and a collection is one scan, in the order of the tree. Nodes lie by
//! CID, as the tree refers to them, those of recent commits apart from the others ([`settle`]); where a record of some CID
//! lies, the tree alone tells. Those that an import brought lie several to a row until they change ([`Packer`]). Everything but the head belongs to one [`Contents`] of an account: an import fills
//! new contents beside those in force, and the head switches from one to the other in a single batch. What is in
//! force no longer is a leftover until [`sweep`] has removed it.
//!
//! Nothing here decides what a repository holds: `angel_protocol::repo` does. Whoever stages changes sees to it that
//! an account has one writer at a time.

mod fresh;
mod links;
mod packs;
mod read;
mod rows;
mod shelf;
mod stage;
mod sweep;

#[cfg(test)]
mod tests;

use angel_protocol::ids::Tid;
use angel_protocol::repo::SignedCommit;

use crate::codec::Present;
use crate::key::{AccountId, InvalidKey, Key};
use crate::tables::{Table, TableId};
use crate::verify::Check;

pub use fresh::{Place, SETTLED_NODES_MAX, place, settle};

pub use links::{delete_link, has_all_links, linking, put_link, put_links_complete};

pub use crate::records::{Order, Record, RecordRef, RecordScan};
pub(crate) use packs::PackView;
pub use packs::{PACK_RECORDS_MAX, PackRow, Packer, take_out};
pub use read::{
    NodeRef, accounts_with, collections, contents, has_collection, head, heads, leftovers, next_generation, node,
    nodes, record, records, retained,
};
pub use rows::{HeadRow, NodeRow, PART_BYTES, RecordRow};
pub(crate) use rows::{RecordView, pieces};
pub use shelf::NodeShelf;
pub use stage::{
    delete_node, delete_record, put_collection, put_fresh_node, put_head, put_leftover, put_node, put_record,
    remove_collection, remove_head, remove_leftover, retain, unlist_collection,
};
pub use sweep::{Swept, drop_retained, sweep};

/// One set of contents that an account has, had or will have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Contents {
    /// Whose.
    pub account: AccountId,
    /// Which: higher by one with every import.
    pub generation: u32,
}

impl Key for Contents {
    fn encode(&self, out: &mut Vec<u8>) {
        self.account.encode(out);
        self.generation.encode(out);
    }

    fn decode(bytes: &mut &[u8]) -> Result<Self, InvalidKey> {
        Ok(Self { account: AccountId::decode(bytes)?, generation: u32::decode(bytes)? })
    }
}

/// The head of a repository, with figures that would be dear to count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The newest commit.
    pub commit: SignedCommit,
    /// Which contents are in force.
    pub contents: Contents,
    /// How much they are.
    pub totals: Totals,
}

/// How much a repository holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Records.
    pub records: u64,
    /// Nodes of the tree.
    pub nodes: u64,
    /// Those of the nodes that did not fit into one row. Honest trees have none, so most writers need not look.
    pub nodes_in_parts: u64,
    /// Those of the nodes that lie apart because a recent commit wrote them.
    pub fresh_nodes: u64,
    /// Those of the records that lie in packs, as an import brought them. Where there are none, nobody need look.
    pub packed_records: u64,
}

/// A tree node as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The revision that wrote it. A subtree under a node was never written after the node.
    pub rev: Tid,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// The digest of a CID; the codec follows from the table.
type Digest = [u8; 32];

const HEADS: Table<AccountId, HeadRow> = Table::new(TableId::Repos);
const NODES: Table<(Contents, Digest, u16), NodeRow> = Table::new(TableId::RepoNodes);
const FRESH_NODES: Table<(Contents, Digest, u16), NodeRow> = Table::new(TableId::RepoFreshNodes);
const RECORDS: Table<(Contents, String, u16), RecordRow> = Table::new(TableId::RepoRecords);
const PACKS: Table<(Contents, String), PackRow> = Table::new(TableId::RepoPacks);
const COLLECTIONS: Table<(Contents, String), Present> = Table::new(TableId::RepoCollections);
const COLLECTION_REPOS: Table<(String, AccountId), Present> = Table::new(TableId::CollectionRepos);
const RETAINED: Table<(Contents, Digest, u16), NodeRow> = Table::new(TableId::RepoRetained);
const LEFTOVERS: Table<Contents, Present> = Table::new(TableId::RepoLeftovers);

const LINKS: Table<(Contents, String, links::Subject, String), Present> = Table::new(TableId::RepoLinks);

/// How [`crate::verify`] checks the rows of these tables.
#[must_use]
pub fn checks() -> [Check; 10] {
    [
        Check::of(&HEADS),
        Check::of(&NODES),
        Check::of(&FRESH_NODES),
        Check::of(&RECORDS),
        Check::of(&PACKS),
        Check::of(&COLLECTIONS),
        Check::of(&COLLECTION_REPOS),
        Check::of(&RETAINED),
        Check::of(&LEFTOVERS),
        Check::of(&LINKS),
    ]
}
