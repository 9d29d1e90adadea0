//! Figures about the writer, for dashboards. Counting costs a few atomic additions per flush.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

/// Upper bounds of the buckets of [`WriterStats::flush_micros`], in microseconds; the last bucket has none.
pub const FLUSH_MICROS_BUCKETS: [u64; 10] = [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 250_000, 1_000_000];

/// Upper bounds of the buckets of [`WriterStats::batches_per_flush`]; the last bucket has none.
pub const BATCHES_PER_FLUSH_BUCKETS: [u64; 8] = [1, 2, 4, 8, 16, 32, 64, 256];

/// What the writer has done since the store was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WriterStats {
    /// Batches written.
    pub committed: u64,
    /// Batches refused because a condition did not hold.
    pub refused: u64,
    /// Batches turned away because the queue was full.
    pub busy: u64,
    /// Bytes of keys and values written.
    pub bytes: u64,
    /// Events appended.
    pub events: u64,
    /// Batches waiting now.
    pub waiting: u64,
    /// Time per flush.
    pub flush_micros: Histogram,
    /// Batches that shared a flush.
    pub batches_per_flush: Histogram,
}

/// Observations by size.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Histogram {
    /// Observations per bucket, not cumulative; one more than there are bounds.
    pub buckets: Vec<u64>,
    /// Observations.
    pub count: u64,
    /// Their sum.
    pub sum: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) committed: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) busy: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) events: AtomicU64,
    flush_micros: Buckets<11>,
    batches_per_flush: Buckets<9>,
}

#[derive(Debug)]
struct Buckets<const N: usize> {
    counts: [AtomicU64; N],
    sum: AtomicU64,
}

impl<const N: usize> Default for Buckets<N> {
    fn default() -> Self {
        Self { counts: std::array::from_fn(|_| AtomicU64::new(0)), sum: AtomicU64::new(0) }
    }
}

impl<const N: usize> Buckets<N> {
    fn observe(&self, bounds: &[u64], value: u64) {
        let bucket = bounds.iter().position(|bound| value <= *bound).unwrap_or(bounds.len());
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    fn snapshot(&self) -> Histogram {
        let buckets: Vec<_> = self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        Histogram { count: buckets.iter().sum(), sum: self.sum.load(Ordering::Relaxed), buckets }
    }
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, amount: usize) {
        counter.fetch_add(u64::try_from(amount).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn flushed(&self, batches: usize, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.flush_micros.observe(&FLUSH_MICROS_BUCKETS, micros);
        self.batches_per_flush.observe(&BATCHES_PER_FLUSH_BUCKETS, u64::try_from(batches).unwrap_or(u64::MAX));
    }

    pub(crate) fn snapshot(&self, waiting: usize) -> WriterStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        WriterStats {
            committed: read(&self.committed),
            refused: read(&self.refused),
            busy: read(&self.busy),
            bytes: read(&self.bytes),
            events: read(&self.events),
            waiting: u64::try_from(waiting).unwrap_or(u64::MAX),
            flush_micros: self.flush_micros.snapshot(),
            batches_per_flush: self.batches_per_flush.snapshot(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn observations_land_in_their_bucket() {
        let counters = Counters::default();
        counters.flushed(1, Duration::from_micros(100));
        counters.flushed(300, Duration::from_secs(2));
        let stats = counters.snapshot(0);
        assert_eq!((stats.flush_micros.buckets[0], stats.flush_micros.buckets[10]), (1, 1));
        assert_eq!((stats.batches_per_flush.buckets[0], stats.batches_per_flush.buckets[8]), (1, 1));
        assert_eq!((stats.flush_micros.count, stats.flush_micros.sum), (2, 2_000_100));
    }
}
