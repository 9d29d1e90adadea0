//! Shards in step: each on its thread lives through a window in which no message can arrive that is not known yet, then
//! all meet and exchange what was sent.
//!
//! One meeting a window. Before it everybody leaves parcels in the others' boxes and says when its next event is; after
//! it everybody knows where the next window begins. Boxes and times are kept twice, for even and odd windows: whoever is
//! quick writes the next ones while the slow still read.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use super::shard::{Parcel, Shard};
use super::{Common, Process};

/// How often is looked before going to sleep: some ten microseconds, about what a window of a thousand nodes takes.
const LOOKS: u32 = 1_024;

/// Lets all shards live up to and including `end`.
pub(super) fn run<P: Process>(shards: &mut [Shard<P>], common: &Common, end: u64) {
    let crossing = Crossing::new(shards.len());
    std::thread::scope(|scope| {
        let crossing = &crossing;
        let Some((first, others)) = shards.split_first_mut() else { return };
        for (shard, place) in others.iter_mut().zip(1..) {
            scope.spawn(move || keep_step(shard, place, common, crossing, end));
        }
        keep_step(first, 0, common, crossing, end);
    });
}

fn keep_step<P: Process>(
    shard: &mut Shard<P>,
    place: usize,
    common: &Common,
    crossing: &Crossing<P::Message>,
    end: u64,
) {
    let _alarm = Alarm(&crossing.meeting);
    let mut next = shard.next(end).unwrap_or(u64::MAX);
    for window in 0_usize.. {
        let desk = &crossing.desks[window % 2];
        desk.next[place].store(next, Ordering::Release);
        crossing.meeting.wait();
        let parcels = std::mem::take(&mut *desk.boxes[place].lock().unwrap_or_else(PoisonError::into_inner));
        shard.book(parcels, common);
        let start = desk.next.iter().map(|next| next.load(Ordering::Acquire)).min().unwrap_or(u64::MAX);
        if start > end {
            break;
        }
        shard.run(start, end.min(start + common.lookahead_ms() - 1), common);
        let other = &crossing.desks[(window + 1) % 2];
        next = shard.next(end).unwrap_or(u64::MAX);
        for (to, parcels) in shard.post(common, other.boxes.len()).into_iter().enumerate() {
            if !parcels.is_empty() {
                next = parcels.iter().map(Parcel::first).fold(next, u64::min);
                other.boxes[to].lock().unwrap_or_else(PoisonError::into_inner).extend(parcels);
            }
        }
    }
    shard.rest(end);
}

struct Crossing<M> {
    meeting: Meeting,
    desks: [Desk<M>; 2],
}

struct Desk<M> {
    /// When each shard's next event is, or one that it posted.
    next: Vec<AtomicU64>,
    /// What was posted to each shard.
    boxes: Vec<Mutex<Vec<Parcel<M>>>>,
}

impl<M> Crossing<M> {
    fn new(parties: usize) -> Self {
        let desk = || Desk {
            next: (0..parties).map(|_| AtomicU64::new(u64::MAX)).collect(),
            boxes: (0..parties).map(|_| Mutex::new(Vec::new())).collect(),
        };
        Self { meeting: Meeting::of(parties), desks: [desk(), desk()] }
    }
}

/// A barrier for windows of microseconds: whoever waits looks again and again before it sleeps.
struct Meeting {
    parties: usize,
    arrived: AtomicUsize,
    held: AtomicUsize,
    broken: AtomicBool,
    sleepers: AtomicUsize,
    bed: Mutex<()>,
    bell: Condvar,
}

impl Meeting {
    const fn of(parties: usize) -> Self {
        Self {
            parties,
            arrived: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
            broken: AtomicBool::new(false),
            sleepers: AtomicUsize::new(0),
            bed: Mutex::new(()),
            bell: Condvar::new(),
        }
    }

    fn wait(&self) {
        let held = self.held.load(Ordering::SeqCst);
        if self.arrived.fetch_add(1, Ordering::SeqCst) + 1 == self.parties {
            self.arrived.store(0, Ordering::SeqCst);
            self.held.store(held + 1, Ordering::SeqCst);
            self.wake();
            return;
        }
        let over = || self.held.load(Ordering::SeqCst) != held || self.broken.load(Ordering::SeqCst);
        let mut looks = 0;
        while looks < LOOKS && !over() {
            looks += 1;
            std::hint::spin_loop();
        }
        if !over() {
            self.sleepers.fetch_add(1, Ordering::SeqCst);
            let guard = self.bed.lock().unwrap_or_else(PoisonError::into_inner);
            drop(self.bell.wait_while(guard, |()| !over()));
            self.sleepers.fetch_sub(1, Ordering::SeqCst);
        }
        assert!(!self.broken.load(Ordering::SeqCst), "another thread of the simulated world panicked");
    }

    fn wake(&self) {
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            // Whoever has looked for the last time either sleeps by now or will look once more behind this lock.
            drop(self.bed.lock());
            self.bell.notify_all();
        }
    }
}

/// Keeps the others from waiting for a thread that panicked.
struct Alarm<'a>(&'a Meeting);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.broken.store(true, Ordering::SeqCst);
            self.0.wake();
        }
    }
}
