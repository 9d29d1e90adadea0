//! Repositories held open, and what of them is on its way to the disk.
//!
//! A [`Slot`] is an account's place: the lock of its one writer, and the batches that were handed to the store and are
//! not durable yet. Later writes read those before they read the store, so nothing depends on how far the store is.
//! Slots that nobody uses are dropped, the longest unused first, when together they take too much memory.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use angel_protocol::data::{Block, Cid};
use angel_protocol::repo::Repository;
use angel_storage::repos::{Contents, Head, Totals, head};
use angel_storage::{AccountId, Reader};
use tokio::sync::watch;

use super::RepoError;

/// Slots beyond which unused ones are dropped.
const SLOTS_MAX: usize = 4096;

/// Bytes of tree nodes in memory, all slots together, beyond which unused slots are dropped. Decoded nodes take about
/// three times the bytes that are counted.
const TREES_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Bytes of tree nodes after which one repository forgets its tree and begins to load it anew.
pub(super) const TREE_BYTES_MAX: usize = 256 * 1024;

/// Collections of one repository that are remembered to be in the index.
const KNOWN_COLLECTIONS_MAX: usize = 256;

#[derive(Default)]
pub(super) struct Cache {
    slots: Mutex<Slots>,
}

#[derive(Default)]
struct Slots {
    by_account: HashMap<AccountId, (Arc<Slot>, u64)>,
    uses: u64,
}

/// An account's place.
pub(super) struct Slot {
    pub(super) account: AccountId,
    /// The lock of the account's writer, with the repository it holds open.
    pub(super) open: Arc<tokio::sync::Mutex<Option<Open>>>,
    /// One import at a time.
    pub(super) importing: Arc<tokio::sync::Mutex<()>>,
    flight: Mutex<Flight>,
    landed: watch::Sender<Landed>,
    tree_bytes: AtomicUsize,
}

/// What has been handed to the store.
#[derive(Default)]
struct Flight {
    batches: VecDeque<Arc<Pending>>,
    handed_over: u64,
    exports: usize,
    retained: bool,
}

/// How far the store is.
#[derive(Clone, Copy, Default)]
struct Landed {
    durable: u64,
    failed: bool,
}

/// A batch that is not durable yet.
#[derive(Default)]
pub(super) struct Pending {
    pub(super) nodes: Vec<Block>,
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
    known_collections: HashSet<String>,
}

impl Cache {
    /// The place of an account.
    pub(super) fn slot(&self, account: AccountId) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.uses += 1;
        let uses = slots.uses;
        if let Some((slot, used)) = slots.by_account.get_mut(&account) {
            *used = uses;
            return Arc::clone(slot);
        }
        slots.make_room();
        let slot = Arc::new(Slot::new(account));
        slots.by_account.insert(account, (Arc::clone(&slot), uses));
        slot
    }
}

impl Slots {
    /// Drops a quarter of the slots that nobody uses when there is too much. Whatever is under way holds its slot.
    fn make_room(&mut self) {
        let bytes: usize = if self.by_account.len().is_multiple_of(16) {
            self.by_account.values().map(|(slot, _)| slot.tree_bytes.load(Ordering::Relaxed)).sum()
        } else {
            0
        };
        if self.by_account.len() < SLOTS_MAX && bytes < TREES_BYTES_MAX {
            return;
        }
        let unused = self.by_account.iter().filter(|(_, (slot, _))| Arc::strong_count(slot) == 1);
        let mut unused: Vec<_> = unused.map(|(account, (_, used))| (*used, *account)).collect();
        unused.sort_unstable();
        for (_, account) in unused.iter().take(unused.len().div_ceil(4)) {
            self.by_account.remove(account);
        }
    }
}

impl Slot {
    fn new(account: AccountId) -> Self {
        Self {
            account,
            open: Arc::default(),
            importing: Arc::default(),
            flight: Mutex::default(),
            landed: watch::Sender::default(),
            tree_bytes: AtomicUsize::new(0),
        }
    }

    fn flight(&self) -> MutexGuard<'_, Flight> {
        self.flight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is on its way, the oldest first.
    pub(super) fn pending(&self) -> Vec<Arc<Pending>> {
        self.flight().batches.iter().cloned().collect()
    }

    /// Notes a batch that is about to be handed over; answers its number.
    pub(super) fn hand_over(&self, pending: Pending) -> u64 {
        let mut flight = self.flight();
        flight.batches.push_back(Arc::new(pending));
        flight.handed_over += 1;
        flight.handed_over
    }

    /// The number of the batch handed over last.
    pub(super) fn handed_over(&self) -> u64 {
        self.flight().handed_over
    }

    /// The store has answered for the oldest batch. It keeps the order in which batches were handed over.
    pub(super) fn land(&self, is_durable: bool) {
        self.flight().batches.pop_front();
        self.landed.send_modify(|landed| {
            landed.durable += 1;
            landed.failed |= !is_durable;
        });
    }

    /// Whether a batch was not written. What is held open is ahead of the store then.
    pub(super) fn has_failed(&self) -> bool {
        self.landed.borrow().failed
    }

    /// Waits until batch `number` and those before it are answered for.
    ///
    /// # Errors
    /// One of them was not written.
    pub(super) async fn until_durable(&self, number: u64) -> Result<(), RepoError> {
        let mut landed = self.landed.subscribe();
        let landed = landed.wait_for(|landed| landed.failed || landed.durable >= number).await;
        let landed = *landed.expect("the sender lives as long as self");
        if landed.failed { Err(angel_storage::CommitError::Closed.into()) } else { Ok(()) }
    }

    /// Begins an export. From the next commit on superseded blocks are kept. Hold the account's lock.
    pub(super) fn begin_export(&self) {
        self.flight().exports += 1;
    }

    /// Ends an export; answers whether it was the last and blocks were kept for it.
    pub(super) fn end_export(&self) -> bool {
        let mut flight = self.flight();
        flight.exports -= 1;
        flight.exports == 0 && flight.retained
    }

    /// Whether exports are under way.
    pub(super) fn is_exported(&self) -> bool {
        self.flight().exports > 0
    }

    /// Notes that blocks were kept for exports, or that they have been dropped.
    pub(super) fn set_retained(&self, retained: bool) {
        self.flight().retained = retained;
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
