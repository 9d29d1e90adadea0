//! Repositories held open, and what of them is on its way to the disk.
//!
//! A [`Slot`] is the place of one author in one space: the lock of its writer, and the batches that were handed to the
//! store and are not durable yet. Later writes read those before they read the store. Slots that nobody uses are
//! dropped, the longest unused first, when there are too many.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use angel_protocol::data::{Block, Cid};
use angel_protocol::ids::Tid;
use angel_storage::AccountId;
use angel_storage::permissioned::{Repo, RepoKey};

use crate::slots::InFlight;

/// Slots beyond which unused ones are dropped. Each takes a few KiB.
const SLOTS_MAX: usize = 4096;

/// Bytes of superseded records that are kept for the exports of one repository.
const RETAINED_BYTES_MAX: usize = 8 * 1024 * 1024;

pub(super) struct Slots(crate::slots::Slots<RepoKey, Slot>);

/// The place of one author in one space.
pub(super) struct Slot {
    pub(super) key: RepoKey,
    /// The lock of the repository's writer, with what it holds open.
    pub(super) open: Arc<tokio::sync::Mutex<Option<Open>>>,
    pub(super) flight: InFlight<Pending>,
    exports: Mutex<Exports>,
}

/// A repository that is held open.
pub(super) struct Open {
    pub(super) repo: Repo,
    /// The revision of the space at which the repository last changed, when this node numbers the changes of the space.
    pub(super) space_rev: Option<Tid>,
}

/// Records as a batch leaves them, by path; `None` where one is taken away.
pub(super) type Pending = BTreeMap<String, Option<Block>>;

/// Those who read the repository as it was when they began.
#[derive(Default)]
struct Exports {
    under_way: usize,
    /// Records that were superseded since the oldest of them began.
    retained: HashMap<Cid, Block>,
    retained_bytes: usize,
}

impl Default for Slots {
    fn default() -> Self {
        Self(crate::slots::Slots::new(|slots| slots.len() >= SLOTS_MAX))
    }
}

impl Slots {
    /// The place of a repository.
    pub(super) fn slot(&self, key: RepoKey) -> Arc<Slot> {
        let (flight, exports) = (InFlight::default(), Mutex::default());
        self.0.slot(key, || Slot { key, open: Arc::default(), flight, exports })
    }

    /// Forgets the repositories of an account that nobody writes at present.
    pub(super) fn forget(&self, account: AccountId) {
        self.0.forget(|key| key.account == account);
    }
}

impl Slot {
    fn exports(&self) -> MutexGuard<'_, Exports> {
        self.exports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins an export: from the next write on, what is superseded is kept. Hold the writer's lock.
    pub(super) fn begin_export(&self) {
        self.exports().under_way += 1;
    }

    /// Ends an export, and with the last one lets go of what was kept.
    pub(super) fn end_export(&self) {
        let mut exports = self.exports();
        exports.under_way = exports.under_way.saturating_sub(1);
        if exports.under_way == 0 {
            (exports.retained, exports.retained_bytes) = (HashMap::new(), 0);
        }
    }

    /// Keeps a record that is about to be superseded, when an export may want it and there is room.
    pub(super) fn retain(&self, record: &Block) {
        let mut exports = self.exports();
        if exports.under_way > 0 && exports.retained_bytes + record.bytes().len() <= RETAINED_BYTES_MAX {
            exports.retained_bytes += record.bytes().len();
            exports.retained.insert(record.cid(), record.clone());
        }
    }

    /// A record that was kept.
    pub(super) fn retained(&self, cid: &Cid) -> Option<Block> {
        self.exports().retained.get(cid).cloned()
    }
}
