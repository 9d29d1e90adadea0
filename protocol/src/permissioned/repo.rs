//! A permissioned repository: the records of one author in one space, summed up by a revision and a set hash
//! (proposal 0016, "Permissioned repos").
//!
//! It has no tree and no history of its own. The log of operations beside it is a convenience of whoever hosts it.

use serde::{Deserialize, Serialize};

use super::set_hash::SetHash;
use super::wire::commit::SignedCommit;
use crate::data::Cid;
use crate::ids::{RepoPath, Tid};
use crate::limits::PERMISSIONED_RECORDS_MAX;

/// Where a repository stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The newest revision.
    pub rev: Tid,
    /// The hash over its records.
    pub hash: SetHash,
    /// How many records it holds.
    pub records: u64,
}

/// What a write did at one path. Operations of one revision belong together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Op {
    /// Where.
    pub path: RepoPath,
    /// The record that is there since; none after a deletion.
    pub cid: Option<Cid>,
    /// The record that was there before; none before a creation.
    pub prev: Option<Cid>,
}

/// Why operations do not lead on from a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdvanceError {
    /// The revision is not later than the one before it.
    #[error("the revision {rev} does not follow {head}")]
    Revision {
        /// The revision of the operations.
        rev: Tid,
        /// The newest revision.
        head: Tid,
    },
    /// More would be taken away than there is.
    #[error("the operations take away more records than the repository holds")]
    Underflow,
    /// More than [`PERMISSIONED_RECORDS_MAX`] records.
    #[error("a permissioned repository holds at most {PERMISSIONED_RECORDS_MAX} records")]
    TooManyRecords,
}

/// Whether a copy of a repository is the same as the original.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// The copy is what the commit says.
    Same,
    /// It is another set of records, or of another revision: it has to be fetched anew.
    Diverged,
}

impl Head {
    /// A repository that holds nothing yet.
    #[must_use]
    pub fn empty() -> Self {
        Self { rev: Tid::MIN, hash: SetHash::default(), records: 0 }
    }

    /// Goes on to `rev` by `ops`. Nothing changes when it fails.
    ///
    /// # Errors
    /// [`AdvanceError`], by what does not fit.
    pub fn advance<'a>(&mut self, rev: Tid, ops: impl IntoIterator<Item = &'a Op>) -> Result<(), AdvanceError> {
        if rev <= self.rev {
            return Err(AdvanceError::Revision { rev, head: self.rev });
        }
        let (mut hash, mut records) = (self.hash.clone(), self.records);
        for op in ops {
            let path = op.path.to_string();
            if let Some(prev) = op.prev {
                hash.remove(&path, prev);
                records = records.checked_sub(1).ok_or(AdvanceError::Underflow)?;
            }
            if let Some(cid) = op.cid {
                hash.add(&path, cid);
                records += 1;
            }
        }
        if records > PERMISSIONED_RECORDS_MAX {
            return Err(AdvanceError::TooManyRecords);
        }
        *self = Self { rev, hash, records };
        Ok(())
    }

    /// Whether this copy is what a commit says. The commit is to be verified first.
    #[must_use]
    pub fn agrees(&self, commit: &SignedCommit) -> Agreement {
        if self.rev == commit.rev && self.hash.digest() == commit.hash { Agreement::Same } else { Agreement::Diverged }
    }
}
