//! What somebody said of whom is not known yet what they are, kept until it is: an agent's message counts when its records
//! say so, and those may lie at hosts that do not answer (MSG-02, AGT-10). Whoever it is is looked up again and again, later
//! and later (SLF-01), for as long as messages of other queues are tried.

use std::collections::BTreeMap;

use crate::backoff::{Backoff, Policy};
use crate::ids::Did;
use crate::limits::{UNHEARD_AUTHORS_MAX, UNHEARD_FOR, UNHEARD_MESSAGES_MAX};
use crate::permissioned::SpaceUri;
use crate::time::Timestamp;

/// What one author said: each message by its room, none for a public repository, and its path; with the event of the log
/// by which it came.
pub type Messages = BTreeMap<(Option<SpaceUri>, String), u64>;

/// Authors of whom has to be found out what they are, and what they said.
#[derive(Debug, Default)]
pub struct Unheard(BTreeMap<Did, Author>);

#[derive(Debug)]
struct Author {
    said: Messages,
    backoff: Backoff,
    /// When the newest of the messages came.
    since: Timestamp,
    /// When to look again.
    due: Timestamp,
    /// Whether somebody is looking.
    is_looked_up: bool,
}

impl Unheard {
    /// Keeps a message until its author is known; a newer version of one takes its place. `false` when there is no room:
    /// of the author, or because all others were never looked up in vain. Else who failed most often makes way.
    #[must_use]
    pub fn add(&mut self, did: &Did, said: (Option<SpaceUri>, String), sequence: u64, now: Timestamp) -> bool {
        if let Some(author) = self.0.get_mut(did) {
            if author.said.len() >= UNHEARD_MESSAGES_MAX && !author.said.contains_key(&said) {
                return false;
            }
            author.said.insert(said, sequence);
            author.since = now;
            return true;
        }
        if self.0.len() >= UNHEARD_AUTHORS_MAX {
            let failed = self.0.iter().filter(|(_, author)| author.backoff.failures() > 0 && !author.is_looked_up);
            let worst = failed.max_by_key(|(_, author)| author.backoff.failures()).map(|(did, _)| did.clone());
            let Some(worst) = worst else { return false };
            self.0.remove(&worst);
        }
        let backoff = Backoff::new(Policy::default());
        let author =
            Author { said: Messages::from([(said, sequence)]), backoff, since: now, due: now, is_looked_up: false };
        self.0.insert(did.clone(), author);
        true
    }

    /// A message is what it was no longer: a newer version of it is judged by itself.
    pub fn forget(&mut self, did: &Did, said: &(Option<SpaceUri>, String)) {
        if let Some(author) = self.0.get_mut(did) {
            author.said.remove(said);
            if author.said.is_empty() && !author.is_looked_up {
                self.0.remove(did);
            }
        }
    }

    /// Somebody who is to be looked up now, if there is anybody; whoever calls says later what came of it.
    pub fn begin(&mut self, now: Timestamp) -> Option<Did> {
        let due = self.0.iter_mut().find(|(_, author)| !author.is_looked_up && author.due <= now);
        due.map(|(did, author)| {
            author.is_looked_up = true;
            did.clone()
        })
    }

    /// When somebody is to be looked up next.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        self.0.values().filter(|author| !author.is_looked_up).map(|author| author.due).min()
    }

    /// An author is known by other ways: what they said need not wait.
    pub fn found(&mut self, did: &Did, now: Timestamp) {
        if let Some(author) = self.0.get_mut(did) {
            author.due = author.due.min(now);
        }
    }

    /// An author is known; what they said is to be judged now.
    pub fn take(&mut self, did: &Did) -> Messages {
        self.0.remove(did).map(|author| author.said).unwrap_or_default()
    }

    /// Nothing could be found out of an author, who is looked up again after a while. Answers how many messages are
    /// given up with them, when nothing was found for longer than messages are kept.
    pub fn failed(&mut self, did: &Did, now: Timestamp, random: u64) -> Option<usize> {
        let author = self.0.get_mut(did)?;
        author.is_looked_up = false;
        let wait = author.backoff.failed(now, random);
        author.due = now + wait;
        if now.since(author.since) < UNHEARD_FOR && !author.said.is_empty() {
            return None;
        }
        self.0.remove(did).map(|author| author.said.len())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_000_000);

    fn did(n: usize) -> Did {
        format!("did:web:agent-{n:05}.test").parse().expect("a DID")
    }

    fn public(n: usize) -> (Option<SpaceUri>, String) {
        (None, format!("co.kendev.spaces.message/{n}"))
    }

    #[test]
    fn whoever_cannot_be_found_is_looked_up_later_and_later_and_then_heard() {
        let mut unheard = Unheard::default();
        assert!(unheard.add(&did(1), public(1), 7, START));
        let mut now = START;
        let mut waits = vec![];
        for _ in 0..12 {
            assert_eq!(unheard.begin(now), Some(did(1)));
            assert_eq!(unheard.begin(now), None, "nobody is looked up twice at a time");
            assert_eq!(unheard.next_due(), None);
            assert_eq!(unheard.failed(&did(1), now, u64::MAX), None);
            let due = unheard.next_due().expect("it is tried again");
            assert_eq!(unheard.begin(now), None, "not before its time");
            waits.push(due.since(now).as_secs());
            now = due;
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        assert_eq!(unheard.begin(now), Some(did(1)));
        assert_eq!(unheard.take(&did(1)), Messages::from([(public(1), 7)]));
        assert_eq!((unheard.next_due(), unheard.begin(now + UNHEARD_FOR)), (None, None));
    }

    #[test]
    fn what_was_found_in_another_way_waits_no_longer() {
        let mut unheard = Unheard::default();
        assert!(unheard.add(&did(1), public(1), 7, START));
        assert_eq!(unheard.begin(START), Some(did(1)));
        assert_eq!(unheard.failed(&did(1), START, u64::MAX), None);
        unheard.found(&did(1), START);
        assert_eq!(unheard.begin(START), Some(did(1)));
    }

    #[test]
    fn the_newest_version_counts_and_one_that_is_gone_does_not() {
        let mut unheard = Unheard::default();
        assert!(unheard.add(&did(1), public(1), 7, START) && unheard.add(&did(1), public(1), 8, START));
        assert!(unheard.add(&did(1), public(2), 9, START));
        unheard.forget(&did(1), &public(2));
        assert_eq!(unheard.begin(START), Some(did(1)));
        // Taken back while its author is looked up.
        unheard.forget(&did(1), &public(1));
        assert_eq!(unheard.failed(&did(1), START, 0), Some(0), "nobody is looked up for nothing");
        assert_eq!(unheard.next_due(), None);
        unheard.forget(&did(2), &public(1));
    }

    #[test]
    fn nobody_is_looked_up_for_ever() {
        let mut unheard = Unheard::default();
        let (later, end) = (START + Duration::from_secs(60), START + UNHEARD_FOR);
        assert!(unheard.add(&did(1), public(1), 7, START));
        assert!(unheard.add(&did(1), public(2), 8, later));
        assert_eq!(unheard.begin(later), Some(did(1)));
        assert_eq!(unheard.failed(&did(1), end, 0), None, "the newest is younger than that");
        assert_eq!(unheard.begin(end), Some(did(1)));
        assert_eq!(unheard.failed(&did(1), end + Duration::from_secs(60), 0), Some(2));
        assert_eq!(unheard.begin(end + UNHEARD_FOR), None);
    }

    #[test]
    fn what_waits_is_bounded_and_strangers_that_never_answer_make_way() {
        let mut unheard = Unheard::default();
        for n in 0..UNHEARD_MESSAGES_MAX {
            assert!(unheard.add(&did(0), public(n), 1, START));
        }
        assert!(!unheard.add(&did(0), public(UNHEARD_MESSAGES_MAX), 1, START));
        assert!(unheard.add(&did(0), public(0), 2, START), "a newer version needs no room");
        for n in 1..UNHEARD_AUTHORS_MAX {
            assert!(unheard.add(&did(n), public(n), 1, START));
        }
        assert!(!unheard.add(&did(UNHEARD_AUTHORS_MAX), public(0), 1, START), "all of them are new");
        for _ in 0..2 {
            let first = unheard.begin(START).expect("due");
            assert_eq!((&first, unheard.failed(&first, START, 0)), (&did(0), None));
        }
        assert!(unheard.add(&did(UNHEARD_AUTHORS_MAX), public(0), 1, START));
        assert_eq!(unheard.take(&did(0)), Messages::new(), "it made way");
    }
}
