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

use super::cache::{Open, Pending};
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

/// A commit on its way to the disk.
pub(crate) struct Landing(oneshot::Receiver<Result<angel_storage::Committed, CommitError>>);

impl Landing {
    /// Waits until it is durable.
    pub(crate) async fn durable(self) -> Result<(), RepoError> {
        self.0.await.unwrap_or(Err(CommitError::Closed))?;
        Ok(())
    }
}

impl Repos {
    /// Applies a verified commit of the account's host to the copy here. Returns as soon as it is on its way: later
    /// ones need not wait for the disk.
    ///
    /// # Errors
    /// [`NotFollowed`], by what is wrong; nothing has changed then.
    pub(crate) async fn follow(&self, account: AccountId, verified: VerifiedCommit) -> Result<Landing, NotFollowed> {
        let slot = self.shared.cache.slot(account);
        let mut place = Arc::clone(&slot.open).lock_owned().await;
        let (answer, answered) = oneshot::channel();
        let this = self.clone();
        blocking::run(move || {
            if slot.flight.has_failed() {
                return Err(RepoError::from(CommitError::Closed).into());
            }
            let open = match &mut *place {
                Some(open) => open,
                none => none.insert(Open::load(&this.shared.reader, account)?),
            };
            let pending = slot.flight.pending();
            let blocks = Blocks::new(&this.shared.reader, open.contents, &pending);
            let new = open.repository.follow(&blocks, verified)?;
            let (contents, rev) = (open.contents, new.repository.head().rev());
            let (keeps, absent) = (slot.is_exported(), Absent::Note);
            let staging = Staging { repos: &this, blocks: &blocks, contents, rev, now: clock::now(), keeps, absent };
            let mut batch = Batch::new();
            let staged = staging.stage(&mut batch, open, &new, &blobs_named(&new))?;
            // From here on nothing fails, as in a write of this node's own.
            if keeps {
                slot.set_retained(true);
            }
            let fetched = blocks.fetched.get() + new.nodes.iter().map(|node| node.bytes().len()).sum::<usize>();
            open.advance(&slot, &new, &staged, fetched);
            open.follow(staged.collections);
            slot.flight.hand_over(pending_of(new, staged.settled));
            let landing = Arc::clone(&slot);
            this.shared.writer.submit_blocking(batch, move |outcome| {
                landing.flight.land(outcome.is_ok());
                let _ = answer.send(outcome);
            });
            Ok(())
        })
        .await
        .map(|()| Landing(answered))
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
