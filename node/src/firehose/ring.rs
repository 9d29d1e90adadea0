//! The newest events, in memory, for all followers that are up to date.

use std::collections::VecDeque;
use std::sync::Arc;

/// What a ring holds.
pub(crate) trait Numbered {
    /// Its place in the stream.
    fn sequence(&self) -> u64;

    /// About how many bytes it takes.
    fn bytes(&self) -> usize;
}

/// Most events held. A follower that falls further behind than this and [`BYTES_MAX`] is too slow.
const ENTRIES_MAX: usize = 16_384;

/// Most bytes of frames held: about two seconds of the fastest writing that a small machine does, and minutes of what it
/// usually does.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// Most that a follower takes at a time, so that it looks up in between.
const TAKE_ENTRIES: usize = 64;
const TAKE_BYTES: usize = 512 * 1024;

/// Events in the order of their sequence, without a gap between `from` and `head`.
#[derive(Debug)]
pub(crate) struct Ring<E> {
    entries: VecDeque<Arc<E>>,
    bytes: usize,
    /// Everything behind this sequence is here …
    from: u64,
    /// … up to this one.
    head: u64,
}

/// The position lies before what is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Behind;

impl<E: Numbered> Ring<E> {
    /// Nothing yet, behind the event numbered `head`.
    pub(crate) fn new(head: u64) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, from: head, head }
    }

    /// The sequence behind which everything is here.
    pub(crate) fn from(&self) -> u64 {
        self.from
    }

    /// The sequence up to which everything is here.
    pub(crate) fn head(&self) -> u64 {
        self.head
    }

    /// Whether nothing comes behind `position`, and everything before it is known to have been there.
    pub(crate) fn is_current(&self, position: u64) -> bool {
        position >= self.from && self.entries.back().is_none_or(|newest| newest.sequence() <= position)
    }

    /// Adds what came next, up to and including the sequence `head`.
    pub(crate) fn push(&mut self, entries: impl IntoIterator<Item = Arc<E>>, head: u64) {
        for entry in entries {
            self.bytes += entry.bytes();
            self.entries.push_back(entry);
        }
        self.head = head;
        while self.entries.len() > ENTRIES_MAX || self.bytes > BYTES_MAX {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes -= oldest.bytes();
            self.from = oldest.sequence();
        }
    }

    /// Holds nothing any more: whoever comes reads the log up to the head first.
    pub(crate) fn clear(&mut self) {
        self.entries = VecDeque::new();
        (self.bytes, self.from) = (0, self.head);
    }

    /// Takes out what is no longer told.
    pub(crate) fn remove(&mut self, unwanted: impl Fn(&E) -> bool) {
        self.entries.retain(|entry| !unwanted(entry));
        self.bytes = self.entries.iter().map(|entry| entry.bytes()).sum();
    }

    /// The first events behind `position`, and the position behind them. A position ahead of the head has none.
    pub(crate) fn after(&self, position: u64) -> Result<(Vec<Arc<E>>, u64), Behind> {
        if position < self.from {
            return Err(Behind);
        }
        let first = self.entries.partition_point(|entry| entry.sequence() <= position);
        let mut bytes = 0;
        let taken: Vec<_> = self
            .entries
            .range(first..)
            .take(TAKE_ENTRIES)
            .take_while(|entry| {
                let room = bytes < TAKE_BYTES;
                bytes += entry.bytes();
                room
            })
            .cloned()
            .collect();
        let behind = taken.last().map_or(position, |last| last.sequence());
        Ok((taken, behind))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use angel_protocol::time::Timestamp;

    use super::*;
    use crate::firehose::{Entry, Framed};

    fn entry(sequence: u64, bytes: usize) -> Arc<Entry> {
        let frame = Framed::binary(&vec![0; bytes]);
        Arc::new(Entry { sequence, at: Timestamp::EPOCH, account: None, frame, lines: OnceLock::new() })
    }

    fn sequences(ring: &Ring<Entry>, position: u64) -> Result<Vec<u64>, Behind> {
        Ok(ring.after(position)?.0.iter().map(|entry| entry.sequence).collect())
    }

    #[test]
    fn what_came_is_there_in_order_whatever_the_gaps() {
        let mut ring: Ring<Entry> = Ring::new(10);
        assert_eq!(sequences(&ring, 10), Ok(vec![]));
        assert_eq!(sequences(&ring, 9), Err(Behind));
        ring.push([entry(12, 1), entry(20, 1)], 25);
        assert_eq!(ring.head(), 25);
        assert_eq!(sequences(&ring, 10), Ok(vec![12, 20]));
        assert_eq!(sequences(&ring, 12), Ok(vec![20]));
        assert_eq!(sequences(&ring, 15), Ok(vec![20]));
        assert_eq!(sequences(&ring, 20), Ok(vec![]));
        assert_eq!(sequences(&ring, 99), Ok(vec![]), "ahead: durable, and not read yet");
        let current = [9, 10, 19, 20, 99].map(|position| ring.is_current(position));
        assert_eq!(current, [false, false, false, true, true]);
    }

    #[test]
    fn both_bounds_hold_and_whoever_falls_out_hears_it() {
        let mut ring = Ring::new(0);
        let total = ENTRIES_MAX as u64 + 5;
        ring.push((1..=total).map(|sequence| entry(sequence, 1)), total);
        assert_eq!(sequences(&ring, 4), Err(Behind));
        assert_eq!(sequences(&ring, 5).map(|all| all[0]), Ok(6));
        ring.push((1..=40).map(|n| entry(total + n, BYTES_MAX / 32)), total + 40);
        assert!(ring.bytes <= BYTES_MAX);
        assert_eq!(ring.entries.iter().map(|entry| entry.bytes()).sum::<usize>(), ring.bytes);
        assert_eq!(sequences(&ring, total + 7), Err(Behind));
        assert_eq!(sequences(&ring, total + 8).map(|some| some[0]), Ok(total + 9));
    }

    #[test]
    fn what_was_cleared_is_in_the_log_alone_and_what_comes_then_is_held() {
        let mut ring = Ring::new(0);
        ring.push([entry(1, 10), entry(2, 10)], 3);
        ring.clear();
        assert_eq!((ring.bytes, ring.entries.capacity()), (0, 0));
        assert_eq!(sequences(&ring, 2), Err(Behind));
        assert_eq!(sequences(&ring, 3), Ok(vec![]));
        assert!(ring.is_current(3) && !ring.is_current(2));
        ring.push([entry(5, 10)], 5);
        assert_eq!(sequences(&ring, 3), Ok(vec![5]));
    }

    #[test]
    fn a_follower_takes_a_little_at_a_time_and_at_least_one() {
        let mut ring = Ring::new(0);
        ring.push((1..=100).map(|sequence| entry(sequence, 1)), 100);
        let (taken, position) = ring.after(0).expect("here");
        assert_eq!((taken.len(), position), (TAKE_ENTRIES, TAKE_ENTRIES as u64));
        ring.push([entry(101, TAKE_BYTES * 3), entry(102, 1)], 102);
        assert_eq!(sequences(&ring, 100), Ok(vec![101]));
    }
}
