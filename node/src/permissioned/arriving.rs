//! A whole repository as it arrives in a CAR file. The index before the records was held against the commit, and each of
//! the records is held against the index, so what is handed on is what the commit says. The index is put aside meanwhile:
//! memory does not depend on the size of the repository. Whether the commit is the author's, and where the records go, is
//! the business of whoever receives them.

use std::path::Path;

use angel_protocol::data::{Block, Cid};
use angel_protocol::ids::{RepoPath, Tid};
use angel_protocol::permissioned::wire::car::{self, RepoCarError};
use angel_protocol::permissioned::wire::commit::SignedCommit;
use angel_protocol::permissioned::{Head, SetHash};

use super::PermissionedError;
use super::aside::{Aside, Entries};
use super::copies::{STEP_BYTES, STEP_OPS};
use crate::blocking;

/// Why what arrives is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArrivalError {
    /// Not a repository in a CAR file.
    #[error(transparent)]
    Car(#[from] RepoCarError),
    /// Parts are missing, or not in their order.
    #[error("the parts of the repository are not in their order")]
    Order,
    /// Other records than the index names.
    #[error("the records are not those that the index names")]
    Records,
    /// More records, or bytes of them, than are taken.
    #[error("the repository holds more records, or larger ones, than are taken")]
    TooMany,
    /// The store or the spool fails.
    #[error(transparent)]
    Store(#[from] PermissionedError),
}

/// Records that are stored together.
pub(super) type Records = Vec<(String, Block)>;

/// A repository that is arriving.
pub(super) struct Arriving {
    commit: Option<SignedCommit>,
    index: Index,
    records: u64,
    records_max: u64,
    bytes: u64,
    bytes_max: u64,
    step: Records,
    step_bytes: usize,
}

/// What has arrived of the index.
enum Index {
    /// Some entries.
    Part(Aside),
    /// All of them, which lead to this digest; and how far the records behind it are.
    Whole(SetHash, Entries),
    /// It is with a thread that writes or reads it; left behind by an error.
    Elsewhere,
}

/// All of a repository has arrived.
pub(super) struct Arrived {
    /// Where the repository is.
    pub(super) head: Head,
    /// The records that were not handed on before.
    pub(super) last: Records,
    /// The entries of its index.
    pub(super) entries: Entries,
    /// The bytes of the records that were wanted.
    pub(super) bytes: u64,
}

impl Arriving {
    /// Nothing has arrived yet. At most so many records, and bytes of those that are wanted, are taken; a long index is
    /// put aside in `dir`.
    pub(super) fn new(dir: &Path, records_max: u64, bytes_max: u64) -> Self {
        let index = Index::Part(Aside::new(dir));
        Self { commit: None, index, records: 0, records_max, bytes: 0, bytes_max, step: Vec::new(), step_bytes: 0 }
    }

    /// The commit, which is believed.
    pub(super) fn commit(&mut self, commit: SignedCommit) {
        self.commit = Some(commit);
    }

    /// The revision of the commit.
    pub(super) fn rev(&self) -> Tid {
        self.commit.as_ref().map_or(Tid::MIN, |commit| commit.rev)
    }

    /// An entry of the index.
    pub(super) async fn entry(&mut self, path: &str, cid: Cid) -> Result<(), ArrivalError> {
        self.records += 1;
        if self.records > self.records_max {
            return Err(ArrivalError::TooMany);
        }
        let Index::Part(aside) = &mut self.index else { return Err(ArrivalError::Order) };
        car::write_entry(aside.end(), path, cid);
        if aside.is_full()
            && let Index::Part(aside) = std::mem::replace(&mut self.index, Index::Elsewhere)
        {
            self.index = Index::Part(blocking::run(move || aside.settle_blocking()).await.map_err(put_aside)?);
        }
        Ok(())
    }

    /// The index has ended, and leads to this digest.
    pub(super) async fn index_end(&mut self, hash: SetHash) -> Result<(), ArrivalError> {
        let Index::Part(aside) = std::mem::replace(&mut self.index, Index::Elsewhere) else {
            return Err(ArrivalError::Order);
        };
        let index = blocking::run(move || aside.finish_blocking()).await.map_err(put_aside)?;
        self.index = Index::Whole(hash, Entries::of_entries(index));
        Ok(())
    }

    /// A record. When there are enough to be stored, they are handed on.
    pub(super) async fn record(
        &mut self,
        block: Block,
        wanted: fn(&RepoPath) -> bool,
    ) -> Result<Option<Records>, ArrivalError> {
        let (path, cid) = self.next_entry().await?.ok_or(ArrivalError::Records)?;
        if block.cid() != cid {
            return Err(ArrivalError::Records);
        }
        if !path.parse().is_ok_and(|path| wanted(&path)) {
            return Ok(None);
        }
        self.bytes += block.bytes().len() as u64;
        if self.bytes > self.bytes_max {
            return Err(ArrivalError::TooMany);
        }
        self.step_bytes += block.bytes().len();
        self.step.push((path, block));
        if self.step.len() < STEP_OPS && self.step_bytes < STEP_BYTES {
            return Ok(None);
        }
        self.step_bytes = 0;
        Ok(Some(std::mem::take(&mut self.step)))
    }

    /// The entry of the next record.
    async fn next_entry(&mut self) -> Result<Option<(String, Cid)>, ArrivalError> {
        let Index::Whole(_, entries) = &mut self.index else { return Err(ArrivalError::Order) };
        if let Some(entry) = entries.at_hand()? {
            return Ok(Some(entry));
        }
        let Index::Whole(hash, mut entries) = std::mem::replace(&mut self.index, Index::Elsewhere) else {
            return Err(ArrivalError::Order);
        };
        let (entry, entries) = blocking::run(move || (entries.next_blocking(), entries)).await;
        self.index = Index::Whole(hash, entries);
        Ok(entry?)
    }

    /// Everything has arrived, if nothing is missing.
    pub(super) fn finish(self) -> Result<Arrived, ArrivalError> {
        let (Some(commit), Index::Whole(hash, entries)) = (self.commit, self.index) else {
            return Err(ArrivalError::Order);
        };
        let head = Head { rev: commit.rev, hash, records: self.records };
        let entries = Entries::of_entries(entries.into_index());
        Ok(Arrived { head, last: self.step, entries, bytes: self.bytes })
    }
}

fn put_aside(error: std::io::Error) -> ArrivalError {
    PermissionedError::from(error).into()
}
