//! Moments of acceptance: each later than every other one before it, and known to be settled only when no earlier one
//! can still appear.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use angel_protocol::time::Timestamp;

/// Gives out moments. Cheap to clone; the clones are one clock.
#[derive(Clone)]
pub struct Clock(Arc<Mutex<State>>);

struct State {
    /// The last moment given out, in milliseconds since 1970.
    last: u64,
    /// Those whose batch may still be on its way.
    open: BTreeSet<u64>,
}

/// A moment that was given out. Held until its batch is durable or given up: the export ends before it meanwhile, so
/// that whoever reads it never skips an operation that becomes visible late.
#[must_use = "dropped before its batch is durable, the operation may be missed by those who follow the export"]
pub struct Moment {
    clock: Clock,
    at: Timestamp,
}

impl Clock {
    /// A clock that goes on after `newest`.
    #[must_use]
    pub fn new(newest: Option<Timestamp>) -> Self {
        let last = newest.map_or(0, Timestamp::as_millis);
        Self(Arc::new(Mutex::new(State { last, open: BTreeSet::new() })))
    }

    /// The next moment: `now`, or just after the last one when that is later.
    pub fn next(&self, now: Timestamp) -> Moment {
        let mut state = self.lock();
        let at = now.as_millis().max(state.last + 1);
        state.last = at;
        state.open.insert(at);
        Moment { clock: self.clone(), at: Timestamp::from_millis(at) }
    }

    /// The last moment up to which nothing can change any more.
    #[must_use]
    pub fn settled(&self) -> Timestamp {
        let state = self.lock();
        Timestamp::from_millis(state.open.first().map_or(state.last, |first| first - 1))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is one step, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Moment {
    /// The moment.
    #[must_use]
    pub const fn at(&self) -> Timestamp {
        self.at
    }
}

impl Drop for Moment {
    fn drop(&mut self) {
        self.clock.lock().open.remove(&self.at.as_millis());
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").field("settled", &self.settled()).finish()
    }
}

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Moment").field(&self.at).finish()
    }
}
