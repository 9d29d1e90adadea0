//! Fetches what members elsewhere write in spaces that this node answers for. Their hosts say that a repository has
//! advanced; that is a hint, and here the rest is asked for, as any reader of the space would ask (proposal 0016,
//! "Sync"): the operations since, or the whole repository when those do not lead from the copy to where it is. Nothing is
//! believed before the author's signature over the commit, its digest over the records, and the CID of each record are.
//!
//! One repository is asked for once at a time; a host that fails is asked again later and later.

mod asking;
mod whole;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use angel_protocol::backoff::{Backoff, Policy};
use angel_protocol::data::{Block, Cid};
use angel_protocol::ids::{RepoPath, Tid};
use angel_protocol::permissioned::repo::Agreement;
use angel_protocol::permissioned::wire::car::RepoCarError;
use angel_protocol::permissioned::wire::commit::SignedCommit;
use angel_protocol::permissioned::{Head, Op, SpaceUri};
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use self::asking::{Operation, Own, Page};
use super::arriving::ArrivalError;
use super::copies::{CopyChange, Elsewhere};
use super::credentials::{CredentialError, Credentials};
use super::services::{CallError, DocumentKey};
use super::{Permissioned, PermissionedError};
use crate::fetch::{FetchError, Fetcher};
use crate::network::Scope;
use crate::tasks::TaskResult;
use crate::{blocking, clock};

/// Repositories that are asked for at once.
const AT_ONCE: usize = 16;

/// Operations that are asked for together, and pages of them until the whole repository is asked for instead.
const OPERATIONS: usize = 200;
const PAGES_MAX: usize = 60;

/// Bytes of records that are held until the operations that wrote them are verified; the rest is asked for one by one.
const VALUES_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How long a whole repository may take: a line of half a megabit a second brings the largest in this time, and a host that
/// sends a byte now and then does not hold a place for ever.
const WHOLE_WITHIN: Duration = Duration::from_mins(20);

/// How long to wait before a host is asked again: soon at first, for most failures are restarts.
const RETRY: Policy = Policy {
    base: Duration::from_millis(500),
    ceiling: Duration::from_secs(300),
    reset_after: Duration::from_secs(60),
};

/// What is copied: whoever indexes spaces says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// Of which spaces.
    pub(crate) space: fn(&SpaceUri) -> bool,
    /// Records at which paths.
    pub(crate) path: fn(&RepoPath) -> bool,
}

/// Fetches. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Puller(Arc<Shared>);

struct Shared {
    permissioned: Permissioned,
    credentials: Credentials,
    fetcher: Fetcher,
    wanted: Wanted,
    /// The credentials that this node gave itself, by space.
    own: Mutex<HashMap<SpaceUri, (Own, Instant)>>,
}

/// Why a repository was not brought up to date.
#[derive(Debug, thiserror::Error)]
enum PullError {
    #[error(transparent)]
    Credential(#[from] CredentialError),
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("what it answered is not of its form")]
    Form,
    #[error("the commit is not the author's")]
    Commit,
    #[error("the records are not what the commit says")]
    Records,
    #[error("the repository does not arrive in time")]
    TooSlow,
    #[error(transparent)]
    Car(#[from] RepoCarError),
    #[error(transparent)]
    Arrival(#[from] ArrivalError),
    #[error(transparent)]
    Permissioned(#[from] PermissionedError),
}

impl From<angel_storage::reader::ReadError> for PullError {
    fn from(error: angel_storage::reader::ReadError) -> Self {
        Self::Permissioned(error.into())
    }
}

impl Puller {
    /// For what `wanted` names; `scope` says which addresses count.
    ///
    /// # Errors
    /// The TLS library does not start.
    pub(crate) fn new(
        permissioned: Permissioned,
        credentials: Credentials,
        scope: Scope,
        wanted: Wanted,
    ) -> Result<Self, FetchError> {
        let (fetcher, own) = (Fetcher::streaming(scope)?, Mutex::default());
        Ok(Self(Arc::new(Shared { permissioned, credentials, fetcher, wanted, own })))
    }

    /// Fetches until told to stop.
    pub(crate) async fn run(self, stop: CancellationToken) -> TaskResult {
        let mut queue: HashSet<Elsewhere> = HashSet::new();
        let mut later: HashMap<Elsewhere, (Instant, Backoff)> = HashMap::new();
        let mut busy: HashSet<Elsewhere> = HashSet::new();
        let mut running: FuturesUnordered<BoxFuture<'_, (Elsewhere, Result<(), PullError>)>> = FuturesUnordered::new();
        let mut look_through = true;
        loop {
            if std::mem::take(&mut look_through) {
                let (this, wanted) = (self.0.permissioned.clone(), self.0.wanted.space);
                queue.extend(blocking::run(move || this.behind_blocking(&wanted)).await?);
            }
            let (news, more) = self.0.permissioned.shared.news.take();
            look_through |= more;
            for of in news.into_iter().filter(|(space, _)| (self.0.wanted.space)(space)) {
                // Whoever has something to tell is there again.
                if let Some((due, _)) = later.get_mut(&of) {
                    *due = Instant::now();
                }
                queue.insert(of);
            }
            let now = Instant::now();
            queue.extend(later.iter().filter(|(_, (due, _))| *due <= now).map(|(of, _)| of.clone()));
            let may_start = |of: &&Elsewhere| !busy.contains(*of) && later.get(*of).is_none_or(|(due, _)| *due <= now);
            let room = AT_ONCE.saturating_sub(running.len());
            let starting: Vec<_> = queue.iter().filter(may_start).take(room).cloned().collect();
            for of in starting {
                queue.remove(&of);
                busy.insert(of.clone());
                running.push(Box::pin(async {
                    let outcome = self.pull(&of).await;
                    (of, outcome)
                }));
            }
            let next = later.iter().filter(|(of, _)| !busy.contains(*of)).map(|(_, (due, _))| *due).min();
            let wait = next.map_or(RETRY.ceiling, |next| next.saturating_duration_since(Instant::now()));
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = self.0.permissioned.shared.news.told() => {}
                Some((of, outcome)) = running.next() => {
                    busy.remove(&of);
                    match outcome {
                        Ok(()) => drop(later.remove(&of)),
                        Err(error) => {
                            let mut backoff = later.remove(&of).map_or(Backoff::new(RETRY), |(_, backoff)| backoff);
                            let wait = backoff.failed(clock::now(), rand::random());
                            // Whose repository it is, and in which space, is nobody's business.
                            tracing::debug!(%error, wait_ms = wait.as_millis(), "a repository elsewhere was not copied");
                            later.insert(of, (Instant::now() + wait, backoff));
                        }
                    }
                }
                () = tokio::time::sleep(wait.max(Duration::from_millis(10))), if !look_through => {}
            }
        }
    }

    /// Brings one copy up to date.
    async fn pull(&self, of: &Elsewhere) -> Result<(), PullError> {
        let (this, elsewhere) = (self.0.permissioned.clone(), of.clone());
        let from = blocking::run(move || this.copy_blocking(&elsewhere)).await?;
        let Some(Advanced { head, changes }) = self.by_operations(of, from).await? else {
            return timeout(WHOLE_WITHIN, self.whole(of)).await.unwrap_or(Err(PullError::TooSlow));
        };
        self.change(of, changes, Some(head)).await?;
        Ok(())
    }

    /// Changes the copy; `false` when the author's writes count no longer.
    async fn change(&self, of: &Elsewhere, changes: Vec<CopyChange>, head: Option<Head>) -> Result<bool, PullError> {
        let (this, of) = (self.0.permissioned.clone(), of.clone());
        Ok(blocking::run(move || this.change_copy_blocking(&of, changes, head.as_ref())).await?)
    }

    /// What the operations since `from` lead to; `None` when they lead elsewhere than the author is.
    async fn by_operations(&self, of: &Elsewhere, from: Head) -> Result<Option<Advanced>, PullError> {
        let mut head = from;
        let mut last: BTreeMap<RepoPath, (usize, Tid, Op)> = BTreeMap::new();
        let mut values: HashMap<Cid, Block> = HashMap::new();
        let (mut bytes, mut count) = (0, 0);
        for _ in 0..PAGES_MAX {
            let Page { operations, commit, is_last } = self.operations(of, head.rev, OPERATIONS).await?;
            if operations.is_empty() && !is_last {
                return Err(PullError::Form);
            }
            for revision in operations.chunk_by(|one, other| one.rev == other.rev) {
                if head.advance(revision[0].rev, revision.iter().map(|operation| &operation.op)).is_err() {
                    return Ok(None);
                }
            }
            for Operation { rev, op, value } in operations {
                if !(self.0.wanted.path)(&op.path) {
                    continue;
                }
                count += 1;
                if let Some(block) = value.filter(|block| bytes + block.bytes().len() <= VALUES_BYTES_MAX) {
                    bytes += block.bytes().len();
                    values.insert(block.cid(), block);
                }
                last.insert(op.path.clone(), (count, rev, op));
            }
            let Some(commit) = commit else { continue };
            self.believe(of, &commit).await?;
            if head.agrees(&commit) == Agreement::Diverged {
                return Ok(None);
            }
            let mut changes = Vec::with_capacity(last.len());
            let mut in_order: Vec<_> = last.into_values().collect();
            in_order.sort_unstable_by_key(|(n, ..)| *n);
            for (_, rev, op) in in_order {
                let record = match op.cid {
                    None => None,
                    Some(cid) => match values.remove(&cid) {
                        Some(block) => Some(block),
                        None => Some(self.record(of, &op.path, cid).await?),
                    },
                };
                changes.push(CopyChange { rev, op, record });
            }
            return Ok(Some(Advanced { head, changes }));
        }
        Ok(None)
    }

    /// Takes records out of a copy; `false` when the author's writes count no longer.
    async fn remove(&self, of: &Elsewhere, rev: Tid, gone: HashSet<String>) -> Result<bool, PullError> {
        if gone.is_empty() {
            return Ok(true);
        }
        let gone = gone.into_iter().filter_map(|path| path.parse().ok());
        let gone = gone.map(|path| CopyChange { rev, op: Op { path, cid: None, prev: None }, record: None });
        self.change(of, gone.collect(), None).await
    }

    /// Refuses a commit that the author did not sign for this space, or that is of a time to come.
    async fn believe(&self, (space, author): &Elsewhere, commit: &SignedCommit) -> Result<(), PullError> {
        let services = self.0.credentials.services();
        let genuine = |key| commit.verify(space, author, key).is_ok();
        let is_theirs = services.has_key(author, DocumentKey::Account, genuine).await?;
        if is_theirs && !commit.is_from_the_future(clock::now()) { Ok(()) } else { Err(PullError::Commit) }
    }

    /// The credential by which a space is read.
    async fn own(&self, space: &SpaceUri) -> Result<Own, PullError> {
        let known = || self.0.own.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((own, until)) = known().get(space)
            && *until > Instant::now()
        {
            return Ok(own.clone());
        }
        let (credential, secret) = self.0.credentials.own(space).await?;
        let own = Own::new(credential, secret);
        let mut known = known();
        known.retain(|_, (_, until)| *until > Instant::now());
        known.insert(space.clone(), (own.clone(), Instant::now() + asking::CREDENTIAL_USED_FOR));
        Ok(own)
    }

    fn forget_own(&self, space: &SpaceUri) {
        self.0.own.lock().unwrap_or_else(PoisonError::into_inner).remove(space);
    }
}

/// Where a copy gets to, and by which changes of what is copied.
struct Advanced {
    head: Head,
    changes: Vec<CopyChange>,
}
