//! The locks that sled 0.34 takes: those of `parking_lot` 0.12 in place of 0.11, and a condition variable of our own.
//!
//! sled hands each of its writes to a pool of seven threads and wakes all of them for it: six find nothing, one after
//! another, and go to sleep again. For a write that nothing else goes on beside, that was a third of the daemon's
//! processor time. This package takes the place of `parking_lot` 0.11 in the dependency tree, where nobody but sled asks
//! for it, and wakes one. See ADR 143.

#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub use locks::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, WaitTimeoutResult};

/// A condition variable that knows whether those who wait are workers of a pool.
///
/// Workers of sled's pool are the only ones in it who wait [until a moment](Condvar::wait_until), and each time they are
/// woken for one piece of work, which one of them takes. Whoever waits in another way waits for something that all have
/// to see.
#[derive(Debug, Default)]
pub struct Condvar {
    condvar: locks::Condvar,
    /// Set with the mutex held, before the first worker waits; whoever brings work held the mutex after that.
    workers_wait: AtomicBool,
}

impl Condvar {
    /// One that nobody waits for.
    #[must_use]
    pub const fn new() -> Self {
        Self { condvar: locks::Condvar::new(), workers_wait: AtomicBool::new(false) }
    }

    /// Wakes everybody who waits, or one where workers wait; tells how many.
    pub fn notify_all(&self) -> usize {
        if self.workers_wait.load(Ordering::Relaxed) {
            usize::from(self.condvar.notify_one())
        } else {
            self.condvar.notify_all()
        }
    }

    /// Gives the mutex away until it is woken.
    pub fn wait<T: ?Sized>(&self, guard: &mut MutexGuard<'_, T>) {
        self.condvar.wait(guard);
    }

    /// The same, for `timeout` at the longest.
    pub fn wait_for<T: ?Sized>(&self, guard: &mut MutexGuard<'_, T>, timeout: Duration) -> WaitTimeoutResult {
        self.condvar.wait_for(guard, timeout)
    }

    /// The same, until `deadline` at the latest, as workers do.
    pub fn wait_until<T: ?Sized>(&self, guard: &mut MutexGuard<'_, T>, deadline: Instant) -> WaitTimeoutResult {
        self.workers_wait.store(true, Ordering::Relaxed);
        self.condvar.wait_until(guard, deadline)
    }
}
