//! A copy made anew from the whole repository. Its records go into the copy as they arrive, for the index before them was
//! held against the commit, and each of them is held against the index. The index is put aside meanwhile: memory does not
//! depend on the size of the repository.

use std::collections::HashSet;
use std::time::Instant;

use angel_protocol::data::{Block, Cid};
use angel_protocol::ids::{RepoPath, Tid};
use angel_protocol::limits::SPACE_COPY_RECORDS_MAX;
use angel_protocol::permissioned::wire::car::{self, Found, RepoCarReader};
use angel_protocol::permissioned::wire::commit::SignedCommit;
use angel_protocol::permissioned::{Head, SetHash};
use futures::future::BoxFuture;

use super::{PullError, Puller, asking};
use crate::blocking;
use crate::permissioned::PermissionedError;
use crate::permissioned::aside::{Aside, Entries};
use crate::permissioned::copies::{Elsewhere, STEP_BYTES, STEP_OPS};

/// Records on their way into a copy; `false` when the author's writes count no longer.
type Filling = BoxFuture<'static, Result<bool, PermissionedError>>;

/// A repository that is arriving.
struct Arriving<'a> {
    puller: &'a Puller,
    of: &'a Elsewhere,
    /// Whether there was no copy before.
    is_new: bool,
    /// Paths of the copy that the index has not named yet.
    gone: HashSet<String>,
    commit: Option<SignedCommit>,
    index: Index,
    records: u64,
    bytes: usize,
    step: Vec<(String, Block)>,
    step_bytes: usize,
    filling: Option<Filling>,
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

impl Puller {
    /// Makes the copy anew from the whole repository.
    pub(super) async fn whole(&self, of: &Elsewhere) -> Result<(), PullError> {
        let (this, elsewhere) = (self.0.permissioned.clone(), of.clone());
        let known = blocking::run(move || this.copied_paths_blocking(&elsewhere)).await?;
        let mut arriving = Arriving {
            puller: self,
            of,
            is_new: known.is_empty(),
            gone: known.into_iter().collect(),
            commit: None,
            index: Index::Part(Aside::new(self.0.permissioned.spool_dir())),
            records: 0,
            bytes: 0,
            step: Vec::new(),
            step_bytes: 0,
            filling: None,
        };
        let began = Instant::now();
        let mut answer = self.repository(of).await?;
        let mut file = RepoCarReader::default();
        while let Some(chunk) = answer.chunk().await.map_err(crate::fetch::failed)? {
            let mut chunk = &chunk[..];
            while let Some(found) = file.read(&mut chunk)? {
                if !arriving.take(found).await? {
                    return Ok(());
                }
            }
        }
        file.finish()?;
        let Some((head, entries, bytes)) = arriving.finish().await? else { return Ok(()) };
        let (this, told, rev, wanted) = (self.0.permissioned.clone(), of.clone(), head.rev, self.0.wanted.path);
        blocking::run(move || this.tell_copy_blocking(&told, rev, entries, wanted)).await?;
        if self.change(of, vec![], Some(head)).await? {
            let took_ms = began.elapsed().as_millis();
            tracing::info!(bytes, took_ms, "a repository elsewhere was copied whole");
        }
        Ok(())
    }
}

impl Arriving<'_> {
    /// Deals with what comes next; `false` when the author's writes count no longer.
    async fn take(&mut self, found: Found) -> Result<bool, PullError> {
        match found {
            Found::Commit(commit) => {
                self.puller.believe(self.of, &commit).await?;
                self.commit = Some(commit);
                Ok(true)
            }
            Found::Entry(path, cid) => self.entry(&path, cid).await.map(|()| true),
            Found::IndexEnd(hash) => self.index_end(hash).await,
            Found::Record(block) => self.record(block).await,
        }
    }

    async fn entry(&mut self, path: &RepoPath, cid: Cid) -> Result<(), PullError> {
        self.records += 1;
        if self.records > SPACE_COPY_RECORDS_MAX {
            return Err(PullError::TooMany);
        }
        let Index::Part(aside) = &mut self.index else { return Err(PullError::Form) };
        let path = path.to_string();
        car::write_entry(aside.end(), &path, cid);
        self.gone.remove(&path);
        if aside.is_full()
            && let Index::Part(aside) = std::mem::replace(&mut self.index, Index::Elsewhere)
        {
            self.index = Index::Part(blocking::run(move || aside.settle_blocking()).await.map_err(put_aside)?);
        }
        Ok(())
    }

    async fn index_end(&mut self, hash: SetHash) -> Result<bool, PullError> {
        let Index::Part(aside) = std::mem::replace(&mut self.index, Index::Elsewhere) else {
            return Err(PullError::Form);
        };
        let index = blocking::run(move || aside.finish_blocking()).await.map_err(put_aside)?;
        self.index = Index::Whole(hash, Entries::of_entries(index));
        // Ahead of what is new: a copy holds no more than one repository has, however many are cut short.
        let gone = std::mem::take(&mut self.gone);
        self.puller.remove(self.of, self.rev(), gone).await
    }

    async fn record(&mut self, block: Block) -> Result<bool, PullError> {
        let (path, cid) = self.next_entry().await?.ok_or(PullError::Records)?;
        if block.cid() != cid {
            return Err(PullError::Records);
        }
        if !path.parse().is_ok_and(|path| (self.puller.0.wanted.path)(&path)) {
            return Ok(true);
        }
        self.bytes += block.bytes().len();
        if self.bytes > asking::REPOSITORY_BYTES_MAX {
            return Err(PullError::TooMany);
        }
        self.step_bytes += block.bytes().len();
        self.step.push((path, block));
        if self.step.len() < STEP_OPS && self.step_bytes < STEP_BYTES {
            return Ok(true);
        }
        // While one step is written the next one arrives.
        let counts = self.filled().await?;
        self.filling = Some(self.fill());
        Ok(counts)
    }

    /// The entry of the next record.
    async fn next_entry(&mut self) -> Result<Option<(String, Cid)>, PullError> {
        let Index::Whole(_, entries) = &mut self.index else { return Err(PullError::Form) };
        if let Some(entry) = entries.at_hand()? {
            return Ok(Some(entry));
        }
        let Index::Whole(hash, mut entries) = std::mem::replace(&mut self.index, Index::Elsewhere) else {
            return Err(PullError::Form);
        };
        let (entry, entries) = blocking::run(move || (entries.next_blocking(), entries)).await;
        self.index = Index::Whole(hash, entries);
        Ok(entry?)
    }

    /// Everything has arrived and is in the copy: where the repository is, the entries of its index, and the bytes of its
    /// records; `None` when the author's writes count no longer.
    async fn finish(mut self) -> Result<Option<(Head, Entries, usize)>, PullError> {
        let counts = self.filled().await? && self.fill().await?;
        let (Some(commit), Index::Whole(hash, entries)) = (self.commit, self.index) else {
            return Err(PullError::Form);
        };
        let head = Head { rev: commit.rev, hash, records: self.records };
        Ok(counts.then(|| (head, Entries::of_entries(entries.into_index()), self.bytes)))
    }

    fn rev(&self) -> Tid {
        self.commit.as_ref().map_or(Tid::MIN, |commit| commit.rev)
    }

    /// Puts the records of a step into the copy, from now on whenever that is waited for.
    fn fill(&mut self) -> Filling {
        self.step_bytes = 0;
        let (this, of, rev, is_new) = (self.puller.0.permissioned.clone(), self.of.clone(), self.rev(), self.is_new);
        let records = std::mem::take(&mut self.step);
        Box::pin(blocking::begin(move || this.fill_copy_blocking(&of, rev, &records, is_new)))
    }

    /// Waits for the step before.
    async fn filled(&mut self) -> Result<bool, PermissionedError> {
        match self.filling.take() {
            Some(filling) => filling.await,
            None => Ok(true),
        }
    }
}

fn put_aside(error: std::io::Error) -> PullError {
    PullError::Permissioned(error.into())
}
