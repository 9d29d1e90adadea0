//! Believing a commit of another host: signature, contents, and that its changes lead from the tree before to its own
//! (proposal 0006, "Sync v1.1": `prevData` and operation inversion).

use std::collections::BTreeSet;

use super::blocks::{BlockSource, MemoryBlocks};
use super::car::{self, CarError, CarLimits};
use super::commit::{CommitError, SignedCommit};
use super::mst::{Change, Mst, MstError, MstKey};
use super::write::{NewCommit, Repository};
use crate::crypto::{BadSignature, VerifyingKey};
use crate::data::{Block, Cid};
use crate::ids::{Did, Tid};
use crate::limits::{COMMIT_CAR_BLOCKS_MAX, COMMIT_CAR_BYTES_MAX, COMMIT_WRITES_MAX};

/// What the firehose's `#commit` says, its fields already of their types.
#[derive(Clone, Copy, Debug)]
pub struct CommitMessage<'a> {
    /// `repo`: the account.
    pub repo: &'a Did,
    /// `commit`.
    pub commit: Cid,
    /// `rev`.
    pub rev: Tid,
    /// `since`: the revision before; `None` for the first commit.
    pub since: Option<Tid>,
    /// `prevData`: the tree before; `None` for the first commit.
    pub prev_data: Option<Cid>,
    /// `ops`.
    pub changes: &'a [Change],
    /// `blocks`: a CAR file.
    pub car: &'a [u8],
}

/// A commit that holds together by itself. Whether it follows on what is known of the account,
/// [`Repository::follow`] decides.
#[derive(Clone, Debug)]
pub struct VerifiedCommit {
    commit: SignedCommit,
    since: Option<Tid>,
    prev_data: Option<Cid>,
    changes: Vec<Change>,
    records: Vec<Block>,
}

/// Why a commit message is not believed.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// More changes than [`COMMIT_WRITES_MAX`].
    #[error("the commit makes more than {COMMIT_WRITES_MAX} changes")]
    TooManyChanges,
    /// Two changes of one path.
    #[error("the commit changes {0} twice")]
    Repeated(MstKey),
    /// A change that says neither what was nor what is.
    #[error("the commit changes nothing at {0}")]
    NoChange(MstKey),
    /// The blocks cannot be read.
    #[error(transparent)]
    Car(#[from] CarError),
    /// The blocks lack the commit, or do not have it as their root.
    #[error("the blocks do not hold the commit as their root")]
    NoCommit,
    /// The commit cannot be read.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The commit is of another account.
    #[error("the commit is of {found}, the message of {expected}")]
    OtherAccount {
        /// The account of the message.
        expected: Did,
        /// The account of the commit.
        found: Did,
    },
    /// The commit has another revision.
    #[error("the commit has revision {found}, the message {expected}")]
    OtherRev {
        /// The revision of the message.
        expected: Tid,
        /// The revision of the commit.
        found: Tid,
    },
    /// The revision is not greater than the one before.
    #[error("the revision {rev} is not newer than {since}")]
    RevNotNewer {
        /// The one before.
        since: Tid,
        /// The commit's.
        rev: Tid,
    },
    /// The signature does not fit.
    #[error(transparent)]
    Signature(#[from] BadSignature),
    /// A created or updated record is not among the blocks.
    #[error("the record at {0} is not among the blocks")]
    MissingRecord(MstKey),
    /// There was a commit before, and the message does not say which tree it had.
    #[error("the message does not say which tree was there before")]
    NoPrevData,
    /// Undoing the changes does not lead to the tree before.
    #[error("undoing the changes leads to the tree {found}, not to {expected}")]
    OtherPrevData {
        /// The tree that the message says was there before.
        expected: Cid,
        /// The tree that undoing leads to.
        found: Cid,
    },
    /// A change was not made, or the blocks do not hold what undoing needs.
    #[error(transparent)]
    Tree(#[from] MstError),
}

/// Why a verified commit does not follow on a repository.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// Of another account.
    #[error("the commit is of {0}, another account")]
    OtherAccount(Did),
    /// This commit, or a later one, is here already.
    #[error("revision {0} is here already")]
    Known(Tid),
    /// Something is missing in between, or there are two histories.
    #[error("the commit follows on revision {since:?}; here is {head}")]
    Gap {
        /// The revision here.
        head: Tid,
        /// The revision that the commit follows on.
        since: Option<Tid>,
    },
    /// The changes do not lead from the tree here to the commit's.
    #[error("the changes do not lead to the tree {0} of the commit")]
    OtherTree(Cid),
    /// The tree here cannot be read.
    #[error(transparent)]
    Tree(#[from] MstError),
}

/// Checks everything that can be checked with the account's key alone. What costs least comes first.
///
/// Whether the revision lies in the future is for the caller, who knows the time:
/// [`SignedCommit::is_from_the_future`].
///
/// # Errors
/// [`VerifyError`], by what is wrong.
pub fn verify_commit(message: CommitMessage<'_>, key: VerifyingKey) -> Result<VerifiedCommit, VerifyError> {
    check_changes(message.changes)?;
    if let Some(since) = message.since.filter(|since| *since >= message.rev) {
        return Err(VerifyError::RevNotNewer { since, rev: message.rev });
    }
    let (root, blocks) = read(message.car)?;
    let commit = match blocks.block(&message.commit) {
        Some(block) if root == message.commit => SignedCommit::decode(block)?,
        _ => return Err(VerifyError::NoCommit),
    };
    check_identity(message.repo, message.rev, &commit)?;
    commit.verify(key)?;

    let records = records(&blocks, message.changes)?;
    check_inversion(&blocks, commit.data(), &message)?;
    let (since, prev_data, changes) = (message.since, message.prev_data, message.changes.to_vec());
    Ok(VerifiedCommit { commit, since, prev_data, changes, records })
}

/// Checks the firehose's `#sync`, which says where an account's repository is without saying how it came there: `did`,
/// `rev` and `blocks`. The repository itself is to be fetched when the commit is not known yet.
///
/// # Errors
/// [`VerifyError`], by what is wrong.
pub fn verify_sync(did: &Did, rev: Tid, car: &[u8], key: VerifyingKey) -> Result<SignedCommit, VerifyError> {
    let (root, blocks) = read(car)?;
    let commit = SignedCommit::decode(blocks.block(&root).ok_or(VerifyError::NoCommit)?)?;
    check_identity(did, rev, &commit)?;
    commit.verify(key)?;
    Ok(commit)
}

/// The root and the blocks of a message.
fn read(file: &[u8]) -> Result<(Cid, MemoryBlocks), VerifyError> {
    let limits = CarLimits { bytes_max: COMMIT_CAR_BYTES_MAX as u64, blocks_max: COMMIT_CAR_BLOCKS_MAX };
    let (roots, blocks) = car::decode(file, limits)?;
    let root = roots.first().ok_or(VerifyError::NoCommit)?;
    Ok((*root, blocks.iter().collect()))
}

fn check_changes(changes: &[Change]) -> Result<(), VerifyError> {
    if changes.len() > COMMIT_WRITES_MAX {
        return Err(VerifyError::TooManyChanges);
    }
    let mut seen = BTreeSet::new();
    for Change { key, before, after } in changes {
        if !seen.insert(key) {
            return Err(VerifyError::Repeated(key.clone()));
        }
        if before.is_none() && after.is_none() {
            return Err(VerifyError::NoChange(key.clone()));
        }
    }
    Ok(())
}

fn check_identity(did: &Did, rev: Tid, commit: &SignedCommit) -> Result<(), VerifyError> {
    if commit.did() != did {
        return Err(VerifyError::OtherAccount { expected: did.clone(), found: commit.did().clone() });
    }
    if commit.rev() != rev {
        return Err(VerifyError::OtherRev { expected: rev, found: commit.rev() });
    }
    Ok(())
}

fn records(blocks: &MemoryBlocks, changes: &[Change]) -> Result<Vec<Block>, VerifyError> {
    let written = changes.iter().filter_map(|change| Some((&change.key, change.after?)));
    written.map(|(key, cid)| blocks.block(&cid).ok_or_else(|| VerifyError::MissingRecord(key.clone()))).collect()
}

/// Undoes the changes on the commit's tree, by the nodes that were sent.
fn check_inversion(blocks: &MemoryBlocks, data: Cid, message: &CommitMessage<'_>) -> Result<(), VerifyError> {
    let expected = match (message.prev_data, message.since) {
        (Some(prev_data), _) => prev_data,
        (None, None) => Mst::empty().commit().root,
        (None, Some(_)) => return Err(VerifyError::NoPrevData),
    };
    let mut tree = Mst::open(data);
    tree.undo(blocks, message.changes)?;
    let found = tree.commit().root;
    if found == expected { Ok(()) } else { Err(VerifyError::OtherPrevData { expected, found }) }
}

impl VerifiedCommit {
    /// The commit.
    #[must_use]
    pub const fn commit(&self) -> &SignedCommit {
        &self.commit
    }

    /// What it changed.
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// The records it created or updated.
    #[must_use]
    pub fn records(&self) -> &[Block] {
        &self.records
    }
}

impl Repository {
    /// The repository one commit further, as the host of the account made it. The result is stored as a commit made
    /// here is.
    ///
    /// # Errors
    /// [`FollowError`], by what is wrong; [`FollowError::Gap`] asks for what is missing.
    pub fn follow(&self, source: &dyn BlockSource, verified: VerifiedCommit) -> Result<NewCommit, FollowError> {
        let VerifiedCommit { commit, since, prev_data, changes, records } = verified;
        if commit.did() != self.head().did() {
            return Err(FollowError::OtherAccount(commit.did().clone()));
        }
        if commit.rev() <= self.head().rev() {
            return Err(FollowError::Known(commit.rev()));
        }
        if since != Some(self.head().rev()) || prev_data != Some(self.head().data()) {
            return Err(FollowError::Gap { head: self.head().rev(), since });
        }
        let data = commit.data();
        let mut next = self.replay(source, commit, changes, records)?;
        if next.repository.root() == data { Ok(next) } else { Err(FollowError::OtherTree(data)) }
    }
}
