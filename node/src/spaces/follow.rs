//! Authors who live elsewhere: members of spaces here, and people who belong to tenants here, whose repositories are on
//! another node or on any other AT Protocol host. Their hosts' event streams are followed, what concerns a space is
//! verified, and enters the event log, from which the index makes messages of it as of everybody's. Votes for what this
//! node plans are noted beside it (ADR 137).
//!
//! Nothing is believed before its signature, its account and its tree are: the bytes come from a host that a stranger
//! named. Hosts, authors, and what one author may write in a minute are bounded; a host that fails is tried again later
//! and later.

mod backfill;
mod host;
mod take;
mod votes;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use angel_protocol::backoff::{Backoff, Policy};
use angel_protocol::ids::Did;
use angel_protocol::limits::{SPACE_AUTHORS_ELSEWHERE_MAX, SPACE_HOSTS_MAX, SPACE_MESSAGES_PER_MINUTE};
use angel_storage::spaces::{MEMBERS, SPACES};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::{SpaceError, Spaces};
use crate::blocking;
use crate::clock;
use crate::fetch::{FetchError, Fetcher};
use crate::network::Scope;
use crate::resolver::Resolver;
use crate::tasks::TaskResult;

/// How long to wait before a host is tried again: soon at first, for most failures are restarts.
const RETRY: Policy = Policy {
    base: Duration::from_millis(500),
    ceiling: Duration::from_secs(300),
    reset_after: Duration::from_secs(60),
};

/// Where authors live is looked up anew this often: they may move.
const LOOK_AGAIN: Duration = Duration::from_mins(10);

/// A look that follows another too soon waits this long: people join in crowds.
const SETTLE: Duration = Duration::from_millis(50);

/// A look that follows a change of tenants waits this long: many are made at once.
const SETTLE_TENANTS: Duration = Duration::from_secs(1);

/// Whole repositories that are read at once.
const BACKFILLS_AT_ONCE: usize = 2;

/// Authors that are looked up at once.
const LOOK_UPS_AT_ONCE: usize = 8;

/// Follows authors elsewhere. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Follower(Arc<Shared>);

struct Shared {
    spaces: Spaces,
    resolver: Resolver,
    fetcher: Fetcher,
    backfills: Semaphore,
    /// What each author has written of late.
    budgets: Mutex<HashMap<Did, Budget>>,
}

/// What an author may still write, refilled as time goes by.
#[derive(Clone, Copy, Debug)]
struct Budget {
    left: u32,
    since: Instant,
}

/// The authors of one host.
type Authors = BTreeSet<Did>;

impl Follower {
    /// A follower for the members of `spaces`; `scope` says which addresses count.
    ///
    /// # Errors
    /// The TLS library does not start.
    pub(crate) fn new(spaces: Spaces, resolver: Resolver, scope: Scope) -> Result<Self, FetchError> {
        Ok(Self(Arc::new(Shared {
            spaces,
            resolver,
            fetcher: Fetcher::upgrading(scope)?,
            backfills: Semaphore::new(BACKFILLS_AT_ONCE),
            budgets: Mutex::default(),
        })))
    }

    /// Follows until told to stop; `placed` tells when it has changed who lives here.
    pub(crate) async fn run(self, mut placed: watch::Receiver<u64>, stop: CancellationToken) -> TaskResult {
        let mut changes = self.0.spaces.0.strangers.subscribe();
        let mut tenants = self.0.spaces.0.tenants.changes();
        let mut hosts: HashMap<String, watch::Sender<Authors>> = HashMap::new();
        let mut following = FuturesUnordered::new();
        loop {
            changes.borrow_and_update();
            placed.borrow_and_update();
            tenants.borrow_and_update();
            let people = self.people_elsewhere().await?;
            let wanted = self.wanted(people.clone()).await?;
            hosts.retain(|host, authors| {
                // Without authors nobody is left to be followed there.
                let now = wanted.get(host).cloned().unwrap_or_default();
                authors.send_if_modified(|before| {
                    let other = *before != now;
                    *before = now.clone();
                    other
                });
                !now.is_empty()
            });
            for (host, authors) in wanted {
                if !hosts.contains_key(&host) {
                    let (sender, receiver) = watch::channel(authors);
                    hosts.insert(host.clone(), sender);
                    following.push(self.clone().keep_following(host, receiver));
                }
            }
            let look_again = tokio::time::sleep(LOOK_AGAIN);
            tokio::pin!(look_again);
            let mut settled_at: Option<tokio::time::Instant> = None;
            loop {
                let settled = settled_at.unwrap_or_else(tokio::time::Instant::now);
                tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    changed = changes.changed() => {
                        changed.map_err(|_| "the spaces ended")?;
                        tokio::time::sleep(SETTLE).await;
                        break;
                    }
                    changed = placed.changed() => {
                        changed.map_err(|_| "the placements ended")?;
                        tokio::time::sleep(SETTLE).await;
                        break;
                    }
                    changed = tenants.changed() => {
                        changed.map_err(|_| "the tenants ended")?;
                        // Those who are followed are not kept waiting for it.
                        let soon = || tokio::time::Instant::now() + SETTLE_TENANTS;
                        settled_at = Some(settled_at.unwrap_or_else(soon));
                    }
                    () = tokio::time::sleep_until(settled), if settled_at.is_some() => {
                        settled_at = None;
                        // Most changes are of people who live here.
                        if self.people_elsewhere().await? != people {
                            break;
                        }
                    }
                    () = &mut look_again => break,
                    // A host that is followed no longer.
                    Some(()) = following.next() => {}
                }
            }
        }
    }

    /// Follows one host as long as it has authors.
    async fn keep_following(self, host: String, mut authors: watch::Receiver<Authors>) {
        let mut backoff = Backoff::new(RETRY);
        let mut known = Authors::new();
        loop {
            if authors.borrow_and_update().is_empty() {
                return;
            }
            let ended = self.follow_host(&host, &mut authors, &mut known, &mut backoff).await;
            if authors.borrow().is_empty() {
                return;
            }
            // What was missed meanwhile is in the host's log behind the cursor, or in the repositories.
            let wait = backoff.failed(clock::now(), rand::random());
            match ended {
                Ok(()) => tracing::debug!(%host, wait_ms = wait.as_millis(), "a host ended its stream"),
                Err(error) => tracing::debug!(%host, %error, wait_ms = wait.as_millis(), "cannot follow a host"),
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                changed = authors.changed() => if changed.is_err() { return },
            }
        }
    }

    /// People of tenants here whose accounts are not.
    async fn people_elsewhere(&self) -> Result<Authors, SpaceError> {
        let spaces = self.0.spaces.clone();
        blocking::run(move || spaces.people_elsewhere()).await
    }

    /// Where `people` live, and the members who do not live here.
    async fn wanted(&self, people: Authors) -> Result<BTreeMap<String, Authors>, SpaceError> {
        let spaces = self.0.spaces.clone();
        let strangers = blocking::run(move || spaces.members_elsewhere(people)).await?;
        let found = futures::stream::iter(strangers).map(|did| async move {
            let resolved = self.0.resolver.did(&did).await.ok()?;
            Some((resolved.document.pds()?.trim_end_matches('/').to_owned(), did))
        });
        let found: Vec<_> = found.buffer_unordered(LOOK_UPS_AT_ONCE).filter_map(std::future::ready).collect().await;
        let mut hosts: BTreeMap<String, Authors> = BTreeMap::new();
        for (host, did) in found {
            if hosts.contains_key(&host) || hosts.len() < SPACE_HOSTS_MAX {
                hosts.entry(host).or_default().insert(did);
            } else {
                tracing::warn!(%host, "more hosts than this node follows: what their authors write is not seen here");
            }
        }
        Ok(hosts)
    }

    /// Whether an author may write one more message now.
    fn may_write(&self, did: &Did) -> bool {
        let mut budgets = self.0.budgets.lock().unwrap_or_else(PoisonError::into_inner);
        if budgets.len() > SPACE_AUTHORS_ELSEWHERE_MAX {
            budgets.clear();
        }
        let burst = SPACE_MESSAGES_PER_MINUTE * 2;
        let budget = budgets.entry(did.clone()).or_insert(Budget { left: burst, since: Instant::now() });
        let refill = budget.since.elapsed().as_millis() * u128::from(SPACE_MESSAGES_PER_MINUTE) / 60_000;
        if refill > 0 {
            budget.left = burst.min(budget.left.saturating_add(u32::try_from(refill).unwrap_or(burst)));
            budget.since = Instant::now();
        }
        match budget.left.checked_sub(1) {
            Some(left) => {
                budget.left = left;
                true
            }
            None => false,
        }
    }
}

impl Spaces {
    /// People of tenants here whose accounts are not. Blocks.
    fn people_elsewhere(&self) -> Result<Authors, SpaceError> {
        let mut found = Authors::new();
        for did in self.0.tenants.people() {
            if found.len() == SPACE_AUTHORS_ELSEWHERE_MAX {
                break;
            }
            if self.0.accounts.resident_blocking(&did)?.is_none() {
                found.insert(did);
            }
        }
        Ok(found)
    }

    /// These people, and members of spaces here whose accounts are not, as far as there is room: whoever joins an open
    /// space takes no place of somebody who was let into a tenant. Blocks.
    fn members_elsewhere(&self, people: Authors) -> Result<Authors, SpaceError> {
        let mut found = people;
        let mut last = None;
        loop {
            let mut scan = self.0.reader.scan(&MEMBERS);
            if let Some(last) = &last {
                scan = scan.after(last);
            }
            let page = scan.page(2000)?;
            for ((id, did), row) in &page.rows {
                if !row.membership.is_active()
                    || found.contains(did)
                    || self.0.accounts.resident_blocking(did)?.is_some()
                {
                    continue;
                }
                let lives = self.0.reader.get(&SPACES, id)?.is_some_and(|space| space.gone_at.is_none());
                if lives && found.len() < SPACE_AUTHORS_ELSEWHERE_MAX {
                    found.insert(did.clone());
                }
            }
            last = page.rows.into_iter().next_back().map(|(key, _)| key);
            if !page.more {
                return Ok(found);
            }
        }
    }
}
