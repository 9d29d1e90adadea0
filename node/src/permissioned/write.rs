//! From writes to a new head that is durable.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard, PoisonError};

use angel_protocol::data::{BlobRef, Block, blob_refs, cbor};
use angel_protocol::ids::{RepoPath, Tid};
use angel_protocol::limits::PERMISSIONED_WRITES_MAX;
use angel_protocol::permissioned::policy::{Access, Decision};
use angel_protocol::permissioned::{Head, Op, SpaceUri};
use angel_protocol::time::Timestamp;
use angel_storage::blobs::{Absent, Naming, stage_private_refs};
use angel_storage::permissioned::{self as rows, Repo, WriterRow, Written};
use angel_storage::{Batch, CommitError};
use tokio::sync::oneshot;

use super::slots::{Open, Pending, Slot};
use super::{
    Action, Committed, Permissioned, PermissionedError, PermissionedWrite, SEEN_MAX, Sequence, Swap, repo_key,
};
use crate::accounts::Account;
use crate::{blocking, clock};

/// Operations that the log of a repository keeps. Who has been away for longer fetches the repository anew.
const LOG_OPS_MAX: u64 = 10_000;

/// Operations that are taken from the old end of a log at once.
const LOG_TRIM: usize = 256;

/// What a write comes to.
enum Ready<'a> {
    /// A new head, which the batch makes durable. Until it is handed over, nobody else takes a number of the space.
    Head { made: Committed, batch: Batch, numbered: Option<MutexGuard<'a, Sequence>> },
    /// Nothing; it was so already, once batch `after` is durable.
    Unchanged { after: u64 },
}

/// What a write became.
enum Settled {
    /// A new head, which is durable.
    Made(Committed, angel_storage::Committed),
    /// See [`Ready::Unchanged`].
    Unchanged { after: u64 },
}

impl Permissioned {
    /// Writes into the author's repository in `space`, all of it or nothing, and returns when it is durable. `None`
    /// when nothing was to be changed. The author has an account here; the space may be anybody's.
    ///
    /// Where this node answers for the space, somebody whose writes do not count in it is told the same as of a space
    /// that does not exist.
    ///
    /// # Errors
    /// [`PermissionedError`], by what is wrong.
    pub async fn write(
        &self,
        author: &Account,
        space: &SpaceUri,
        writes: Vec<PermissionedWrite>,
    ) -> Result<Option<Committed>, PermissionedError> {
        if writes.len() > PERMISSIONED_WRITES_MAX {
            return Err(PermissionedError::TooManyWrites);
        }
        let leave = self.shared.fence.enter(author.id()).await?;
        let slot = self.shared.slots.slot(repo_key(author.id(), space));
        let mut open = Arc::clone(&slot.open).lock_owned().await;
        let (this, author, space, at) = (self.clone(), author.clone(), space.clone(), Arc::clone(&slot));
        let settled = blocking::answered(move |answer: oneshot::Sender<Result<Settled, PermissionedError>>| {
            // Whoever asked may have gone; a write stands.
            match this.make(&at, &mut open, &author, &space, writes) {
                Ok(Ready::Head { made, batch, numbered }) => {
                    let telling = this.clone();
                    this.shared.writer.submit_blocking(batch, move |outcome| {
                        at.flight.land(outcome.is_ok());
                        telling.shared.outbox.notify_one();
                        let settled = outcome.map(|committed| Settled::Made(made, committed));
                        drop(answer.send(settled.map_err(PermissionedError::from)));
                    });
                    drop(numbered);
                }
                Ok(Ready::Unchanged { after }) => drop(answer.send(Ok(Settled::Unchanged { after }))),
                Err(error) => drop(answer.send(Err(error))),
            }
            // The next one follows in the order in which batches are handed over.
            drop(open);
        });
        match settled.await.unwrap_or_else(|| Err(CommitError::Closed.into()))? {
            Settled::Made(made, committed) => {
                leave.replicated(committed).await?;
                Ok(Some(made))
            }
            Settled::Unchanged { after } => {
                slot.flight.until_durable(after).await?;
                Ok(None)
            }
        }
    }

    /// Makes the new head. What is held open follows it: whoever calls this hands the batch to the store, before anybody
    /// else comes to the repository. Blocks.
    fn make(
        &self,
        slot: &Arc<Slot>,
        place: &mut Option<Open>,
        author: &Account,
        space: &SpaceUri,
        writes: Vec<PermissionedWrite>,
    ) -> Result<Ready<'_>, PermissionedError> {
        if slot.flight.has_failed() {
            // The store has stopped, or is about to: what is in memory was never written.
            return Err(CommitError::Closed.into());
        }
        let is_host = self.check_writer(author, space)?;
        let open = match place {
            Some(open) => open,
            None => place.insert(self.load(slot, author, space)?),
        };
        if open.repo.space_deleted_at.is_some() {
            return Err(PermissionedError::SpaceDeleted);
        }
        let changes = self.resolve(slot, writes)?;
        if changes.is_empty() {
            return Ok(Ready::Unchanged { after: slot.flight.handed_over() });
        }

        let now = clock::now();
        let rev = self.clock_after(open.repo.head.rev).next(now)?;
        let mut repo = open.repo.clone();
        let ops: Vec<_> = changes.iter().map(|change| change.op.clone()).collect();
        repo.head.advance(rev, &ops)?;
        let mut batch = Batch::new();
        self.stage(&mut batch, slot, &mut repo, &changes, now)?;
        let written = Written { space: space.clone(), author: author.did().clone(), rev, ops };
        batch.append_event(rows::written_event(author.id(), &written, now)?)?;
        let made = Committed { rev, hash: repo.head.hash.digest(), ops: written.ops };

        // Numbers are taken and batches handed over in one order.
        let mut numbered = is_host.then(|| self.shared.sequence.lock().unwrap_or_else(PoisonError::into_inner));
        let mut space_rev = None;
        if let Some(sequence) = &mut numbered {
            let next = self.next_space_rev(sequence, space, now)?;
            let row = WriterRow { did: author.did().clone(), rev, hash: made.hash, space_rev: next };
            rows::put_writer(&mut batch, slot.key.space, &row, open.space_rev)?;
            self.stage_forwards(&mut batch, space, &row, now)?;
            space_rev = Some(next);
        } else {
            self.stage_report(&mut batch, space, author.did(), &made, now)?;
        }

        // From here on nothing fails: the batch is on its way, and what is held open follows it.
        changes.iter().filter_map(|change| change.before.as_ref()).for_each(|before| slot.retain(before));
        *open = Open { repo, space_rev };
        slot.flight.hand_over(changes.into_iter().map(|change| (change.path, change.after)).collect());
        Ok(Ready::Head { made, batch, numbered })
    }

    /// Whether this node answers for the space, and then whether the author's writes count in it.
    fn check_writer(&self, author: &Account, space: &SpaceUri) -> Result<bool, PermissionedError> {
        if self.shared.accounts.resident_blocking(&space.authority)?.is_none() {
            return Ok(false);
        }
        let (row, is_deleted) = self.row_blocking(space)?;
        match self.decide_blocking(&row, Access::Write, author.did())? {
            Decision::No => Err(PermissionedError::SpaceNotFound),
            Decision::Yes | Decision::Ask(_) if is_deleted => Err(PermissionedError::SpaceDeleted),
            Decision::Yes | Decision::Ask(_) => Ok(true),
        }
    }

    /// The repository as it is stored, or a new one. Hold the slot's lock, with nothing on its way.
    fn load(&self, slot: &Slot, author: &Account, space: &SpaceUri) -> Result<Open, PermissionedError> {
        let reader = &self.shared.reader;
        let new = || Repo {
            space: space.clone(),
            head: Head::empty(),
            log_from: Tid::MIN,
            log_ops: 0,
            space_deleted_at: None,
        };
        let repo = match rows::repo(reader, slot.key)? {
            Some(repo) => repo,
            None => {
                if self.has_leftover_blocking(slot.key)? {
                    self.clear_repo_blocking(slot.key)?;
                }
                new()
            }
        };
        let space_rev = rows::writer(reader, slot.key.space, author.did())?.map(|row| row.space_rev);
        Ok(Open { repo, space_rev })
    }

    /// What the writes come to, given what is there: those that change something.
    fn resolve(&self, slot: &Slot, writes: Vec<PermissionedWrite>) -> Result<Vec<Change>, PermissionedError> {
        let pending = slot.flight.pending();
        let mut changes: BTreeMap<String, (usize, Change)> = BTreeMap::new();
        for (n, PermissionedWrite { path, action, swap }) in writes.into_iter().enumerate() {
            let name = path.to_string();
            if changes.contains_key(&name) {
                return Err(PermissionedError::Repeated(n));
            }
            let before = self.record_before(slot, &pending, &name)?;
            let before_cid = before.as_ref().map(Block::cid);
            let expected = swap.map(|swap| match swap {
                Swap::Absent => None,
                Swap::Record(cid) => Some(cid),
            });
            if expected.is_some_and(|expected| expected != before_cid) {
                return Err(PermissionedError::RecordSwapped(n));
            }
            let after = match (action, before_cid) {
                (Action::Put(record), Some(cid)) if record.cid() == cid => continue,
                (Action::Remove, None) => continue,
                (Action::Create(_), Some(_)) => return Err(PermissionedError::RecordExists(n)),
                (Action::Update(_) | Action::Delete, None) => return Err(PermissionedError::RecordNotFound(n)),
                (Action::Delete | Action::Remove, Some(_)) => None,
                (
                    Action::Create(record)
                    | Action::CreateInPlace(record)
                    | Action::Update(record)
                    | Action::Put(record),
                    _,
                ) => Some(record),
            };
            let op = Op { path: path.clone(), cid: after.as_ref().map(super::NewRecord::cid), prev: before_cid };
            let blobs = after.as_ref().map(|record| record.blobs().to_vec()).unwrap_or_default();
            let change =
                Change { path: name.clone(), op, before, after: after.map(|record| record.block().clone()), blobs };
            changes.insert(name, (n, change));
        }
        let mut changes: Vec<_> = changes.into_values().collect();
        changes.sort_unstable_by_key(|(n, _)| *n);
        Ok(changes.into_iter().map(|(_, change)| change).collect())
    }

    /// The record at `path` as the batches handed over leave it.
    fn record_before(
        &self,
        slot: &Slot,
        pending: &[Arc<Pending>],
        path: &str,
    ) -> Result<Option<Block>, PermissionedError> {
        if let Some(record) = pending.iter().rev().find_map(|pending| pending.get(path)) {
            return Ok(record.clone());
        }
        let record = rows::record(&self.shared.reader, slot.key, path)?;
        Ok(record.map(|record| Block::new(record.cid.codec(), record.bytes)))
    }

    fn stage(
        &self,
        batch: &mut Batch,
        slot: &Slot,
        repo: &mut Repo,
        changes: &[Change],
        now: Timestamp,
    ) -> Result<(), PermissionedError> {
        let (reader, key, rev) = (&self.shared.reader, slot.key, repo.head.rev);
        for (n, change) in (0_u16..).zip(changes) {
            let before = change.before.as_ref().map(|block| block.bytes().len());
            match (&change.after, before) {
                (Some(after), before) => rows::put_record(batch, key, &change.path, rev, after, before)?,
                (None, Some(before)) => rows::delete_record(batch, key, &change.path, before)?,
                (None, None) => {}
            }
            rows::put_op(batch, key, rev, n, &change.op)?;
            let named_before = change.before.as_ref().map(blobs_of).unwrap_or_default();
            if !change.blobs.is_empty() || !named_before.is_empty() {
                let naming = Naming { account: key.account, path: &change.op.path, rev, now, absent: Absent::Refuse };
                stage_private_refs(reader, batch, naming, &key.space, &change.blobs, &named_before)?;
            }
        }
        repo.log_ops += changes.len() as u64;
        if repo.log_ops > LOG_OPS_MAX + LOG_TRIM as u64
            && slot.flight.pending().is_empty()
            && let Some((log_from, gone)) = rows::trim_ops(reader, batch, key, LOG_TRIM)?
        {
            repo.log_from = log_from;
            repo.log_ops = repo.log_ops.saturating_sub(gone);
        }
        Ok(rows::put_repo(batch, key, repo)?)
    }

    /// The next number in the order of a space's changes.
    pub(super) fn next_space_rev(
        &self,
        sequence: &mut Sequence,
        space: &SpaceUri,
        now: Timestamp,
    ) -> Result<Tid, PermissionedError> {
        let digest = space.digest();
        if !sequence.seen.contains(&digest) {
            if let Some(newest) = rows::newest_space_rev(&self.shared.reader, digest)? {
                sequence.clock.observe(newest);
            }
            if sequence.seen.len() >= SEEN_MAX {
                sequence.seen.clear();
            }
            sequence.seen.insert(digest);
        }
        Ok(sequence.clock.next(now)?)
    }
}

/// What a write does at one path.
struct Change {
    path: String,
    op: Op,
    before: Option<Block>,
    after: Option<Block>,
    /// The blobs that the new record names.
    blobs: Vec<BlobRef>,
}

/// The blobs that a stored record refers to.
pub(super) fn blobs_of(block: &Block) -> Vec<BlobRef> {
    match cbor::outline(block.bytes()) {
        Ok(outline) if outline.may_name_blobs => {
            cbor::decode(block.bytes()).map(|value| blob_refs(&value)).unwrap_or_default()
        }
        _ => Vec::new(),
    }
}

/// Reads back the path that a row was stored under.
pub(super) fn path_of(text: &str) -> Option<RepoPath> {
    text.parse().ok()
}
