//! A copy made anew from the whole repository. Its records go into the copy as they arrive ([`Arriving`]).

use std::collections::HashSet;
use std::time::Instant;

use angel_protocol::limits::SPACE_COPY_RECORDS_MAX;
use angel_protocol::permissioned::wire::car::{Found, RepoCarReader};
use futures::future::BoxFuture;

use super::{PullError, Puller, asking};
use crate::blocking;
use crate::permissioned::PermissionedError;
use crate::permissioned::arriving::{Arrived, Arriving, Records};
use crate::permissioned::copies::Elsewhere;

/// Records on their way into a copy; `false` when the author's writes count no longer.
type Filling = BoxFuture<'static, Result<bool, PermissionedError>>;

/// A copy that is being made.
struct Copying<'a> {
    puller: &'a Puller,
    of: &'a Elsewhere,
    /// Whether there was no copy before.
    is_new: bool,
    /// Paths of the copy that the index has not named yet.
    gone: HashSet<String>,
    arriving: Arriving,
    filling: Option<Filling>,
}

impl Puller {
    /// Makes the copy anew from the whole repository.
    pub(super) async fn whole(&self, of: &Elsewhere) -> Result<(), PullError> {
        let (this, elsewhere) = (self.0.permissioned.clone(), of.clone());
        let known = blocking::run(move || this.copied_paths_blocking(&elsewhere)).await?;
        let dir = self.0.permissioned.spool_dir();
        let mut copying = Copying {
            puller: self,
            of,
            is_new: known.is_empty(),
            gone: known.into_iter().collect(),
            arriving: Arriving::new(dir, SPACE_COPY_RECORDS_MAX, asking::REPOSITORY_BYTES_MAX),
            filling: None,
        };
        let began = Instant::now();
        let mut answer = self.repository(of).await?;
        let mut file = RepoCarReader::default();
        while let Some(chunk) = answer.chunk().await.map_err(crate::fetch::failed)? {
            let mut chunk = &chunk[..];
            while let Some(found) = file.read(&mut chunk)? {
                if !copying.take(found).await? {
                    return Ok(());
                }
            }
        }
        file.finish()?;
        let Some(Arrived { head, entries, bytes, .. }) = copying.finish().await? else { return Ok(()) };
        let (this, told, rev, wanted) = (self.0.permissioned.clone(), of.clone(), head.rev, self.0.wanted.path);
        blocking::run(move || this.tell_copy_blocking(&told, rev, entries, wanted)).await?;
        if self.change(of, vec![], Some(head)).await? {
            let took_ms = began.elapsed().as_millis();
            tracing::info!(bytes, took_ms, "a repository elsewhere was copied whole");
        }
        Ok(())
    }
}

impl Copying<'_> {
    /// Deals with what comes next; `false` when the author's writes count no longer.
    async fn take(&mut self, found: Found) -> Result<bool, PullError> {
        match found {
            Found::Commit(commit) => {
                self.puller.believe(self.of, &commit).await?;
                self.arriving.commit(commit);
                Ok(true)
            }
            Found::Entry(path, cid) => {
                let path = path.to_string();
                self.arriving.entry(&path, cid).await?;
                self.gone.remove(&path);
                Ok(true)
            }
            Found::IndexEnd(hash) => {
                self.arriving.index_end(hash).await?;
                // Ahead of what is new: a copy holds no more than one repository has, however many are cut short.
                let gone = std::mem::take(&mut self.gone);
                self.puller.remove(self.of, self.arriving.rev(), gone).await
            }
            Found::Record(block) => {
                let Some(step) = self.arriving.record(block, self.puller.0.wanted.path).await? else { return Ok(true) };
                // While one step is written the next one arrives.
                let counts = self.filled().await?;
                self.filling = Some(self.fill(step));
                Ok(counts)
            }
        }
    }

    /// Everything has arrived and is in the copy; `None` when the author's writes count no longer.
    async fn finish(mut self) -> Result<Option<Arrived>, PullError> {
        let counts = self.filled().await?;
        let (puller, of, is_new) = (self.puller, self.of, self.is_new);
        let mut arrived = self.arriving.finish()?;
        let last = std::mem::take(&mut arrived.last);
        let counts = counts && fill(puller, of, is_new, arrived.head.rev, last).await?;
        Ok(counts.then_some(arrived))
    }

    /// Puts the records of a step into the copy, from now on whenever that is waited for.
    fn fill(&self, step: Records) -> Filling {
        fill(self.puller, self.of, self.is_new, self.arriving.rev(), step)
    }

    /// Waits for the step before.
    async fn filled(&mut self) -> Result<bool, PermissionedError> {
        match self.filling.take() {
            Some(filling) => filling.await,
            None => Ok(true),
        }
    }
}

fn fill(puller: &Puller, of: &Elsewhere, is_new: bool, rev: angel_protocol::ids::Tid, step: Records) -> Filling {
    let (this, of) = (puller.0.permissioned.clone(), of.clone());
    Box::pin(blocking::begin(move || this.fill_copy_blocking(&of, rev, &step, is_new)))
}
