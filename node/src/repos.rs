//! The repositories of the accounts that this node hosts: one writer for each, any number of readers, import and export.
//!
//! What a commit is, `angel_protocol::repo` decides; how it is stored, `angel_storage::repos`. Here the two meet: a
//! write is made into a commit under its account's lock, handed to the store as one batch, and answered when the batch
//! is durable. The lock is free again as soon as the batch is handed over, so that the next write need not wait for the
//! disk; until then what is on its way lies in memory (`cache`). Readers take no lock. A reader that needs a whole
//! repository says so, and superseded blocks are kept until it has finished (`export`).
//!
//! Nothing here knows HTTP, sessions or lexicons: whoever writes has been authenticated, and records have been checked.

mod cache;
mod delete;
mod error;
mod export;
mod follow;
mod import;
mod read;
mod spool;
mod staging;
mod subjects;
mod sweeper;
mod write;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use angel_protocol::crypto::SigningKey;
use angel_protocol::data::{BlobRef, Block, Cid, Codec, Value, blob_refs, cbor};
use angel_protocol::ids::{Did, RepoPath, Tid, TidClock};
use angel_storage::{AccountId, Reader, Writer};
use tokio::sync::Semaphore;

use crate::clock;
use crate::placement::{NotWritable, Placement, WriteGuard};
use cache::Cache;
pub use error::RepoError;
pub use export::Export;
pub(crate) use follow::{Landing, NotFollowed};
pub use import::{Import, ImportRefused};
pub use read::{Description, Listed};
use sweeper::Queue;
pub use write::Made;

/// The repositories of a node. Cheap to clone.
#[derive(Clone)]
pub struct Repos {
    shared: Arc<Shared>,
}

struct Shared {
    reader: Reader,
    writer: Writer,
    cache: Cache,
    clock: Mutex<TidClock>,
    leftovers: Queue,
    /// Held by whoever searches a whole tree for records by their CIDs.
    searches: Mutex<()>,
    /// Exports that hold all tree nodes in memory at once: see [`export`].
    roomy_exports: Arc<Semaphore>,
    /// Where imports put blocks aside.
    spool_dir: PathBuf,
    /// Imports that may be under way at once, for each takes memory.
    imports: Arc<Semaphore>,
    /// Who may write: everybody, until it is said who decides that.
    placement: OnceLock<Placement>,
}

/// Whose repository is written, and the key that signs for it.
#[derive(Clone)]
pub struct Owner {
    /// The account.
    pub id: AccountId,
    /// Its DID.
    pub did: Did,
    /// The key that its identity names, or is about to name.
    pub key: Arc<SigningKey>,
}

/// One write as a client asks for it.
#[derive(Clone, Debug)]
pub struct RepoWrite {
    /// Where.
    pub path: RepoPath,
    /// What.
    pub action: Action,
    /// What has to be at the path beforehand, if the client cares.
    pub swap: Option<Swap>,
}

/// What to do at a path.
#[derive(Clone, Debug)]
pub enum Action {
    /// Add a record; there is none yet.
    Create(NewRecord),
    /// The same, and take away those that are about the same subject, where the account has one for each
    /// ([`angel_protocol::repo::subject`]).
    CreateInPlace(NewRecord),
    /// Replace the record that is there.
    Update(NewRecord),
    /// Set the record, whatever is there. The same record again is no change.
    Put(NewRecord),
    /// Take the record away that is there.
    Delete,
    /// See to it that there is no record.
    Remove,
}

impl Action {
    /// The record that is there then; `None` when there is none.
    #[must_use]
    pub const fn record(&self) -> Option<&NewRecord> {
        match self {
            Self::Create(record) | Self::CreateInPlace(record) | Self::Update(record) | Self::Put(record) => {
                Some(record)
            }
            Self::Delete | Self::Remove => None,
        }
    }
}

/// What a client expects at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swap {
    /// No record.
    Absent,
    /// This one.
    Record(Cid),
}

/// A record to be written, with what the write path needs to know of it.
#[derive(Clone, Debug)]
pub struct NewRecord {
    block: Block,
    blobs: Vec<BlobRef>,
}

impl NewRecord {
    /// The canonical bytes of a value that has been checked.
    #[must_use]
    pub fn new(value: &Value) -> Self {
        Self { block: Block::new(Codec::DagCbor, cbor::encode(value)), blobs: blob_refs(value) }
    }

    /// The CID that it will have.
    #[must_use]
    pub const fn cid(&self) -> Cid {
        self.block.cid()
    }

    /// Its canonical bytes with its CID.
    #[must_use]
    pub const fn block(&self) -> &Block {
        &self.block
    }

    /// How long it is, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.block.bytes().len()
    }

    /// The blobs that it refers to.
    #[must_use]
    pub fn blobs(&self) -> &[BlobRef] {
        &self.blobs
    }
}

impl Repos {
    /// The repositories in a store. `clock_id` tells this node's record keys from those that another node makes for the
    /// same account; imports put blocks aside in `spool_dir`. [`Self::recover`] comes next.
    #[must_use]
    pub fn new(reader: Reader, writer: Writer, clock_id: u16, spool_dir: PathBuf) -> Self {
        let shared = Shared {
            reader,
            writer,
            cache: Cache::default(),
            clock: Mutex::new(TidClock::new(clock_id)),
            leftovers: Queue::default(),
            searches: Mutex::default(),
            roomy_exports: Arc::new(Semaphore::new(export::ROOMY_EXPORTS_MAX)),
            spool_dir,
            imports: Arc::new(Semaphore::new(import::IMPORTS_MAX)),
            placement: OnceLock::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// From now on `placement` says which repositories may be written here.
    pub(crate) fn guard(&self, placement: Placement) {
        // Set once, where the node is put together.
        drop(self.shared.placement.set(placement));
    }

    /// Leave to write into an account's repository.
    pub(crate) async fn may_write(&self, account: AccountId) -> Result<Option<WriteGuard>, NotWritable> {
        match self.shared.placement.get() {
            Some(placement) => placement.may_write(account).await.map(Some),
            None => Ok(None),
        }
    }

    /// Whether an account takes writes at this moment.
    ///
    /// # Errors
    /// Why it does not.
    pub(crate) fn may_write_now(&self, account: AccountId) -> Result<(), NotWritable> {
        self.shared.placement.get().map_or(Ok(()), |placement| placement.may_write_now(account))
    }

    /// A record key that this node has not given before.
    ///
    /// # Errors
    /// The clock of this machine is beyond the year 2255.
    pub fn next_tid(&self) -> Result<Tid, RepoError> {
        let mut clock = self.shared.clock.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(clock.next(clock::now())?)
    }

    /// Has every later revision here be greater than one that a repository had elsewhere.
    pub(crate) fn observe(&self, rev: Tid) {
        self.shared.clock.lock().unwrap_or_else(PoisonError::into_inner).observe(rev);
    }

    /// The clock of one repository: never behind its head, however the wall clock moves.
    fn clock_after(&self, head: Option<Tid>) -> TidClock {
        let mut clock = self.shared.clock.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(head) = head {
            clock.observe(head);
        }
        clock
    }
}
