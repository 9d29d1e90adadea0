//! From writes to a commit that is durable.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use angel_protocol::crypto::SigningKey;
use angel_protocol::data::{BlobRef, Block, Cid, Codec, blob_refs, cbor};
use angel_protocol::ids::{Did, RepoPath, Tid};
use angel_protocol::repo::mst::{Change, MstKey};
use angel_protocol::repo::{BlockSource, NewCommit, Repository, SourceError, Write, WriteError};
use angel_storage::batch::RowRefused;
use angel_storage::blobs::Absent;
use angel_storage::repos::{self, Contents, Head, Record, Totals};
use angel_storage::{AccountId, Batch, CommitError, Reader, firehose};
use tokio::sync::oneshot;

use super::cache::{Open, Pending, Slot, TREE_BYTES_MAX};
use super::staging::{Staged, Staging};
use super::{Action, Owner, RepoError, RepoWrite, Repos, Swap};
use crate::{blocking, clock};

/// What a fresh node that is remembered counts for among the bytes of the tree in memory.
const FRESH_BYTES: usize = 2 * size_of::<Cid>();

/// A commit that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Made {
    /// Its CID.
    pub cid: Cid,
    /// Its revision.
    pub rev: Tid,
}

/// What a write comes to.
enum Ready {
    /// A commit, which the batch makes durable.
    Commit { made: Made, batch: Batch },
    /// Nothing; it was so already, once batch `after` is durable.
    Unchanged { after: u64 },
}

/// What a write became.
enum Settled {
    /// A commit, which is durable, with the sequence of its last event.
    Made(Made, Option<u64>),
    /// See [`Ready::Unchanged`].
    Unchanged { after: u64 },
}

/// How followers are told of a commit.
enum Told {
    Commit,
    Sync,
}

impl Repos {
    /// Makes one commit of `writes`, all of them or none, and returns when it is durable. Writes to one repository
    /// queue up; none is refused for another. `None` when nothing was to be changed.
    ///
    /// # Errors
    /// [`RepoError`], by what is wrong.
    pub async fn write(
        &self,
        owner: &Owner,
        writes: Vec<RepoWrite>,
        swap: Option<Cid>,
    ) -> Result<Option<Made>, RepoError> {
        let guard = self.may_write(owner.id).await?;
        let (made, sequence) = self.submit(owner, move |_| Ok(()), Told::Commit, writes, swap).await?;
        if let Some(guard) = guard {
            guard.replicated(sequence).await?;
        }
        Ok(made)
    }

    /// Signs the tree anew and tells followers with `#sync` where it is: after an import, a change of key, or a time
    /// in which the repository was not served. `stage` adds what else belongs to the same batch, ahead of that event.
    ///
    /// # Errors
    /// [`RepoError`], by what is wrong.
    pub async fn resync(
        &self,
        owner: &Owner,
        stage: impl FnOnce(&mut Batch) -> Result<(), RowRefused> + Send + 'static,
    ) -> Result<Made, RepoError> {
        let (made, _) = self.submit(owner, stage, Told::Sync, Vec::new(), None).await?;
        Ok(made.expect("a commit that is asked for by name is made"))
    }

    /// Adds an empty repository for a new account to `batch`. Whoever writes the batch tells of the commit.
    ///
    /// # Errors
    /// The batch is full, or the clock is at its end.
    pub fn stage_new(
        &self,
        batch: &mut Batch,
        account: AccountId,
        did: &Did,
        key: &SigningKey,
    ) -> Result<NewCommit, RepoError> {
        let rev = self.clock_after(None).next(clock::now())?;
        let first = Repository::create(did.clone(), rev, key);
        let contents = Contents { account, generation: 0 };
        for node in &first.nodes {
            repos::put_node(batch, contents, rev, node)?;
        }
        let totals = Totals { nodes: first.nodes.len() as u64, ..Totals::default() };
        repos::put_head(batch, &Head { commit: first.repository.head().clone(), contents, totals })?;
        Ok(first)
    }

    async fn submit(
        &self,
        owner: &Owner,
        stage: impl FnOnce(&mut Batch) -> Result<(), RowRefused> + Send + 'static,
        told: Told,
        writes: Vec<RepoWrite>,
        swap: Option<Cid>,
    ) -> Result<(Option<Made>, Option<u64>), RepoError> {
        let slot = self.shared.cache.slot(owner.id);
        let mut open = Arc::clone(&slot.open).lock_owned().await;
        let (repos, owner, at) = (self.clone(), owner.clone(), Arc::clone(&slot));
        let settled = blocking::answered(move |answer: oneshot::Sender<Result<Settled, RepoError>>| {
            let ready = repos.make(&at, &mut open, &owner, stage, &told, writes, swap);
            // Whoever asked may have gone; a commit stands.
            match ready {
                Ok(Ready::Commit { made, batch }) => repos.shared.writer.submit_blocking(batch, move |outcome| {
                    at.flight.land(outcome.is_ok());
                    let settled = outcome.map(|committed| Settled::Made(made, committed.last_sequence));
                    drop(answer.send(settled.map_err(RepoError::from)));
                }),
                Ok(Ready::Unchanged { after }) => drop(answer.send(Ok(Settled::Unchanged { after }))),
                Err(error) => drop(answer.send(Err(error))),
            }
            // The next one follows in the order in which batches are handed over.
            drop(open);
        });
        match settled.await.unwrap_or_else(|| Err(CommitError::Closed.into()))? {
            Settled::Made(made, last) => Ok((Some(made), last)),
            Settled::Unchanged { after } => {
                slot.flight.until_durable(after).await?;
                Ok((None, None))
            }
        }
    }

    /// Makes the commit. What is held open follows it: whoever calls this hands the batch to the store, before anybody
    /// else comes to the repository. Blocks.
    #[expect(clippy::too_many_arguments, reason = "one call, which moves all of them to another thread")]
    fn make(
        &self,
        slot: &Arc<Slot>,
        place: &mut Option<Open>,
        owner: &Owner,
        stage: impl FnOnce(&mut Batch) -> Result<(), RowRefused>,
        told: &Told,
        writes: Vec<RepoWrite>,
        swap: Option<Cid>,
    ) -> Result<Ready, RepoError> {
        if slot.flight.has_failed() {
            // The store has stopped, or is about to: what is in memory was never written.
            return Err(CommitError::Closed.into());
        }
        let open = match place {
            Some(open) => open,
            None => place.insert(Open::load(&self.shared.reader, slot.account)?),
        };
        let head = open.repository.head();
        if swap.is_some_and(|swap| swap != head.cid()) {
            return Err(RepoError::HeadSwapped(head.cid()));
        }
        let pending = slot.flight.pending();
        let blocks = Blocks::new(&self.shared.reader, open.contents, &pending);
        let writes = self.alone(&open.repository, &blocks, writes)?;
        let (writes, blobs) = resolve(&open.repository, &blocks, writes)?;
        if writes.is_empty() && matches!(told, Told::Commit) {
            return Ok(Ready::Unchanged { after: slot.flight.handed_over() });
        }

        let now = clock::now();
        let rev = self.clock_after(Some(head.rev())).next(now)?;
        let new = open.repository.write(&blocks, writes, rev, &owner.key)?;
        let mut batch = Batch::new();
        let (contents, keeps, absent) = (open.contents, slot.is_exported(), Absent::Refuse);
        let staging = Staging { repos: self, blocks: &blocks, contents, rev, now, keeps, absent };
        let staged = staging.stage(&mut batch, open, &new, &blobs)?;
        stage(&mut batch)?;
        batch.append_event(match told {
            Told::Commit => firehose::commit(owner.id, &new, now)?,
            Told::Sync => firehose::sync(owner.id, new.repository.head(), now)?,
        })?;

        // From here on nothing fails: the batch is on its way, and what is held open follows it.
        if staging.keeps {
            slot.set_retained(true);
        }
        let made = Made { cid: new.repository.head().cid(), rev };
        let fetched = blocks.fetched.get() + new.nodes.iter().map(|node| node.bytes().len()).sum::<usize>();
        open.advance(slot, &new, &staged, fetched);
        open.follow(staged.collections);
        slot.flight.hand_over(pending_of(new, staged.settled));
        Ok(Ready::Commit { made, batch })
    }

    /// The writes, each that takes the place of others behind the removal of those.
    fn alone(
        &self,
        repository: &Repository,
        blocks: &Blocks<'_>,
        writes: Vec<RepoWrite>,
    ) -> Result<Vec<RepoWrite>, RepoError> {
        let mut all = Vec::with_capacity(writes.len());
        for write in writes {
            if let Action::CreateInPlace(record) = &write.action {
                let rivals = self.rivals(repository, blocks, &write.path, record)?;
                let removal = |(path, cid)| RepoWrite { path, action: Action::Delete, swap: Some(Swap::Record(cid)) };
                all.extend(rivals.into_iter().map(removal));
            }
            all.push(write);
        }
        Ok(all)
    }

    /// The record at `path` as the batches handed over leave it.
    pub(super) fn record_before(&self, blocks: &Blocks<'_>, path: &str) -> Result<Record, RepoError> {
        for pending in blocks.pending.iter().rev() {
            if let Some(record) = pending.records.get(path) {
                let block = record.as_ref().ok_or(RepoError::Broken("the tree has a record that was deleted"))?;
                return Ok(Record { cid: block.cid(), rev: Tid::MIN, bytes: block.bytes().to_vec() });
            }
        }
        let record = repos::record(&self.shared.reader, blocks.contents, path)?;
        record.ok_or(RepoError::Broken("the tree has a record that is not stored"))
    }
}

impl Open {
    /// Goes on to the next commit.
    pub(super) fn advance(&mut self, slot: &Slot, new: &NewCommit, staged: &Staged, fetched: usize) {
        self.repository = new.repository.clone();
        self.fresh.extend(new.nodes.iter().map(Block::cid));
        for cid in new.removed.iter().chain(&staged.settled) {
            self.fresh.remove(cid);
        }
        self.totals = staged.totals;
        self.settle_at = staged.settle_at;
        self.tree_bytes += fetched;
        if self.tree_bytes > TREE_BYTES_MAX {
            self.repository.unload();
            self.tree_bytes = 0;
        }
        slot.set_tree_bytes(self.tree_bytes + self.fresh.len() * FRESH_BYTES);
    }
}

/// The blobs that records refer to, by path.
pub(super) type Blobs = HashMap<String, Vec<BlobRef>>;

/// What the writes come to, given what is there: those that change something, and the blobs of their records.
fn resolve(
    repository: &Repository,
    blocks: &Blocks<'_>,
    writes: Vec<RepoWrite>,
) -> Result<(Vec<Write>, Blobs), RepoError> {
    let mut resolved = Vec::with_capacity(writes.len());
    let mut blobs = Blobs::new();
    let mut written: HashMap<RepoPath, Option<Cid>> = HashMap::new();
    for RepoWrite { path, action, swap } in writes {
        let asks = swap.is_some() || matches!(action, Action::Put(_) | Action::Remove);
        let before = match written.get(&path) {
            Some(before) => *before,
            None if asks => repository.get(blocks, &key_of(&path)?)?,
            None => None,
        };
        if swap.is_some_and(|swap| before != swap.expected()) {
            return Err(RepoError::RecordSwapped { path, found: before });
        }
        let (write, after) = match (action, before) {
            (Action::Put(record), Some(before)) if before == record.cid() => continue,
            (Action::Remove, None) => continue,
            (Action::Put(record), Some(_)) | (Action::Update(record), _) => {
                (Write::Update { path: path.clone(), record: record.block.clone() }, Some(record))
            }
            (Action::Put(record), None) | (Action::Create(record) | Action::CreateInPlace(record), _) => {
                (Write::Create { path: path.clone(), record: record.block.clone() }, Some(record))
            }
            (Action::Delete, _) | (Action::Remove, Some(_)) => (Write::Delete { path: path.clone() }, None),
        };
        resolved.push(write);
        written.insert(path.clone(), after.as_ref().map(super::NewRecord::cid));
        match after {
            Some(record) if !record.blobs.is_empty() => drop(blobs.insert(path.to_string(), record.blobs)),
            _ => drop(blobs.remove(&path.to_string())),
        }
    }
    Ok((resolved, blobs))
}

impl Swap {
    const fn expected(self) -> Option<Cid> {
        match self {
            Self::Absent => None,
            Self::Record(cid) => Some(cid),
        }
    }
}

pub(super) fn key_of(path: &RepoPath) -> Result<MstKey, RepoError> {
    let key = MstKey::try_from(path);
    key.map_err(|reason| RepoError::Write(WriteError::Key { path: path.clone(), reason }))
}

/// The first part of a path.
pub(super) fn collection_of(path: &str) -> &str {
    path.split_once('/').map_or(path, |(collection, _)| collection)
}

/// The blobs that stored bytes refer to; none when they are no value, as nothing can be learned from them then.
pub(super) fn blobs_of(bytes: &[u8]) -> Vec<BlobRef> {
    match cbor::outline(bytes) {
        Ok(outline) if outline.may_name_blobs => cbor::decode(bytes).map(|value| blob_refs(&value)).unwrap_or_default(),
        _ => Vec::new(),
    }
}

pub(super) fn pending_of(new: NewCommit, settled: Vec<Cid>) -> Pending {
    let records: BTreeMap<Cid, Block> = new.records.into_iter().map(|block| (block.cid(), block)).collect();
    let at = |change: Change| (change.key.as_str().to_owned(), change.after.and_then(|cid| records.get(&cid).cloned()));
    let records = new.changes.into_iter().map(at).collect();
    Pending { nodes: new.nodes, removed: new.removed, settled, records }
}

/// Tree nodes as the batches handed over leave them.
pub(super) struct Blocks<'a> {
    reader: &'a Reader,
    contents: Contents,
    pub(super) pending: &'a [Arc<Pending>],
    /// Bytes that were read.
    pub(super) fetched: Cell<usize>,
}

impl<'a> Blocks<'a> {
    pub(super) const fn new(reader: &'a Reader, contents: Contents, pending: &'a [Arc<Pending>]) -> Self {
        Self { reader, contents, pending, fetched: Cell::new(0) }
    }

    /// Of which contents.
    pub(super) const fn contents(&self) -> Contents {
        self.contents
    }
}

impl BlockSource for Blocks<'_> {
    fn get(&self, cid: &Cid) -> Result<Option<Arc<[u8]>>, SourceError> {
        let found = match self.pending.iter().rev().find_map(|pending| pending.node(cid)) {
            Some(node) => Some(Arc::clone(node.bytes())),
            None if cid.codec() != Codec::DagCbor => None,
            None => repos::node(self.reader, self.contents, *cid)
                .map_err(|error| SourceError(Box::new(error)))?
                .map(|node| node.bytes.into()),
        };
        self.fetched.set(self.fetched.get() + found.as_ref().map_or(0, |bytes| bytes.len()));
        Ok(found)
    }
}
