//! Node records still to be fetched: a few at a time, ever more patiently.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::data::Cid;
use crate::ids::Did;
use crate::limits::RECORD_FETCHES_MAX;
use crate::time::Timestamp;

/// Attempts before a record is given up until its node names another one.
const ATTEMPTS_MAX: u32 = 8;

/// The records wanted. Never more than there are registry entries: one per node.
#[derive(Clone, Debug)]
pub(super) struct Fetches {
    wanted: BTreeMap<Did, Fetch>,
    /// When each is due to be asked for (again).
    due: BTreeSet<(Timestamp, Did)>,
    running: usize,
    retry: Duration,
}

#[derive(Clone, Debug)]
struct Fetch {
    cid: Cid,
    attempts: u32,
    due: Timestamp,
    running: bool,
}

impl Fetches {
    pub(super) const fn new(retry: Duration) -> Self {
        Self { wanted: BTreeMap::new(), due: BTreeSet::new(), running: 0, retry }
    }

    /// Wants the record of `did`. Wanting the same again changes nothing.
    pub(super) fn want(&mut self, now: Timestamp, did: &Did, cid: Cid) {
        if self.wanted.get(did).is_some_and(|fetch| fetch.cid == cid) {
            return;
        }
        self.drop(did);
        self.wanted.insert(did.clone(), Fetch { cid, attempts: 0, due: now, running: false });
        self.due.insert((now, did.clone()));
    }

    /// No longer wants anything of `did`.
    pub(super) fn drop(&mut self, did: &Did) {
        if let Some(fetch) = self.wanted.remove(did) {
            self.due.remove(&(fetch.due, did.clone()));
            self.running -= usize::from(fetch.running);
        }
    }

    /// The request for `did` failed: the next attempt is already scheduled.
    pub(super) fn failed(&mut self, did: &Did) {
        if let Some(fetch) = self.wanted.get_mut(did) {
            self.running -= usize::from(std::mem::take(&mut fetch.running));
        }
    }

    /// What to ask for now. An answer that never comes counts as failed when its next attempt is due.
    pub(super) fn start(&mut self, now: Timestamp) -> Option<(Did, Cid)> {
        while let Some((due, did)) = self.due.first().cloned() {
            if due > now {
                return None;
            }
            self.failed(&did);
            let exhausted = self.wanted.get(&did).is_none_or(|fetch| fetch.attempts >= ATTEMPTS_MAX);
            if exhausted {
                self.drop(&did);
                continue;
            }
            if self.running >= RECORD_FETCHES_MAX {
                return None;
            }
            let fetch = self.wanted.get_mut(&did).expect("what is due is wanted");
            self.due.remove(&(fetch.due, did.clone()));
            fetch.due = now + self.retry * (1 << fetch.attempts);
            fetch.attempts += 1;
            fetch.running = true;
            self.running += 1;
            self.due.insert((fetch.due, did.clone()));
            return Some((did, fetch.cid));
        }
        None
    }

    /// When something could be asked for.
    pub(super) fn next(&self) -> Option<Timestamp> {
        let (due, did) = self.due.first()?;
        let blocked = self.running >= RECORD_FETCHES_MAX && !self.wanted.get(did).is_some_and(|fetch| fetch.running);
        if blocked { self.first_running() } else { Some(*due) }
    }

    /// With all slots taken, the first to become free by giving up its answer.
    fn first_running(&self) -> Option<Timestamp> {
        self.wanted.values().filter(|fetch| fetch.running).map(|fetch| fetch.due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::NodeKey;
    use crate::membership::NodeRecord;

    const RETRY: Duration = Duration::from_secs(60);

    fn did(seed: u8) -> Did {
        NodeKey::from_seed(&[seed; 32]).did()
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn a_few_run_at_a_time() {
        let mut fetches = Fetches::new(RETRY);
        for seed in 0..20 {
            fetches.want(at(0), &did(seed), NodeRecord::cid(&[seed]));
        }
        let started: Vec<_> = std::iter::from_fn(|| fetches.start(at(0))).collect();
        assert_eq!(started.len(), RECORD_FETCHES_MAX);
        assert_eq!(fetches.next(), Some(at(60)));
        fetches.drop(&started[0].0);
        assert_eq!(fetches.next(), Some(at(0)));
        assert!(fetches.start(at(1)).is_some());
        assert!(fetches.start(at(1)).is_none());
    }

    #[test]
    fn failures_wait_ever_longer_and_end() {
        let mut fetches = Fetches::new(RETRY);
        fetches.want(at(0), &did(1), NodeRecord::cid(b"a"));
        let mut times = vec![];
        while let Some(due) = fetches.next() {
            if fetches.start(due).is_some() {
                times.push(due.as_millis() / 1000);
                fetches.failed(&did(1));
            }
        }
        assert_eq!(times, [0, 60, 180, 420, 900, 1860, 3780, 7620]);
        fetches.want(at(9999), &did(1), NodeRecord::cid(b"b"));
        assert!(fetches.start(at(9999)).is_some(), "a new record is a new start");
    }
}
