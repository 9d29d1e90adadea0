//! Private data of hosted accounts: spaces under them, and their permissioned repositories in spaces under anybody.
//!
//! What a repository is and who may do what, `angel_protocol::permissioned` decides; how it is stored,
//! `angel_storage::permissioned`. Here the two meet. A write is made into a new head under the lock of its repository
//! (one writer per author and space), handed to the store as one batch with the event that tells of it, and answered
//! when that batch is durable. The lock is free again as soon as the batch is handed over; until it is durable, what is
//! on its way lies in memory (`slots`). Readers take no lock.
//!
//! Nothing of what is here reaches the public repositories, the firehose, a log line or the text of an error.

pub(crate) mod arriving;
mod aside;
mod attestation;
mod copies;
pub(crate) mod credentials;
mod error;
pub(crate) mod export;
pub(crate) mod import;
pub(crate) mod notices;
pub(crate) mod notifier;
pub(crate) mod puller;
mod read;
pub(crate) mod services;
mod slots;
mod spaces;
mod write;

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use angel_protocol::ids::{Did, Tid, TidClock};
use angel_protocol::permissioned::policy::{Access, Decision};
use angel_protocol::permissioned::{Op, SpaceUri};
use angel_storage::permissioned::{self as rows, RepoKey, SpaceDigest, SpaceRow};
use angel_storage::{AccountId, Reader, Writer};
use tokio::sync::{Notify, RwLock, Semaphore};

use crate::accounts::{Account, Accounts};
use crate::blocking;
use crate::placement::{Fence, Placement};

pub use crate::repos::{Action, NewRecord, RepoWrite as PermissionedWrite, Swap};
pub use error::PermissionedError;
pub use read::{Listed, RecordPage};
pub use spaces::{ConfigChange, MemberPage};

use slots::Slots;

/// The private data of a node. Cheap to clone.
#[derive(Clone)]
pub struct Permissioned {
    shared: Arc<Shared>,
}

struct Shared {
    reader: Reader,
    writer: Writer,
    accounts: Accounts,
    clock: Mutex<TidClock>,
    slots: Slots,
    sequence: Mutex<Sequence>,
    /// Held alone by whoever changes a space: settings and members are changed one at a time. Held together by those who
    /// act on them in two steps.
    changing: RwLock<()>,
    /// Locks over which the repositories of other hosts are spread: what is heard of one is dealt with in order.
    hearing: [tokio::sync::Mutex<()>; HEARING_LOCKS],
    /// Told when there is something to deliver.
    outbox: Notify,
    /// Repositories elsewhere that are to be looked at.
    news: copies::News,
    exports: Arc<Semaphore>,
    imports: Arc<Semaphore>,
    /// Where an index is put aside.
    spool_dir: PathBuf,
    fence: Fence,
}

/// Locks over which the repositories of other hosts are spread.
const HEARING_LOCKS: usize = 16;

/// Numbers the changes of spaces. Held from taking a number until the batch that bears it has been handed over, so that
/// batches reach the store in the order of their numbers, and nobody who goes by the numbers misses one.
struct Sequence {
    clock: TidClock,
    /// Spaces whose last number the clock has seen.
    seen: HashSet<SpaceDigest>,
}

/// Spaces of which a node remembers that it has seen their last number.
const SEEN_MAX: usize = 65_536;

/// A write that is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The revision that it made.
    pub rev: Tid,
    /// The digest over the records since.
    pub hash: [u8; 32],
    /// What it did, in the order of the writes. Writes that changed nothing are not among them.
    pub ops: Vec<Op>,
}

/// What this node is to a space.
pub(crate) enum Hosting {
    /// It answers for the space: its authority has its account here.
    Here {
        /// The authority's account.
        authority: Account,
        /// The space, which is not deleted.
        row: SpaceRow,
    },
    /// The authority is elsewhere.
    Elsewhere,
}

impl fmt::Debug for Permissioned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Permissioned")
    }
}

impl Permissioned {
    /// The private data in a store. `clock_id` tells this node's revisions from those that another node makes for the
    /// same account; an index is put aside in `spool_dir`.
    #[must_use]
    pub fn new(reader: Reader, writer: Writer, accounts: Accounts, clock_id: u16, spool_dir: PathBuf) -> Self {
        let clock = TidClock::new(clock_id);
        let sequence = Mutex::new(Sequence { clock: clock.clone(), seen: HashSet::new() });
        let shared = Shared {
            reader,
            writer,
            accounts,
            clock: Mutex::new(clock),
            slots: Slots::default(),
            sequence,
            changing: RwLock::default(),
            hearing: std::array::from_fn(|_| tokio::sync::Mutex::default()),
            outbox: Notify::new(),
            news: copies::News::default(),
            exports: Arc::new(Semaphore::new(export::EXPORTS_MAX)),
            imports: Arc::new(Semaphore::new(import::IMPORTS_MAX)),
            spool_dir,
            fence: Fence::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// From now on `placement` says who may write what here.
    pub(crate) fn guard(&self, placement: Placement) {
        self.shared.fence.raise(placement);
    }

    /// Who may write into which account.
    pub(crate) fn fence(&self) -> &Fence {
        &self.shared.fence
    }

    /// Where an index is put aside.
    fn spool_dir(&self) -> &Path {
        &self.shared.spool_dir
    }

    /// Forgets what is held open of an account's repositories: another room has written their rows.
    pub(crate) fn adopt(&self, account: AccountId) {
        self.shared.slots.forget(account);
        self.shared.sequence.lock().unwrap_or_else(PoisonError::into_inner).seen.clear();
    }

    /// What this node is to `space`. Blocks.
    ///
    /// # Errors
    /// [`PermissionedError::SpaceNotFound`] or [`PermissionedError::SpaceDeleted`] when it answers for the authority and
    /// there is no such space, or no longer; the store cannot be read.
    pub(crate) fn hosting_blocking(&self, space: &SpaceUri) -> Result<Hosting, PermissionedError> {
        let Some(authority) = self.shared.accounts.resident_blocking(&space.authority)? else {
            return Ok(Hosting::Elsewhere);
        };
        let row = rows::space(&self.shared.reader, authority.id(), space.digest())?;
        let row = row.ok_or(PermissionedError::SpaceNotFound)?;
        if row.deleted_at.is_some() {
            Err(PermissionedError::SpaceDeleted)
        } else {
            Ok(Hosting::Here { authority, row })
        }
    }

    /// The row of a space that this node answers for, and whether it is deleted. Blocks.
    ///
    /// # Errors
    /// [`PermissionedError::SpaceNotFound`], also when another host answers for it; the store cannot be read.
    pub(crate) fn row_blocking(&self, space: &SpaceUri) -> Result<(SpaceRow, bool), PermissionedError> {
        let authority = self.shared.accounts.resident_blocking(&space.authority)?;
        let authority = authority.ok_or(PermissionedError::SpaceNotFound)?;
        let row = rows::space(&self.shared.reader, authority.id(), space.digest())?;
        let row = row.ok_or(PermissionedError::SpaceNotFound)?;
        let is_deleted = row.deleted_at.is_some();
        Ok((row, is_deleted))
    }

    /// What the settings of a space that this node answers for say about `user`. Blocks.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) fn decide_blocking(
        &self,
        row: &SpaceRow,
        access: Access,
        user: &Did,
    ) -> Result<Decision, PermissionedError> {
        let member = rows::member(&self.shared.reader, row.uri.digest(), user)?;
        Ok(row.config.decide(access, &row.uri.authority, user, member.map(|row| row.member)))
    }

    /// Whether `user` may read a space that this node answers for, as far as the node can tell by itself: where a
    /// managing app decides, the answer is no.
    ///
    /// # Errors
    /// As [`Self::space`].
    pub async fn may_read(&self, space: &SpaceUri, user: &Did) -> Result<bool, PermissionedError> {
        let (this, space, user) = (self.clone(), space.clone(), user.clone());
        blocking::run(move || match this.hosting_blocking(&space)? {
            Hosting::Here { row, .. } => Ok(this.decide_blocking(&row, Access::Read, &user)? == Decision::Yes),
            Hosting::Elsewhere => Ok(false),
        })
        .await
    }

    /// Whether what `user` writes counts in a space that this node answers for, as far as the node can tell by itself.
    ///
    /// # Errors
    /// [`PermissionedError::SpaceNotFound`], also when another host answers for it; the store cannot be read.
    pub(crate) async fn may_write(&self, space: &SpaceUri, user: &Did) -> Result<bool, PermissionedError> {
        let (this, space, user) = (self.clone(), space.clone(), user.clone());
        blocking::run(move || {
            let (row, is_deleted) = this.row_blocking(&space)?;
            Ok(!is_deleted && this.decide_blocking(&row, Access::Write, &user)? != Decision::No)
        })
        .await
    }

    /// The clock of one repository: never behind its head, however the wall clock moves.
    fn clock_after(&self, head: Tid) -> TidClock {
        let mut clock = self.shared.clock.lock().unwrap_or_else(PoisonError::into_inner).clone();
        clock.observe(head);
        clock
    }
}

fn repo_key(account: AccountId, space: &SpaceUri) -> RepoKey {
    RepoKey { account, space: space.digest() }
}
