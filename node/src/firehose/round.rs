//! Telling everybody who is up to date. What is new is written to one follower after another, as far as their sockets take
//! it, by whoever tells it: no follower's task is woken, and nothing is made anew for any of them. A follower whose socket
//! does not take everything is left to its own task, which brings it up to date from the ring and back into the round; so
//! nobody waits for anybody.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::outlet::Frames;
use super::ring::{Behind, Numbered, Ring};

/// Followers that are served before others on this thread have their turn: some tenths of a millisecond.
const FOLLOWERS_AT_A_TIME: usize = 32;

/// Followers that are worth a thread of the runtime: what they cost is far more than what it costs to wake one.
const FOLLOWERS_A_THREAD: usize = 200;

/// Things told aside that may wait, for the round or for a follower; the oldest are given up first.
pub(super) const ASIDE_MAX: usize = 64;

/// One follower, as the round sees it.
pub(super) trait Listener<E>: Send + Sync {
    /// Hands over those of `entries` that the follower, if it is in the round, does not have; with them it has everything
    /// up to `head`. Answers how many messages that were. `frames` is empty before and after: it spares a new one for each.
    fn offer(&self, entries: &[Arc<E>], head: u64, frames: &mut Frames) -> usize;

    /// Hands over what is kept by nobody; for later if the follower is not in the round.
    fn offer_aside(&self, entry: &E, frames: &mut Frames);

    /// Leaves the follower to its own task.
    fn leave(&self);
}

/// The newest entries, and those who get them.
pub(crate) struct Round<E> {
    ring: RwLock<Ring<E>>,
    /// Up to here everybody in the round was told.
    told: AtomicU64,
    asides: Mutex<VecDeque<Arc<E>>>,
    followers: Mutex<Followers<E>>,
}

/// A list that a round goes through while others come and go.
type List<E> = Arc<[Arc<dyn Listener<E>>]>;

struct Followers<E> {
    last: u64,
    all: BTreeMap<u64, Arc<dyn Listener<E>>>,
    /// `all`, as long as nobody came or went.
    list: Option<List<E>>,
}

/// A follower's part in a round, until this is dropped.
pub(super) struct Seat<E> {
    round: Arc<Round<E>>,
    number: u64,
}

/// What a round came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// Messages handed over.
    pub(crate) messages: u64,
    /// Whether there is more to be told.
    pub(crate) more: bool,
}

impl<E: Numbered + Send + Sync + 'static> Round<E> {
    /// Nothing yet, behind the entry numbered `head`.
    pub(crate) fn new(head: u64) -> Self {
        Self {
            ring: RwLock::new(Ring::new(head)),
            told: AtomicU64::new(head),
            asides: Mutex::default(),
            followers: Mutex::new(Followers { last: 0, all: BTreeMap::new(), list: None }),
        }
    }

    /// Looks into the ring.
    pub(crate) fn look<R>(&self, at: impl FnOnce(&Ring<E>) -> R) -> R {
        at(&self.ring.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the ring. What is new is told by the next [`Self::tell`].
    pub(crate) fn change<R>(&self, ring: impl FnOnce(&mut Ring<E>) -> R) -> R {
        ring(&mut self.ring.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Has something told to those who are there, and kept by nobody.
    pub(crate) fn aside(&self, entry: Arc<E>) {
        let mut asides = self.asides.lock().unwrap_or_else(PoisonError::into_inner);
        if asides.len() >= ASIDE_MAX {
            asides.pop_front();
        }
        asides.push_back(entry);
    }

    /// Tells some of what is new, for a bounded time. One task does this for a round.
    pub(crate) async fn tell(&self) -> Told {
        self.tell_asides().await;
        let told = self.told.load(Ordering::Relaxed);
        let Ok((entries, head)) = self.after(told) else { return self.give_up() };
        let mut messages = 0;
        if !entries.is_empty() {
            // Listed after looking: who comes later has seen these entries in the ring.
            messages = offer_all(self.list(), entries.into(), head).await;
        }
        self.told.store(head, Ordering::Relaxed);
        Told { messages: messages as u64, more: !self.is_current(head) }
    }

    async fn tell_asides(&self) {
        let asides = std::mem::take(&mut *self.asides.lock().unwrap_or_else(PoisonError::into_inner));
        if asides.is_empty() {
            return;
        }
        let (list, mut frames) = (self.list(), Frames::new());
        for aside in asides {
            for some in list.chunks(FOLLOWERS_AT_A_TIME) {
                some.iter().for_each(|follower| follower.offer_aside(&aside, &mut frames));
                tokio::task::yield_now().await;
            }
        }
    }

    /// More happened meanwhile than is kept: this machine cannot tell so many so much. Each follower's own task says so.
    fn give_up(&self) -> Told {
        self.told.store(self.look(Ring::head), Ordering::Relaxed);
        self.list().iter().for_each(|follower| follower.leave());
        Told::default()
    }

    /// Whether nothing comes behind `position`.
    pub(super) fn is_current(&self, position: u64) -> bool {
        self.look(|ring| ring.is_current(position))
    }

    /// What comes first behind `position`, and the position behind that.
    pub(crate) fn after(&self, position: u64) -> Result<(Vec<Arc<E>>, u64), Behind> {
        self.look(|ring| ring.after(position))
    }

    fn list(&self) -> List<E> {
        let mut followers = self.followers();
        let Followers { all, list, .. } = &mut *followers;
        Arc::clone(list.get_or_insert_with(|| all.values().cloned().collect()))
    }
}

/// Offers entries to everybody, on as many threads as they are worth; answers how many messages that were.
async fn offer_all<E: Send + Sync + 'static>(list: List<E>, entries: Arc<[Arc<E>]>, head: u64) -> usize {
    let workers = tokio::runtime::Handle::current().metrics().num_workers();
    let parts = (list.len() / FOLLOWERS_A_THREAD).clamp(1, workers);
    let size = list.len().div_ceil(parts);
    let offer = |part: usize| {
        let (list, entries) = (Arc::clone(&list), Arc::clone(&entries));
        async move {
            let (mut frames, mut messages) = (Frames::new(), 0);
            for some in list.chunks(size.max(1)).nth(part).unwrap_or_default().chunks(FOLLOWERS_AT_A_TIME) {
                messages += some.iter().map(|follower| follower.offer(&entries, head, &mut frames)).sum::<usize>();
                tokio::task::yield_now().await;
            }
            messages
        }
    };
    let others: Vec<_> = (1..parts).map(|part| tokio::spawn(offer(part))).collect();
    let mut messages = offer(0).await;
    for other in others {
        messages += match other.await {
            Ok(messages) => messages,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime ends, and nobody is told anything any more.
                Err(_) => 0,
            },
        };
    }
    messages
}

impl<E> Round<E> {
    /// Takes a follower in.
    pub(super) fn join(self: &Arc<Self>, follower: Arc<dyn Listener<E>>) -> Seat<E> {
        let mut followers = self.followers();
        followers.last += 1;
        let number = followers.last;
        followers.all.insert(number, follower);
        followers.list = None;
        Seat { round: Arc::clone(self), number }
    }

    fn followers(&self) -> MutexGuard<'_, Followers<E>> {
        self.followers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<E> Drop for Seat<E> {
    fn drop(&mut self) {
        let mut followers = self.round.followers();
        followers.all.remove(&self.number);
        followers.list = None;
    }
}
