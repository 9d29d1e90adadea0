//! Taking over a whole repository in a space from a CAR file, as an account that moves here brings it (proposal 0016,
//! "Account lifecycle": permissioned repositories move as public ones do).
//!
//! The repository keeps its revision and its set hash: whoever follows it elsewhere goes on where they are, and asks the
//! new host for what comes then. Nothing of it is stored before the account's signature over the commit and the commit's
//! digest over the index are believed, and no record that the index does not name. The head is written last; until then
//! there is no repository, and what a crash leaves of it is cleared away by whoever writes there next.

#[cfg(test)]
mod tests;

use std::sync::{Arc, PoisonError};

use angel_protocol::crypto::VerifyingKey;
use angel_protocol::data::{Block, blob_refs, cbor};
use angel_protocol::ids::{RepoPath, Tid};
use angel_protocol::limits::PERMISSIONED_RECORDS_MAX;
use angel_protocol::permissioned::policy::{Access, Decision};
use angel_protocol::permissioned::wire::car::{Found, RepoCarReader};
use angel_protocol::permissioned::{Head, Op, SpaceUri};
use angel_protocol::rules::{Place, Refused, judge_import};
use angel_storage::Batch;
use angel_storage::batch::RowRefused;
use angel_storage::blobs::{Absent, Naming, stage_private_refs};
use angel_storage::permissioned::{self as rows, Order, Repo, RepoKey, WriterRow, Written};
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit};

use super::arriving::{ArrivalError, Arrived, Arriving, Records};
use super::aside::Entries;
use super::copies::{STEP_BYTES, STEP_OPS};
use super::slots::{Open, Slot};
use super::write::{blobs_of, path_of};
use super::{Permissioned, PermissionedError, repo_key};
use crate::accounts::Account;
use crate::placement::Leave;
use crate::{blocking, clock};

/// Imports that may be under way at once: each has a file open, and a few mebibytes of records in memory.
pub(super) const IMPORTS_MAX: usize = 8;

/// Most bytes of records of one repository.
const BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Records that one step of clearing a repository away takes.
const CLEAR_RECORDS: usize = 200;

/// Why a repository is not taken over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImportRefused {
    /// The file is not a repository.
    #[error(transparent)]
    Arrival(#[from] ArrivalError),
    /// No key of the account signed the commit.
    #[error("the commit is not signed with the account's key, or is of a time to come")]
    Commit,
    /// There are other records here already, and the account is in use.
    #[error("the account has another repository in this space here, and is in use")]
    InUse,
    /// What is here is newer.
    #[error("the repository here is newer than the file: it is at {0}")]
    Older(Tid),
    /// A record breaks the rules of its collection.
    #[error("a record is refused: {0}")]
    Rules(Refused),
    /// A record cannot be read.
    #[error("a record of the file cannot be read")]
    Record,
    /// Nothing can be written.
    #[error(transparent)]
    Store(#[from] PermissionedError),
}

macro_rules! passes_on {
    ($($error:ty),*) => {$(
        impl From<$error> for ImportRefused {
            fn from(error: $error) -> Self {
                Self::Store(error.into())
            }
        }
    )*};
}

passes_on!(
    angel_storage::CommitError,
    angel_storage::blobs::NamingError,
    angel_storage::events::TrimError,
    angel_storage::reader::ReadError,
    RowRefused
);

/// What became of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Imported {
    /// Where the repository is.
    pub(crate) head: Head,
    /// Whether it was there before.
    pub(crate) was_here: bool,
}

/// An import under way. The account writes nothing else into the repository meanwhile.
pub(crate) struct Import {
    into: Target,
    /// Keys of which one has signed the commit.
    keys: Vec<VerifyingKey>,
    file: RepoCarReader,
    arriving: Arriving,
    state: State,
    open: OwnedMutexGuard<Option<Open>>,
    leave: Leave,
    _room: OwnedSemaphorePermit,
}

/// Where the records go.
#[derive(Clone)]
struct Target {
    permissioned: Permissioned,
    account: Account,
    space: SpaceUri,
    slot: Arc<Slot>,
}

enum State {
    /// The commit is still to come.
    Waiting,
    /// The commit is what the repository here is at: the rest of the file is read and not needed.
    Here(Head),
    /// Records are taken in.
    Taking,
}

impl Permissioned {
    /// Begins to take over the repository of an account in `space`. `keys` are those that the account's identity names, and
    /// this node's own for it.
    ///
    /// # Errors
    /// Too many imports are under way; the account is another node's; the store fails.
    pub(crate) async fn import(
        &self,
        account: &Account,
        space: &SpaceUri,
        keys: Vec<VerifyingKey>,
    ) -> Result<Import, PermissionedError> {
        let room = Arc::clone(&self.shared.imports).try_acquire_owned().map_err(|_| PermissionedError::Busy)?;
        let leave = self.shared.fence.enter(account.id()).await?;
        let slot = self.shared.slots.slot(repo_key(account.id(), space));
        let open = Arc::clone(&slot.open).lock_owned().await;
        slot.flight.until_durable(slot.flight.handed_over()).await?;
        let into = Target { permissioned: self.clone(), account: account.clone(), space: space.clone(), slot };
        Ok(Import {
            into,
            keys,
            file: RepoCarReader::default(),
            arriving: Arriving::new(self.spool_dir(), PERMISSIONED_RECORDS_MAX, BYTES_MAX),
            state: State::Waiting,
            open,
            leave,
            _room: room,
        })
    }

    /// Takes away all records of a repository, its head first: what a crash leaves is then no repository, and is cleared
    /// away by the next who writes there. Blocks.
    pub(super) fn clear_repo_blocking(&self, key: RepoKey) -> Result<(), PermissionedError> {
        let (reader, writer) = (&self.shared.reader, &self.shared.writer);
        let mut batch = Batch::new();
        rows::remove_repo(&mut batch, key)?;
        writer.commit(batch)?;
        loop {
            let mut scan = rows::records(reader, key, "", None, Order::Ascending);
            let (mut batch, mut count) = (Batch::new(), 0);
            while count < CLEAR_RECORDS
                && batch.bytes() < STEP_BYTES
                && let Some((path, record)) = scan.next(CLEAR_RECORDS)?
            {
                count += 1;
                rows::delete_record(&mut batch, key, &path, record.bytes.len())?;
                let block = Block::new(record.cid.codec(), record.bytes);
                if let (named, Some(path)) = (blobs_of(&block), path_of(&path))
                    && !named.is_empty()
                {
                    let (rev, now) = (record.rev, clock::now());
                    let naming = Naming { account: key.account, path: &path, rev, now, absent: Absent::Note };
                    stage_private_refs(reader, &mut batch, naming, &key.space, &[], &named)?;
                }
            }
            if count == 0 {
                break;
            }
            writer.commit(batch)?;
        }
        loop {
            let mut batch = Batch::new();
            if rows::stage_repo_removal(reader, &mut batch, key, STEP_OPS)? == 0 {
                return Ok(());
            }
            writer.commit(batch)?;
        }
    }

    /// Whether records lie where there is no repository: an import was cut short. Blocks.
    pub(super) fn has_leftover_blocking(&self, key: RepoKey) -> Result<bool, PermissionedError> {
        Ok(rows::records(&self.shared.reader, key, "", None, Order::Ascending).next(1)?.is_some())
    }
}

impl Import {
    /// Takes the next part of the file.
    ///
    /// # Errors
    /// [`ImportRefused`], as soon as it is certain.
    pub(crate) async fn take(&mut self, mut part: &[u8]) -> Result<(), ImportRefused> {
        while let Some(found) = self.file.read(&mut part).map_err(ArrivalError::from)? {
            if let State::Here(_) = self.state {
                continue;
            }
            match found {
                Found::Commit(commit) => {
                    let (space, author) = (&self.into.space, self.into.account.did());
                    let genuine = self.keys.iter().any(|key| commit.verify(space, author, *key).is_ok());
                    if !genuine || commit.is_from_the_future(clock::now()) {
                        return Err(ImportRefused::Commit);
                    }
                    self.state = self.into.compare(commit.rev, commit.hash).await?;
                    self.arriving.commit(commit);
                }
                Found::Entry(path, cid) => self.arriving.entry(&path.to_string(), cid).await?,
                Found::IndexEnd(hash) => {
                    self.arriving.index_end(hash).await?;
                    *self.open = None;
                    let (this, key) = (self.into.permissioned.clone(), self.into.slot.key);
                    blocking::run(move || this.clear_repo_blocking(key)).await?;
                }
                Found::Record(block) => {
                    if let Some(step) = self.arriving.record(block, |_| true).await? {
                        self.into.store(self.arriving.rev(), step).await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The file has ended: from now on there is the repository.
    ///
    /// # Errors
    /// [`ImportRefused`]; what was stored is no repository then.
    pub(crate) async fn finish(self) -> Result<Imported, ImportRefused> {
        let Self { into, file, arriving, state, open, leave, .. } = self;
        file.finish().map_err(ArrivalError::from)?;
        match state {
            State::Here(head) => return Ok(Imported { head, was_here: true }),
            State::Waiting => return Err(ArrivalError::Order.into()),
            State::Taking => {}
        }
        let Arrived { head, last, entries, .. } = arriving.finish()?;
        into.store(head.rev, last).await?;
        let (at, committed) = blocking::run(move || {
            let committed = into.tell_blocking(&head, entries)?;
            Ok::<_, ImportRefused>((head, committed))
        })
        .await?;
        drop(open);
        leave.replicated(committed).await.map_err(PermissionedError::from)?;
        Ok(Imported { head: at, was_here: false })
    }
}

impl Target {
    /// What is here already, beside what comes.
    async fn compare(&self, rev: Tid, hash: [u8; 32]) -> Result<State, ImportRefused> {
        let (this, key) = (self.permissioned.clone(), self.slot.key);
        let here = blocking::run(move || rows::repo(&this.shared.reader, key)).await?;
        let Some(Repo { head, .. }) = here else { return Ok(State::Taking) };
        match head {
            head if head.rev == rev && head.hash.digest() == hash => Ok(State::Here(head)),
            _ if self.account.is_active() => Err(ImportRefused::InUse),
            head if head.rev > rev => Err(ImportRefused::Older(head.rev)),
            _ => Ok(State::Taking),
        }
    }

    /// Stores records that no head names yet.
    async fn store(&self, rev: Tid, records: Records) -> Result<(), ImportRefused> {
        let into = self.clone();
        blocking::run(move || {
            let (reader, key, now) = (&into.permissioned.shared.reader, into.slot.key, clock::now());
            let mut batch = Batch::new();
            for (path, record) in &records {
                rows::put_record(&mut batch, key, path, rev, record, None)?;
                let path: RepoPath = path_of(path).ok_or(ImportRefused::Record)?;
                let value = cbor::decode(record.bytes()).map_err(|_| ImportRefused::Record)?;
                judge_import(&path.collection, &value, Place::Permissioned, now).map_err(ImportRefused::Rules)?;
                let named = blob_refs(&value);
                if !named.is_empty() {
                    let naming = Naming { account: key.account, path: &path, rev, now, absent: Absent::Note };
                    stage_private_refs(reader, &mut batch, naming, &key.space, &named, &[])?;
                }
            }
            into.permissioned.shared.writer.commit(batch)?;
            Ok(())
        })
        .await
    }

    /// Tells of all records, and then writes the head. Blocks.
    fn tell_blocking(&self, head: &Head, mut entries: Entries) -> Result<angel_storage::Committed, ImportRefused> {
        let Self { permissioned, account, space, slot } = self;
        let mut batch = Batch::new();
        loop {
            let mut ops = Vec::with_capacity(STEP_OPS);
            let mut is_last = false;
            while ops.len() < STEP_OPS && !is_last {
                match entries.next_blocking()? {
                    Some((path, cid)) => {
                        let path = path_of(&path).ok_or(ImportRefused::Record)?;
                        ops.push(Op { path, cid: Some(cid), prev: None });
                    }
                    None => is_last = true,
                }
            }
            if !ops.is_empty() {
                let written = Written { space: space.clone(), author: account.did().clone(), rev: head.rev, ops };
                batch.append_event(rows::written_event(account.id(), &written, clock::now())?)?;
            }
            if is_last {
                break;
            }
            permissioned.shared.writer.commit(std::mem::take(&mut batch))?;
        }
        let repo =
            Repo { space: space.clone(), head: head.clone(), log_from: head.rev, log_ops: 0, space_deleted_at: None };
        rows::put_repo(&mut batch, slot.key, &repo)?;
        let listed = rows::writer(&permissioned.shared.reader, slot.key.space, account.did())?;
        if listed.as_ref().is_some_and(|row| row.rev == head.rev) || !self.counts_here_blocking()? {
            return Ok(permissioned.shared.writer.commit(batch)?);
        }
        // This node answers for the space, and lists who writes there.
        let (told, outcome) = std::sync::mpsc::sync_channel(1);
        {
            let mut sequence = permissioned.shared.sequence.lock().unwrap_or_else(PoisonError::into_inner);
            let now = clock::now();
            let space_rev = permissioned.next_space_rev(&mut sequence, space, now)?;
            let row = WriterRow { did: account.did().clone(), rev: head.rev, hash: head.hash.digest(), space_rev };
            rows::put_writer(&mut batch, slot.key.space, &row, listed.map(|row| row.space_rev))?;
            permissioned.stage_forwards(&mut batch, space, &row, now)?;
            permissioned.shared.writer.submit_blocking(batch, move |outcome| drop(told.send(outcome)));
        }
        let committed = outcome.recv().unwrap_or(Err(angel_storage::CommitError::Closed))?;
        permissioned.shared.outbox.notify_one();
        Ok(committed)
    }

    /// Whether this node answers for the space, and what the account writes counts there. Blocks.
    fn counts_here_blocking(&self) -> Result<bool, PermissionedError> {
        match self.permissioned.row_blocking(&self.space) {
            Ok((_, true)) | Err(PermissionedError::SpaceNotFound) => Ok(false),
            Ok((row, false)) => {
                Ok(self.permissioned.decide_blocking(&row, Access::Write, self.account.did())? != Decision::No)
            }
            Err(error) => Err(error),
        }
    }
}
