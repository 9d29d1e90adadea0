//! Repositories held open, and what of them is on its way to the disk.
//!
//! A [`Slot`] is an account's place: the lock of its one writer, and the batches that were handed to the store and are
//! not durable yet. Slots that nobody uses are dropped when there are many, or when together they take too much memory.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use angel_protocol::data::{Block, Cid};
use angel_protocol::repo::Repository;
use angel_storage::repos::{Contents, Head, Totals, head};
use angel_storage::{AccountId, Reader};

use super::RepoError;
use crate::slots::{InFlight, Slots};

/// Slots beyond which unused ones are dropped.
const SLOTS_MAX: usize = 4096;

/// Bytes of tree nodes in memory, all slots together, beyond which unused slots are dropped. Decoded nodes take about
/// three times the bytes that are counted.
const TREES_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Bytes of tree nodes after which one repository forgets its tree and begins to load it anew.
pub(super) const TREE_BYTES_MAX: usize = 256 * 1024;

/// Nodes that recent commits wrote and that are still in the tree, beyond which they are moved among the others. More make
/// the pages they lie on too many to be always at hand, and the move longer, for which others wait.
pub(super) const SETTLE_AT: u64 = 96;

/// Collections of one repository that are remembered to be in the index.
const KNOWN_COLLECTIONS_MAX: usize = 256;

pub(super) struct Cache(Slots<AccountId, Slot>);

/// An account's place.
pub(super) struct Slot {
    pub(super) account: AccountId,
    /// The lock of the account's writer, with the repository it holds open.
    pub(super) open: Arc<tokio::sync::Mutex<Option<Open>>>,
    /// One import at a time.
    pub(super) importing: Arc<tokio::sync::Mutex<()>>,
    pub(super) flight: InFlight<Pending>,
    exports: Mutex<Exports>,
    tree_bytes: AtomicUsize,
}

/// Those who read the repository as it was when they began.
#[derive(Default)]
struct Exports {
    under_way: usize,
    retained: bool,
}

/// A batch that is not durable yet.
#[derive(Default)]
pub(super) struct Pending {
    pub(super) nodes: Vec<Block>,
    /// Nodes that are in the tree no more.
    pub(super) removed: Vec<Cid>,
    /// Nodes that it moves among those that stay.
    pub(super) settled: Vec<Cid>,
    /// Records by path; `None` where one is taken away.
    pub(super) records: BTreeMap<String, Option<Block>>,
}

/// A repository that is held open.
pub(super) struct Open {
    pub(super) repository: Repository,
    pub(super) contents: Contents,
    pub(super) totals: Totals,
    /// Bytes of tree nodes in memory.
    pub(super) tree_bytes: usize,
    /// Nodes that were written since it was opened and that lie among the fresh ones once the batches handed over are
    /// written. There are others: it was written before it was opened.
    pub(super) fresh: HashSet<Cid>,
    /// How many fresh nodes there have to be before a commit moves those that stay.
    pub(super) settle_at: u64,
    known_collections: HashSet<String>,
}

impl Default for Cache {
    fn default() -> Self {
        Self(Slots::new(|slots| {
            let count = slots.len();
            // Summing up costs a look at each, so it is done now and then.
            let mut bytes = || slots.map(|slot| slot.tree_bytes.load(Ordering::Relaxed)).sum::<usize>();
            count >= SLOTS_MAX || (count.is_multiple_of(16) && bytes() >= TREES_BYTES_MAX)
        }))
    }
}

impl Cache {
    /// The place of an account.
    pub(super) fn slot(&self, account: AccountId) -> Arc<Slot> {
        self.0.slot(account, || Slot {
            account,
            open: Arc::default(),
            importing: Arc::default(),
            flight: InFlight::default(),
            exports: Mutex::default(),
            tree_bytes: AtomicUsize::new(0),
        })
    }
}

impl Slot {
    fn exports(&self) -> MutexGuard<'_, Exports> {
        self.exports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until all that was handed over is durable. Hold the account's lock, so that nothing follows.
    ///
    /// # Errors
    /// A batch was not written.
    pub(super) async fn settled(&self) -> Result<(), RepoError> {
        Ok(self.flight.until_durable(self.flight.handed_over()).await?)
    }

    /// Begins an export. From the next commit on superseded blocks are kept. Hold the account's lock.
    pub(super) fn begin_export(&self) {
        self.exports().under_way += 1;
    }

    /// Ends an export; answers whether it was the last and blocks were kept for it.
    pub(super) fn end_export(&self) -> bool {
        let mut exports = self.exports();
        exports.under_way -= 1;
        exports.under_way == 0 && exports.retained
    }

    /// Whether exports are under way.
    pub(super) fn is_exported(&self) -> bool {
        self.exports().under_way > 0
    }

    /// Notes that blocks were kept for exports, or that they have been dropped.
    pub(super) fn set_retained(&self, retained: bool) {
        self.exports().retained = retained;
    }

    pub(super) fn set_tree_bytes(&self, bytes: usize) {
        self.tree_bytes.store(bytes, Ordering::Relaxed);
    }
}

impl Pending {
    /// The node, if this batch brings it.
    pub(super) fn node(&self, cid: &Cid) -> Option<&Block> {
        self.nodes.iter().find(|node| node.cid() == *cid)
    }
}

impl Open {
    /// Opens the repository at its stored head. Hold the account's lock, with nothing on its way.
    pub(super) fn load(reader: &Reader, account: AccountId) -> Result<Self, RepoError> {
        head(reader, account)?.map(Self::at).ok_or(RepoError::NoRepository)
    }

    pub(super) fn at(head: Head) -> Self {
        Self {
            repository: Repository::open(head.commit),
            contents: head.contents,
            totals: head.totals,
            tree_bytes: 0,
            fresh: HashSet::new(),
            settle_at: SETTLE_AT,
            known_collections: HashSet::new(),
        }
    }

    /// Whether `collection` is known to be in the index.
    pub(super) fn knows_collection(&self, collection: &str) -> bool {
        self.known_collections.contains(collection)
    }

    /// Follows what became of collections with a commit.
    pub(super) fn follow(&mut self, collections: Collections) {
        for gone in collections.gone {
            self.known_collections.remove(&gone);
        }
        if self.known_collections.len() + collections.come.len() > KNOWN_COLLECTIONS_MAX {
            self.known_collections.clear();
        }
        self.known_collections.extend(collections.come);
    }
}

/// What became of collections with a commit.
#[derive(Default)]
pub(super) struct Collections {
    /// Put into the index, perhaps once more.
    pub(super) come: Vec<String>,
    /// Taken out of it.
    pub(super) gone: Vec<String>,
}
