//! Repositories held open, and what of them is on its way to the disk.
//!
//! A [`Slot`] is the place of one author in one space: the lock of its writer, and the batches that were handed to the
//! store and are not durable yet. Later writes read those before they read the store. Slots that nobody uses are
//! dropped, the longest unused first, when there are too many.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use angel_protocol::data::{Block, Cid};
use angel_protocol::ids::Tid;
use angel_storage::permissioned::{Repo, RepoKey};
use tokio::sync::watch;

use super::PermissionedError;

/// Slots beyond which unused ones are dropped. Each takes a few KiB.
const SLOTS_MAX: usize = 4096;

#[derive(Default)]
pub(super) struct Slots(Mutex<Places>);

#[derive(Default)]
struct Places {
    by_repo: HashMap<RepoKey, (Arc<Slot>, u64)>,
    uses: u64,
}

/// The place of one author in one space.
pub(super) struct Slot {
    pub(super) key: RepoKey,
    /// The lock of the repository's writer, with what it holds open.
    pub(super) open: Arc<tokio::sync::Mutex<Option<Open>>>,
    flight: Mutex<Flight>,
    landed: watch::Sender<Landed>,
}

/// Bytes of superseded records that are kept for the exports of one repository.
const RETAINED_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A repository that is held open.
pub(super) struct Open {
    pub(super) repo: Repo,
    /// The revision of the space at which the repository last changed, when this node numbers the changes of the space.
    pub(super) space_rev: Option<Tid>,
}

/// Records as a batch leaves them, by path; `None` where one is taken away.
pub(super) type Pending = BTreeMap<String, Option<Block>>;

#[derive(Default)]
struct Flight {
    batches: VecDeque<Arc<Pending>>,
    handed_over: u64,
    exports: usize,
    /// Records that were superseded since the oldest of the exports began.
    retained: HashMap<Cid, Block>,
    retained_bytes: usize,
}

/// How far the store is.
#[derive(Clone, Copy, Default)]
struct Landed {
    durable: u64,
    failed: bool,
}

impl Slots {
    /// The place of a repository.
    pub(super) fn slot(&self, key: RepoKey) -> Arc<Slot> {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        places.uses += 1;
        let uses = places.uses;
        if let Some((slot, used)) = places.by_repo.get_mut(&key) {
            *used = uses;
            return Arc::clone(slot);
        }
        places.make_room();
        let slot =
            Arc::new(Slot { key, open: Arc::default(), flight: Mutex::default(), landed: watch::Sender::default() });
        places.by_repo.insert(key, (Arc::clone(&slot), uses));
        slot
    }
}

impl Places {
    /// Drops a quarter of the slots that nobody uses when there are too many. Whatever is under way holds its slot.
    fn make_room(&mut self) {
        if self.by_repo.len() < SLOTS_MAX {
            return;
        }
        let unused = self.by_repo.iter().filter(|(_, (slot, _))| Arc::strong_count(slot) == 1);
        let mut unused: Vec<_> = unused.map(|(key, (_, used))| (*used, *key)).collect();
        unused.sort_unstable();
        for (_, key) in unused.iter().take(unused.len().div_ceil(4)) {
            self.by_repo.remove(key);
        }
    }
}

impl Slot {
    fn flight(&self) -> MutexGuard<'_, Flight> {
        self.flight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is on its way, the oldest first.
    pub(super) fn pending(&self) -> Vec<Arc<Pending>> {
        self.flight().batches.iter().cloned().collect()
    }

    /// Notes a batch that is about to be handed over.
    pub(super) fn hand_over(&self, pending: Pending) {
        let mut flight = self.flight();
        flight.batches.push_back(Arc::new(pending));
        flight.handed_over += 1;
    }

    /// Begins an export: from the next write on, what is superseded is kept. Hold the writer's lock.
    pub(super) fn begin_export(&self) {
        self.flight().exports += 1;
    }

    /// Ends an export, and with the last one lets go of what was kept.
    pub(super) fn end_export(&self) {
        let mut flight = self.flight();
        flight.exports = flight.exports.saturating_sub(1);
        if flight.exports == 0 {
            (flight.retained, flight.retained_bytes) = (HashMap::new(), 0);
        }
    }

    /// Keeps a record that is about to be superseded, when an export may want it and there is room.
    pub(super) fn retain(&self, record: &Block) {
        let mut flight = self.flight();
        if flight.exports > 0 && flight.retained_bytes + record.bytes().len() <= RETAINED_BYTES_MAX {
            flight.retained_bytes += record.bytes().len();
            flight.retained.insert(record.cid(), record.clone());
        }
    }

    /// A record that was kept.
    pub(super) fn retained(&self, cid: &Cid) -> Option<Block> {
        self.flight().retained.get(cid).cloned()
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
    pub(super) async fn until_durable(&self, number: u64) -> Result<(), PermissionedError> {
        let mut landed = self.landed.subscribe();
        let landed = landed.wait_for(|landed| landed.failed || landed.durable >= number).await;
        let landed = *landed.expect("the sender lives as long as self");
        if landed.failed { Err(angel_storage::CommitError::Closed.into()) } else { Ok(()) }
    }
}
