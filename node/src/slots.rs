//! Places of writers: which are kept, and what of each is on its way to the disk.
//!
//! A repository is written by one at a time, who hands a batch to the store and goes on before it is durable. What is on
//! its way is remembered in the place ([`InFlight`]), and later writers read it before they read the store, so nothing
//! depends on how far the store is. Places that nobody uses are dropped, the longest unused first ([`Slots`]).

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use angel_storage::CommitError;
use tokio::sync::watch;

/// Places by what they are of.
pub(crate) struct Slots<K, S> {
    places: Mutex<Places<K, S>>,
    is_crowded: fn(&mut dyn ExactSizeIterator<Item = &S>) -> bool,
}

struct Places<K, S> {
    by_key: HashMap<K, (Arc<S>, u64)>,
    uses: u64,
}

impl<K: Copy + Eq + Hash + Ord, S> Slots<K, S> {
    /// None yet. Unused ones are dropped whenever `is_crowded` says so of those that there are.
    pub(crate) fn new(is_crowded: fn(&mut dyn ExactSizeIterator<Item = &S>) -> bool) -> Self {
        Self { places: Mutex::new(Places { by_key: HashMap::new(), uses: 0 }), is_crowded }
    }

    /// The place of `key`, made by `make` if there is none.
    pub(crate) fn slot(&self, key: K, make: impl FnOnce() -> S) -> Arc<S> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.uses += 1;
        let uses = places.uses;
        if let Some((slot, used)) = places.by_key.get_mut(&key) {
            *used = uses;
            return Arc::clone(slot);
        }
        if (self.is_crowded)(&mut places.by_key.values().map(|(slot, _)| &**slot)) {
            places.make_room();
        }
        let slot = Arc::new(make());
        places.by_key.insert(key, (Arc::clone(&slot), uses));
        slot
    }

    /// Forgets places. Whoever holds one keeps it, and the next who asks gets another.
    pub(crate) fn forget(&self, is_meant: impl Fn(&K) -> bool) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.by_key.retain(|key, _| !is_meant(key));
    }
}

impl<K: Copy + Eq + Hash + Ord, S> Places<K, S> {
    /// Drops a quarter of the places that nobody uses. Whatever is under way holds its place.
    fn make_room(&mut self) {
        let unused = self.by_key.iter().filter(|(_, (slot, _))| Arc::strong_count(slot) == 1);
        let mut unused: Vec<_> = unused.map(|(key, (_, used))| (*used, *key)).collect();
        unused.sort_unstable();
        for (_, key) in unused.iter().take(unused.len().div_ceil(4)) {
            self.by_key.remove(key);
        }
    }
}

/// The batches of one place that were handed to the store and are not durable yet.
pub(crate) struct InFlight<B> {
    handed: Mutex<Handed<B>>,
    landed: watch::Sender<Landed>,
}

struct Handed<B> {
    batches: VecDeque<Arc<B>>,
    count: u64,
}

/// How far the store is.
#[derive(Clone, Copy, Default)]
struct Landed {
    durable: u64,
    failed: bool,
}

impl<B> Default for InFlight<B> {
    fn default() -> Self {
        let handed = Handed { batches: VecDeque::new(), count: 0 };
        Self { handed: Mutex::new(handed), landed: watch::Sender::default() }
    }
}

impl<B> InFlight<B> {
    fn handed(&self) -> MutexGuard<'_, Handed<B>> {
        self.handed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is on its way, the oldest first.
    pub(crate) fn pending(&self) -> Vec<Arc<B>> {
        self.handed().batches.iter().cloned().collect()
    }

    /// Notes what a batch changes that is about to be handed over; answers its number.
    pub(crate) fn hand_over(&self, batch: B) -> u64 {
        let mut handed = self.handed();
        handed.batches.push_back(Arc::new(batch));
        handed.count += 1;
        handed.count
    }

    /// The number of the batch handed over last.
    pub(crate) fn handed_over(&self) -> u64 {
        self.handed().count
    }

    /// The store has answered for the oldest batch. It keeps the order in which batches were handed over.
    pub(crate) fn land(&self, is_durable: bool) {
        self.handed().batches.pop_front();
        self.landed.send_modify(|landed| {
            landed.durable += 1;
            landed.failed |= !is_durable;
        });
    }

    /// Whether a batch was not written. What is held open is ahead of the store then.
    pub(crate) fn has_failed(&self) -> bool {
        self.landed.borrow().failed
    }

    /// Waits until batch `number` and those before it are answered for.
    ///
    /// # Errors
    /// One of them was not written.
    pub(crate) async fn until_durable(&self, number: u64) -> Result<(), CommitError> {
        let mut landed = self.landed.subscribe();
        let landed = landed.wait_for(|landed| landed.failed || landed.durable >= number).await;
        let landed = *landed.expect("the sender lives as long as self");
        if landed.failed { Err(CommitError::Closed) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn a_crowd_loses_those_that_nobody_uses_the_longest_unused_first() {
        let slots = Slots::<u32, u32>::new(|slots| slots.len() >= 8);
        let held = slots.slot(0, || 0);
        (1..8).for_each(|key| drop(slots.slot(key, || key)));
        slots.slot(1, || unreachable!("is there"));
        drop(slots.slot(8, || 8));
        assert!(Arc::ptr_eq(&held, &slots.slot(0, || unreachable!("is held"))));
        // Of the seven that nobody used, the two that were longest unused are gone.
        let mut left: Vec<u32> = slots.places.lock().expect("not poisoned").by_key.keys().copied().collect();
        left.sort_unstable();
        assert_eq!(left, [0, 1, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn batches_land_in_their_order_and_a_failure_stays() {
        let flight = InFlight::default();
        assert_eq!((flight.hand_over("a"), flight.hand_over("b"), flight.handed_over()), (1, 2, 2));
        assert_eq!(flight.pending().iter().map(|batch| **batch).collect::<Vec<_>>(), ["a", "b"]);
        assert!(flight.until_durable(1).now_or_never().is_none());
        flight.land(true);
        assert!(matches!(flight.until_durable(1).now_or_never(), Some(Ok(()))));
        assert_eq!(flight.pending().len(), 1);
        flight.land(false);
        assert!(flight.has_failed());
        assert!(matches!(flight.until_durable(2).now_or_never(), Some(Err(CommitError::Closed))));
    }
}
