//! Shards in step: all live through a window in which no message can arrive that is not known yet, then what was sent is
//! exchanged.
//!
//! A window is work for as many threads as there are: each takes one shard after the other that nobody has taken, and
//! whoever finishes the last one opens the next window. There are more shards than threads, so that a shard with more to
//! do, or a thread that the system puts aside, does not leave the others idle. Boxes are kept twice, for even and odd
//! windows: what is posted in one is read in the next.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::shard::{Parcel, Shard};
use super::{Common, Process};

/// How often is looked before going to sleep: some two hundred microseconds, about what a window takes in which one of a
/// thousand nodes publishes. Sleep, once begun, costs more than a usual window.
const LOOKS: u32 = 8_192;

/// The window after the last.
const OVER: usize = usize::MAX;

/// Lets all shards live up to and including `end`.
pub(super) fn run<P: Process>(shards: &mut [Shard<P>], threads: usize, common: &Common, end: u64) {
    let lockstep = Lockstep::open(shards, common, end);
    std::thread::scope(|scope| {
        let lockstep = &lockstep;
        for thread in 1..threads {
            scope.spawn(move || lockstep.work(thread, threads));
        }
        lockstep.work(0, threads);
    });
    for berth in lockstep.berths {
        let shard = berth.shard.into_inner().unwrap_or_else(PoisonError::into_inner);
        for parcels in berth.boxes {
            shard.book(parcels.into_inner().unwrap_or_else(PoisonError::into_inner), common);
        }
        shard.rest(end);
    }
}

struct Lockstep<'a, P: Process> {
    common: &'a Common,
    end: u64,
    berths: Vec<Berth<'a, P>>,
    /// The window that is open; [`OVER`] after the last.
    window: AtomicUsize,
    /// When it starts.
    start: AtomicU64,
    /// Shards that have not lived through it.
    left: AtomicUsize,
    broken: AtomicBool,
    sleepers: AtomicUsize,
    bed: Mutex<()>,
    bell: Condvar,
}

/// A shard, and what it takes to work on it. Aligned, so that two threads do not write to one cache line.
#[repr(align(128))]
struct Berth<'a, P: Process> {
    shard: Mutex<&'a mut Shard<P>>,
    /// Windows that somebody has taken it for.
    taken: AtomicUsize,
    /// When its next event is, or the first of those that it posted.
    next: AtomicU64,
    /// What was posted to it, in even and odd windows.
    boxes: [Mutex<Vec<Parcel<P::Message>>>; 2],
}

impl<'a, P: Process> Lockstep<'a, P> {
    fn open(shards: &'a mut [Shard<P>], common: &'a Common, end: u64) -> Self {
        let berth = |shard: &'a mut Shard<P>| Berth {
            next: AtomicU64::new(shard.next(end).unwrap_or(u64::MAX)),
            shard: Mutex::new(shard),
            taken: AtomicUsize::new(0),
            boxes: [Mutex::default(), Mutex::default()],
        };
        let lockstep = Self {
            common,
            end,
            berths: shards.iter_mut().map(berth).collect(),
            window: AtomicUsize::new(OVER),
            start: AtomicU64::new(0),
            left: AtomicUsize::new(0),
            broken: AtomicBool::new(false),
            sleepers: AtomicUsize::new(0),
            bed: Mutex::new(()),
            bell: Condvar::new(),
        };
        lockstep.open_window(0);
        lockstep
    }

    /// What each thread does. It begins with shards of its own, whose nodes it has in its cache.
    fn work(&self, thread: usize, threads: usize) {
        let _alarm = Alarm(self);
        let shards = self.berths.len();
        let own = thread * shards / threads;
        let mut window = self.window.load(Ordering::SeqCst);
        while window != OVER {
            for berth in self.berths.iter().cycle().skip(own).take(shards) {
                // Fails when it is taken, or the window is long over: whoever was put aside has missed nothing.
                if berth.taken.compare_exchange(window, window + 1, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
                    self.live(berth, window);
                    if self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
                        self.open_window(window + 1);
                    }
                }
            }
            window = self.wait(window);
        }
    }

    /// Lets one shard live through the window, which stays open until that is done.
    fn live(&self, berth: &Berth<'_, P>, window: usize) {
        let shard = &mut **lock(&berth.shard);
        let parcels = std::mem::take(&mut *lock(&berth.boxes[window % 2]));
        shard.book(parcels, self.common);
        let start = self.start.load(Ordering::SeqCst);
        shard.run(start, self.end.min(start + self.common.lookahead_ms() - 1), self.common);
        let mut next = shard.next(self.end).unwrap_or(u64::MAX);
        for (to, parcels) in self.berths.iter().zip(shard.post(self.common, self.berths.len())) {
            if !parcels.is_empty() {
                next = parcels.iter().map(Parcel::first).fold(next, u64::min);
                lock(&to.boxes[(window + 1) % 2]).extend(parcels);
            }
        }
        berth.next.store(next, Ordering::SeqCst);
    }

    /// Opens a window where the next event is, once all have lived through the one before.
    fn open_window(&self, window: usize) {
        let start = self.berths.iter().map(|berth| berth.next.load(Ordering::SeqCst)).min().unwrap_or(u64::MAX);
        self.start.store(start, Ordering::SeqCst);
        self.left.store(self.berths.len(), Ordering::SeqCst);
        self.window.store(if start > self.end { OVER } else { window }, Ordering::SeqCst);
        self.wake();
    }

    /// Waits for a window after this one: looks again and again before it sleeps.
    fn wait(&self, window: usize) -> usize {
        let over = || self.window.load(Ordering::SeqCst) != window || self.broken.load(Ordering::SeqCst);
        let mut looks = 0;
        while looks < LOOKS && !over() {
            looks += 1;
            std::hint::spin_loop();
        }
        if !over() {
            self.sleepers.fetch_add(1, Ordering::SeqCst);
            drop(self.bell.wait_while(lock(&self.bed), |()| !over()));
            self.sleepers.fetch_sub(1, Ordering::SeqCst);
        }
        assert!(!self.broken.load(Ordering::SeqCst), "another thread of the simulated world panicked");
        self.window.load(Ordering::SeqCst)
    }

    fn wake(&self) {
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            // Whoever has looked for the last time either sleeps by now or will look once more behind this lock.
            drop(self.bed.lock());
            self.bell.notify_all();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps the others from waiting for a thread that panicked.
struct Alarm<'a, 'w, P: Process>(&'a Lockstep<'w, P>);

impl<P: Process> Drop for Alarm<'_, '_, P> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.broken.store(true, Ordering::SeqCst);
            self.0.wake();
        }
    }
}
