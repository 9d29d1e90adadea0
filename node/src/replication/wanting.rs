//! Files that a primary does not have as their names say: damaged, cut short or gone there. They are asked for again, ever
//! more seldom, while everything else goes on; a copy is not whole without them, and its operator is told which.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use angel_protocol::data::Cid;

/// Attempts after which it is told. What was resumed may have been another file's beginning, and a record that names a file
/// may be on its way out: neither happens time and again.
const ATTEMPTS_TOLD: u32 = 3;

/// The wait after the first attempt, doubled after each that follows, and the longest.
const WAIT_FIRST: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_mins(5);

/// Files that are remembered; with more, it is the primary that does not answer as it should.
const FILES_MAX: usize = 256;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Wanting(BTreeMap<Cid, Attempts>);

#[derive(Debug)]
struct Attempts {
    count: u32,
    next: Instant,
    why: String,
}

impl Wanting {
    /// Whether a file is not to be asked for yet.
    pub(super) fn waits(&self, cid: &Cid, now: Instant) -> bool {
        self.0.get(cid).is_some_and(|it| now < it.next)
    }

    /// A file did not come as it should; answers whether there is room to remember that.
    pub(super) fn failed(&mut self, cid: Cid, why: String, now: Instant) -> bool {
        if self.0.len() >= FILES_MAX && !self.0.contains_key(&cid) {
            return false;
        }
        let count = self.0.get(&cid).map_or(1, |before| before.count.saturating_add(1));
        let wait = WAIT_FIRST.saturating_mul(1 << (count - 1).min(16)).min(WAIT_MAX);
        self.0.insert(cid, Attempts { count, next: now + wait, why });
        true
    }

    /// Forgets files that are here now, or that no record names any more.
    pub(super) fn keep(&mut self, missing: &BTreeSet<Cid>) {
        self.0.retain(|cid, _| missing.contains(cid));
    }

    /// Whether nothing is wanting.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it is time to ask for one again.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.0.values().any(|it| it.next <= now)
    }

    /// What the operator is told.
    pub(super) fn told(&self) -> Option<String> {
        let mut bad = self.0.iter().filter(|(_, it)| it.count >= ATTEMPTS_TOLD);
        let (cid, it) = bad.next()?;
        let others = match bad.count() {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        Some(format!("the primary does not have the file {cid} as its name says ({}){others}", it.why))
    }
}

#[cfg(test)]
mod tests {
    use angel_protocol::data::Codec;

    use super::*;

    fn cid(n: usize) -> Cid {
        Cid::of(Codec::Raw, &n.to_be_bytes())
    }

    #[test]
    fn a_file_is_asked_for_ever_more_seldom_and_told_of_when_it_stays_away() {
        let mut wanting = Wanting::default();
        let mut now = Instant::now();
        assert!(!wanting.waits(&cid(1), now) && !wanting.is_due(now));
        let mut waits = Vec::new();
        for attempt in 1..=12 {
            assert!(wanting.failed(cid(1), "other bytes".to_owned(), now));
            assert_eq!(wanting.told().is_some(), attempt >= 3, "attempt {attempt}");
            assert!(wanting.waits(&cid(1), now) && !wanting.is_due(now));
            let wait = (0..400).find(|second| wanting.is_due(now + Duration::from_secs(*second))).expect("in the end");
            now += Duration::from_secs(wait);
            waits.push(wait);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        assert!(wanting.told().expect("told").contains(&cid(1).to_string()));
        wanting.keep(&BTreeSet::from([cid(2)]));
        assert!(wanting.is_empty() && wanting.told().is_none(), "it came, or nobody names it any more");
    }

    #[test]
    fn so_many_are_remembered_and_no_more() {
        let mut wanting = Wanting::default();
        let now = Instant::now();
        let taken = (0..1_000).filter(|n| wanting.failed(cid(*n), String::new(), now)).count();
        assert_eq!(taken, FILES_MAX);
        assert!(wanting.failed(cid(0), String::new(), now), "one that is known");
    }
}
