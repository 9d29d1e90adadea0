//! Events in order of time, and of arrival within one millisecond: a ring of buckets for the near future, a map for
//! the rest.

use std::collections::BTreeMap;

/// Milliseconds in the ring. Message delays fit; deadlines further off wait in the map.
const RING_MS: u64 = 4_096;

pub(super) struct Queue<E> {
    /// Bucket `t % RING_MS` holds the events of `t`, for `at <= t < at + RING_MS`.
    ring: Vec<Vec<E>>,
    later: BTreeMap<u64, Vec<E>>,
    at: u64,
    spare: Vec<Vec<E>>,
}

impl<E> Queue<E> {
    pub(super) fn new() -> Self {
        Self { ring: (0..RING_MS).map(|_| Vec::new()).collect(), later: BTreeMap::new(), at: 0, spare: Vec::new() }
    }

    /// Adds an event. One for the past comes next.
    pub(super) fn push(&mut self, at: u64, event: E) {
        let at = at.max(self.at);
        if at - self.at < RING_MS {
            self.ring[bucket(at)].push(event);
        } else {
            self.later.entry(at).or_insert_with(|| self.spare.pop().unwrap_or_default()).push(event);
        }
    }

    /// When the next event is, if not after `end`.
    pub(super) fn next(&self, end: u64) -> Option<u64> {
        let mut near = self.at..=end.min(self.at + RING_MS - 1);
        let near = near.find(|at| !self.at(*at).is_empty());
        let later = self.later.first_key_value().map(|(at, _)| *at).filter(|at| *at <= end);
        near.into_iter().chain(later).min()
    }

    /// Moves on to a time before which there is no event.
    pub(super) fn advance(&mut self, to: u64) {
        self.at = self.at.max(to);
        self.draw_near();
    }

    /// The events of a time in the near future, as far as they are known.
    pub(super) fn at(&self, at: u64) -> &[E] {
        &self.ring[bucket(at)]
    }

    /// The events of the next millisecond that has any, up to `end`. Events added for that same millisecond while
    /// these are handled come with the next call.
    pub(super) fn pop(&mut self, end: u64) -> Option<(u64, Vec<E>)> {
        while self.at <= end {
            self.draw_near();
            if !self.ring[bucket(self.at)].is_empty() {
                let spare = self.spare.pop().unwrap_or_default();
                return Some((self.at, std::mem::replace(&mut self.ring[bucket(self.at)], spare)));
            }
            self.at += 1;
        }
        self.at = end;
        None
    }

    /// Gives a handled bucket back, so that its memory is used again.
    pub(super) fn recycle(&mut self, mut events: Vec<E>) {
        events.clear();
        if self.spare.len() < 64 {
            self.spare.push(events);
        }
    }

    /// Moves what has come near into the ring, ahead of what was added to it since.
    fn draw_near(&mut self) {
        let horizon = self.at + RING_MS;
        while self.later.first_key_value().is_some_and(|(at, _)| *at < horizon) {
            let (at, mut events) = self.later.pop_first().expect("just seen");
            let bucket = &mut self.ring[bucket(at)];
            events.append(bucket);
            *bucket = events;
        }
    }
}

fn bucket(at: u64) -> usize {
    usize::try_from(at % RING_MS).expect("a ring index is small")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_order_of_time_and_arrival() {
        let mut queue = Queue::new();
        let times = [5_000, 3, 5_000, 100_000, 3, 0, 4_095, 4_096, 5_000];
        for (number, at) in times.into_iter().enumerate() {
            queue.push(at, (at, number));
        }
        let mut seen = Vec::new();
        while let Some((at, events)) = queue.pop(50_000) {
            assert!(events.iter().all(|event| event.0 == at));
            seen.extend(events.iter().copied());
            queue.recycle(events);
        }
        let mut expected: Vec<_> = times.into_iter().zip(0..).filter(|event| event.0 <= 50_000).collect();
        expected.sort_unstable();
        assert_eq!(seen, expected);
        queue.push(50_001, (50_001, 99));
        assert_eq!((queue.next(50_000), queue.next(60_000)), (None, Some(50_001)));
        assert_eq!(queue.pop(60_000), Some((50_001, vec![(50_001, 99)])));
        assert_eq!(queue.next(200_000), Some(100_000));
        queue.advance(99_999);
        assert_eq!(queue.at(100_000), [(100_000, 3)]);
        assert_eq!(queue.pop(200_000), Some((100_000, vec![(100_000, 3)])));
        assert_eq!(queue.pop(200_000), None);
    }
}
