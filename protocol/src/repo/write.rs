//! From writes to a commit: the new tree, what is new and gone, and the proof that others check it by.

use std::collections::BTreeMap;

use super::blocks::{BlockSource, MemoryBlocks};
use super::car;
use super::commit::{Commit, SignedCommit};
use super::mst::{Change, InvalidMstKey, Mst, MstError, MstKey, TreeChanges};
use crate::crypto::SigningKey;
use crate::data::{Block, Cid};
use crate::ids::{Did, RepoPath, Tid};
use crate::limits::{BLOCK_BYTES_MAX, COMMIT_CAR_BYTES_MAX, COMMIT_WRITES_MAX};

/// One write, as a client asks for it. The record is canonical DAG-CBOR; what it says is not looked at here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Adds a record at a path that has none.
    Create {
        /// Where.
        path: RepoPath,
        /// What.
        record: Block,
    },
    /// Replaces the record at a path.
    Update {
        /// Where.
        path: RepoPath,
        /// What from now on.
        record: Block,
    },
    /// Takes away the record at a path.
    Delete {
        /// Where.
        path: RepoPath,
    },
}

/// An account's repository at its newest commit, with as much of its tree in memory as was used.
///
/// Cheap to clone. A write makes a new value and leaves the old one as it was, so that a commit which could not be
/// stored never happened.
#[derive(Clone, Debug)]
pub struct Repository {
    head: SignedCommit,
    tree: Mst,
}

/// A commit that has been made and not yet stored.
#[derive(Clone, Debug)]
pub struct NewCommit {
    /// The repository as it is once this commit is stored.
    pub repository: Repository,
    /// The revision before; `None` for the first commit.
    pub since: Option<Tid>,
    /// The tree before; `None` for the first commit.
    pub prev_data: Option<Cid>,
    /// What became of each path, at most one change a path, in the order of paths. Two paths may hold one record, so
    /// whoever drops records counts their references by these.
    pub changes: Vec<Change>,
    /// Tree nodes to store.
    pub nodes: Vec<Block>,
    /// Records to store.
    pub records: Vec<Block>,
    /// Blocks that the repository no longer has: tree nodes and the commit before. Records are not among them.
    pub removed: Vec<Cid>,
    /// Tree nodes that others need to undo the changes and arrive at `prev_data`. Some are among `nodes`.
    pub proof: Vec<Block>,
}

/// Why writes make no commit. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// More writes than [`COMMIT_WRITES_MAX`].
    #[error("one commit takes at most {COMMIT_WRITES_MAX} writes")]
    TooManyWrites,
    /// A record is larger than [`BLOCK_BYTES_MAX`].
    #[error("the record at {0} is larger than {BLOCK_BYTES_MAX} bytes")]
    RecordTooLarge(RepoPath),
    /// A path lies too high in the tree.
    #[error("{path} cannot be a key: {reason}")]
    Key {
        /// The path.
        path: RepoPath,
        /// What is wrong with it.
        reason: InvalidMstKey,
    },
    /// The revision is not greater than the one before.
    #[error("the revision {given} is not newer than {head}")]
    RevNotNewer {
        /// The revision of the head.
        head: Tid,
        /// The one given.
        given: Tid,
    },
    /// The commit with its proof is larger than [`COMMIT_CAR_BYTES_MAX`]: make several of it.
    #[error("the commit has {0} bytes with its proof; at most {COMMIT_CAR_BYTES_MAX} can be sent")]
    TooLarge(usize),
    /// The path exists or does not, or the tree cannot be read.
    #[error(transparent)]
    Tree(#[from] MstError),
}

impl Repository {
    /// The first commit of an account: an empty tree.
    #[must_use]
    pub fn create(did: Did, rev: Tid, key: &SigningKey) -> NewCommit {
        let mut tree = Mst::empty();
        let TreeChanges { root, new, .. } = tree.commit();
        let head = Commit { did, data: root, rev, prev: None }.sign(key);
        NewCommit {
            repository: Self { head, tree },
            since: None,
            prev_data: None,
            changes: Vec::new(),
            nodes: new,
            records: Vec::new(),
            removed: Vec::new(),
            proof: Vec::new(),
        }
    }

    /// The repository at `head`, which has been verified or was made here. Nothing is read yet.
    #[must_use]
    pub const fn open(head: SignedCommit) -> Self {
        let tree = Mst::open(head.data());
        Self { head, tree }
    }

    /// The newest commit.
    #[must_use]
    pub const fn head(&self) -> &SignedCommit {
        &self.head
    }

    /// The CID of the record at `key`.
    ///
    /// # Errors
    /// The tree cannot be read.
    pub fn get(&self, source: &dyn BlockSource, key: &MstKey) -> Result<Option<Cid>, MstError> {
        self.tree.get(source, key)
    }

    /// Forgets the part of the tree that is in memory.
    pub fn unload(&mut self) {
        self.tree.unload();
    }

    /// Makes one commit of `writes`, in their order: all of them or none. Without any, it signs the same tree anew.
    ///
    /// # Errors
    /// [`WriteError`], by what is wrong.
    pub fn write(
        &self,
        source: &dyn BlockSource,
        writes: Vec<Write>,
        rev: Tid,
        key: &SigningKey,
    ) -> Result<NewCommit, WriteError> {
        if writes.len() > COMMIT_WRITES_MAX {
            return Err(WriteError::TooManyWrites);
        }
        if rev <= self.head.rev() {
            return Err(WriteError::RevNotNewer { head: self.head.rev(), given: rev });
        }
        let mut tree = self.tree.clone();
        let mut batch = Batch::default();
        for write in writes {
            batch.apply(&mut tree, source, write)?;
        }
        let (changes, records) = batch.finish();
        let TreeChanges { root, new, removed } = tree.commit();
        let head = Commit { did: self.head.did().clone(), data: root, rev, prev: None }.sign(key);
        let proof = tree.covering_proof(source, &changes)?;
        let commit = self.next(Self { head, tree }, changes, new, records, removed, proof);
        let bytes = commit.car_bytes();
        if bytes > COMMIT_CAR_BYTES_MAX { Err(WriteError::TooLarge(bytes)) } else { Ok(commit) }
    }

    /// Applies changes that another host has committed to, and that [`verify_commit`](super::verify_commit) found to
    /// lead from this tree to the one of `head`.
    pub(super) fn replay(
        &self,
        source: &dyn BlockSource,
        head: SignedCommit,
        changes: Vec<Change>,
        records: Vec<Block>,
    ) -> Result<NewCommit, MstError> {
        let mut tree = self.tree.clone();
        for change in &changes {
            let found = match change.after {
                Some(after) => tree.put(source, &change.key, after)?,
                None => Some(tree.delete(source, &change.key)?),
            };
            if found != change.before {
                return Err(MstError::OtherValue(change.key.clone()));
            }
        }
        let TreeChanges { new, removed, .. } = tree.commit();
        let proof = tree.covering_proof(source, &changes)?;
        Ok(self.next(Self { head, tree }, changes, new, records, removed, proof))
    }

    /// The root of the tree in memory, all changes committed.
    pub(super) fn root(&mut self) -> Cid {
        self.tree.commit().root
    }

    fn next(
        &self,
        repository: Self,
        changes: Vec<Change>,
        nodes: Vec<Block>,
        records: Vec<Block>,
        mut removed: Vec<Cid>,
        proof: Vec<Block>,
    ) -> NewCommit {
        removed.push(self.head.cid());
        let (since, prev_data) = (Some(self.head.rev()), Some(self.head.data()));
        NewCommit { repository, since, prev_data, changes, nodes, records, removed, proof }
    }
}

fn key_of(path: &RepoPath) -> Result<MstKey, WriteError> {
    MstKey::try_from(path).map_err(|reason| WriteError::Key { path: path.clone(), reason })
}

/// What several writes come to, path by path.
#[derive(Default)]
struct Batch {
    changes: BTreeMap<MstKey, (Option<Cid>, Option<Cid>)>,
    records: MemoryBlocks,
}

impl Batch {
    fn apply(&mut self, tree: &mut Mst, source: &dyn BlockSource, write: Write) -> Result<(), WriteError> {
        let (key, before, after) = match write {
            Write::Create { path, record } => {
                let key = key_of(&path)?;
                tree.add(source, &key, self.record(path, &record)?)?;
                (key, None, Some(record.cid()))
            }
            Write::Update { path, record } => {
                let key = key_of(&path)?;
                let before = tree.update(source, &key, self.record(path, &record)?)?;
                (key, Some(before), Some(record.cid()))
            }
            Write::Delete { path } => {
                let key = key_of(&path)?;
                let before = tree.delete(source, &key)?;
                (key, Some(before), None)
            }
        };
        self.changes.entry(key).and_modify(|change| change.1 = after).or_insert((before, after));
        Ok(())
    }

    fn record(&mut self, path: RepoPath, record: &Block) -> Result<Cid, WriteError> {
        if record.bytes().len() > BLOCK_BYTES_MAX {
            return Err(WriteError::RecordTooLarge(path));
        }
        self.records.insert(record);
        Ok(record.cid())
    }

    /// What is left when writes to one path have been taken together: the changes, and the records they need.
    fn finish(self) -> (Vec<Change>, Vec<Block>) {
        let changes: Vec<Change> = self
            .changes
            .into_iter()
            .filter(|(_, (before, after))| before != after)
            .map(|(key, (before, after))| Change { key, before, after })
            .collect();
        let mut records = self.records;
        let needed = changes.iter().filter_map(|change| records.take(&change.after?)).collect();
        (changes, needed)
    }
}

impl NewCommit {
    /// Every block to store: the commit, the new nodes, the new records.
    pub fn blocks(&self) -> impl Iterator<Item = &Block> {
        std::iter::once(self.repository.head.block()).chain(&self.nodes).chain(&self.records)
    }

    /// The blocks that others are sent, the commit first: what is stored, and the rest of the proof.
    fn sent(&self) -> impl Iterator<Item = &Block> {
        let is_new = |block: &&Block| !self.nodes.iter().any(|node| node.cid() == block.cid());
        self.blocks().chain(self.proof.iter().filter(is_new))
    }

    fn car_bytes(&self) -> usize {
        self.sent().map(car::block_bytes).sum::<usize>() + car::HEADER_BYTES
    }

    /// The field `blocks` of the firehose's `#commit`: a CAR file that verifies on its own.
    #[must_use]
    pub fn car(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.car_bytes());
        car::write_header(&mut out, self.repository.head.cid());
        self.sent().for_each(|block| car::write_block(&mut out, block));
        out
    }
}
