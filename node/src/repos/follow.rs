//! Commits that another host made for an account of which this node holds a copy. They are stored as commits made here
//! are, but nobody is told: the account is served elsewhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use angel_protocol::data::{BlobRef, Cid};
use angel_protocol::repo::{FollowError, NewCommit, SignedCommit, VerifiedCommit};
use angel_storage::blobs::Absent;
use angel_storage::repos::{self, Head};
use angel_storage::{AccountId, Batch, CommitError};
use tokio::sync::oneshot;

use super::cache::{Open, Pending, Slot};
use super::staging::Staging;
use super::write::{Blobs, Blocks, blobs_of, pending_of};
use super::{RepoError, Repos};
use crate::{blocking, clock};

/// Why a commit of another host is not stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotFollowed {
    /// It does not lead on from what is here.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// It cannot be stored.
    #[error(transparent)]
    Repo(#[from] RepoError),
}

/// Commits on their way to the disk.
pub(crate) struct Landing(oneshot::Receiver<Result<angel_storage::Committed, CommitError>>);

impl Landing {
    /// Waits until they are durable.
    pub(crate) async fn durable(self) -> Result<(), RepoError> {
        self.0.await.unwrap_or(Err(CommitError::Closed))?;
        Ok(())
    }
}

/// What applying commits came to.
pub(crate) struct Followed {
    /// Their ways to the disk.
    pub(crate) landing: Vec<Landing>,
    /// Of each, whether its records name files.
    pub(crate) name_files: Vec<bool>,
    /// By how many bytes the repository grew with all of them.
    pub(crate) grew: i64,
}

impl Repos {
    /// Applies verified commits of the account's host to the copy here, in their order, and as one batch as far as they fit
    /// into one: what a commit replaces of those before it is never written. Returns as soon as they are on their way: later
    /// ones need not wait for the disk.
    ///
    /// # Errors
    /// [`NotFollowed`], by what is wrong with the first that cannot be applied; those before it are on their way, and
    /// nothing else has changed.
    pub(crate) async fn follow(
        &self,
        account: AccountId,
        commits: Vec<VerifiedCommit>,
    ) -> Result<Followed, NotFollowed> {
        let slot = self.shared.cache.slot(account);
        let mut place = Arc::clone(&slot.open).lock_owned().await;
        let this = self.clone();
        blocking::run(move || {
            let mut followed = Followed { landing: Vec::new(), name_files: Vec::with_capacity(commits.len()), grew: 0 };
            let (mut batch, mut staged) = (Batch::new(), 0);
            let mut failed = None;
            for verified in commits {
                let (next, names_files, grew) = match this.stage_followed(&slot, &mut place, account, verified) {
                    Ok(staged) => staged,
                    Err(error) => {
                        failed = Some(error);
                        break;
                    }
                };
                if let Err(next) = batch.absorb(next) {
                    followed.landing.push(this.hand_over(&slot, std::mem::replace(&mut batch, next), staged));
                    staged = 0;
                }
                staged += 1;
                followed.name_files.push(names_files);
                followed.grew = followed.grew.saturating_add(grew);
            }
            if staged > 0 {
                followed.landing.push(this.hand_over(&slot, batch, staged));
            }
            failed.map_or(Ok(followed), Err)
        })
        .await
    }

    /// Stages one commit, in memory and in a batch; answers whether its records name files, and by how many bytes the
    /// repository grew. Once it is staged nothing fails,
    /// as in a write of this node's own.
    fn stage_followed(
        &self,
        slot: &Slot,
        place: &mut Option<Open>,
        account: AccountId,
        verified: VerifiedCommit,
    ) -> Result<(Batch, bool, i64), NotFollowed> {
        if slot.flight.has_failed() {
            return Err(RepoError::from(CommitError::Closed).into());
        }
        let open = match place {
            Some(open) => open,
            none => none.insert(Open::load(&self.shared.reader, account)?),
        };
        let pending = slot.flight.pending();
        let blocks = Blocks::new(&self.shared.reader, open.contents, &pending);
        let new = open.repository.follow(&blocks, verified)?;
        let (contents, rev) = (open.contents, new.repository.head().rev());
        let (keeps, absent) = (slot.is_exported(), Absent::Note);
        let staging = Staging { repos: self, blocks: &blocks, contents, rev, now: clock::now(), keeps, absent };
        let mut batch = Batch::new();
        let named = blobs_named(&new);
        let staged = staging.stage(&mut batch, open, &new, &named)?;
        if keeps {
            slot.set_retained(true);
        }
        let fetched = blocks.fetched.get() + new.nodes.iter().map(|node| node.bytes().len()).sum::<usize>();
        open.advance(slot, &new, &staged, fetched);
        open.follow(staged.collections);
        slot.flight.hand_over(pending_of(new, staged.settled));
        Ok((batch, !named.is_empty(), staged.grew))
    }

    /// Hands over what so many commits come to.
    fn hand_over(&self, slot: &Arc<Slot>, batch: Batch, commits: usize) -> Landing {
        let (answer, answered) = oneshot::channel();
        let landing = Arc::clone(slot);
        self.shared.writer.submit_blocking(batch, move |outcome| {
            (0..commits).for_each(|_| landing.flight.land(outcome.is_ok()));
            let _ = answer.send(outcome);
        });
        Landing(answered)
    }

    /// Takes over a commit that its host signed over the tree that is here already; answers whether it is.
    ///
    /// # Errors
    /// There is no repository, or the store fails.
    pub(crate) async fn adopt(&self, account: AccountId, commit: SignedCommit) -> Result<bool, RepoError> {
        let slot = self.shared.cache.slot(account);
        let mut place = Arc::clone(&slot.open).lock_owned().await;
        slot.settled().await?;
        let this = self.clone();
        blocking::run(move || {
            let before = repos::head(&this.shared.reader, account)?.ok_or(RepoError::NoRepository)?;
            if before.commit.data() != commit.data() || before.commit.rev() >= commit.rev() {
                return Ok(before.commit.cid() == commit.cid());
            }
            let head = Head { commit, ..before };
            let mut batch = Batch::new();
            repos::put_head(&mut batch, &head)?;
            this.shared.writer.commit(batch)?;
            slot.flight.hand_over(Pending::default());
            slot.flight.land(true);
            *place = Some(Open::at(head));
            Ok(true)
        })
        .await
    }
}

/// The blobs that the records of a commit name, by path.
fn blobs_named(new: &NewCommit) -> Blobs {
    let records: BTreeMap<Cid, _> = new.records.iter().map(|block| (block.cid(), block)).collect();
    let named = new.changes.iter().filter_map(|change| {
        let record = records.get(&change.after?)?;
        let blobs: Vec<BlobRef> = blobs_of(record.bytes());
        (!blobs.is_empty()).then(|| (change.key.as_str().to_owned(), blobs))
    });
    named.collect()
}
