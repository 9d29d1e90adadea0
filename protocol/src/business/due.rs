//! What becomes of records of a business by the time alone: posts that wait to be published (CNT-01), and what people
//! filled in, which is kept for so long only (FRM-04).

use std::collections::BTreeSet;
use std::time::Duration;

use super::{FORM_SUBMISSION, POST};
use crate::data::{Map, Value};
use crate::ids::Datetime;
use crate::time::Timestamp;

/// What is to be done with a record when its time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It goes into the public repository.
    Publish,
    /// It is taken away.
    Forget,
}

/// The collections of which records fall due.
pub const COLLECTIONS: [&str; 2] = [POST, FORM_SUBMISSION];

/// When a private record of a collection falls due, and for what. `None` for one that waits for nothing: a draft, or
/// answers that are kept for as long as the business wants.
#[must_use]
pub fn due(collection: &str, record: &Map) -> Option<(Timestamp, Step)> {
    let at = |field: &str| record.get(field)?.as_str()?.parse::<Datetime>().ok()?.timestamp();
    match collection {
        POST => {
            let waits = matches!(record.get("status").and_then(Value::as_str), Some("scheduled" | "published"));
            Some((at("publishedAt").filter(|_| waits)?, Step::Publish))
        }
        FORM_SUBMISSION => Some((at("deleteAfter")?, Step::Forget)),
        _ => None,
    }
}

/// A post as it is when it is published: with everything that it said while it waited.
#[must_use]
pub fn published(mut post: Map) -> Map {
    post.insert("status".to_owned(), Value::String("published".to_owned()));
    post
}

/// How far an agenda looks ahead. Whatever is later is found when it is drawn up anew.
pub const HORIZON: Duration = Duration::from_mins(10);

/// How soon an agenda is drawn up anew at the earliest, however much there is to do.
pub const PAUSE: Duration = Duration::from_mins(1);

/// Most entries of an agenda. With more, those that are due last are left out and found when it is drawn up anew.
pub const ENTRIES_MAX: usize = 10_000;

/// What falls due soon, of all businesses of a node: complete up to a time that it knows, and bounded. An entry is a hint;
/// whoever acts on one looks at the record again.
#[derive(Clone, Debug)]
pub struct Agenda<K> {
    entries: BTreeSet<(Timestamp, K)>,
    /// When it was drawn up.
    drawn: Timestamp,
    /// What is due before this is in it.
    complete_until: Timestamp,
}

impl<K: Clone + Ord> Agenda<K> {
    /// An agenda that is about to be drawn up.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self { entries: BTreeSet::new(), drawn: now, complete_until: now + HORIZON }
    }

    /// Notes what is due at `at`, unless that is too far away to be noted yet.
    pub fn note(&mut self, at: Timestamp, what: K) {
        if at >= self.complete_until {
            return;
        }
        self.entries.insert((at, what));
        if self.entries.len() > ENTRIES_MAX
            && let Some((last, _)) = self.entries.pop_last()
        {
            self.complete_until = last.max(self.drawn + PAUSE);
        }
    }

    /// When to look at it next: something falls due then, or it has to be drawn up anew.
    #[must_use]
    pub fn next(&self) -> Timestamp {
        self.entries.first().map_or(self.complete_until, |(at, _)| (*at).min(self.complete_until))
    }

    /// Has it drawn up anew soon, for something has changed that it cannot know of.
    pub fn shorten(&mut self, now: Timestamp) {
        self.complete_until = self.complete_until.min(now.max(self.drawn + PAUSE));
    }

    /// Whether it has to be drawn up anew.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        // A clock that was set back has made the agenda one of the future.
        now >= self.complete_until || now + HORIZON < self.drawn
    }

    /// Takes out what is due, the earliest first.
    pub fn take(&mut self, now: Timestamp) -> Vec<K> {
        let mut due = vec![];
        while self.entries.first().is_some_and(|(at, _)| *at <= now) {
            due.extend(self.entries.pop_first().map(|(_, what)| what));
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn record(fields: &[(&str, &str)]) -> Map {
        fields.iter().map(|(name, value)| ((*name).to_owned(), Value::String((*value).to_owned()))).collect()
    }

    #[test]
    fn posts_wait_for_their_time_and_answers_are_kept_until_theirs() {
        let time = "2030-01-01T00:00:00Z";
        let when = time.parse::<Datetime>().expect("a time").timestamp().expect("one of ours");
        for (status, step) in [
            ("scheduled", Some((when, Step::Publish))),
            ("published", Some((when, Step::Publish))),
            ("draft", None),
            ("archived", None),
        ] {
            assert_eq!(due(POST, &record(&[("status", status), ("publishedAt", time)])), step, "{status}");
        }
        assert_eq!(due(POST, &record(&[("status", "scheduled")])), None, "nobody said when");
        assert_eq!(due(POST, &record(&[("status", "scheduled"), ("publishedAt", "soon")])), None);
        assert_eq!(due(FORM_SUBMISSION, &record(&[("deleteAfter", time)])), Some((when, Step::Forget)));
        assert_eq!(due(FORM_SUBMISSION, &record(&[("submittedAt", time)])), None);
        assert_eq!(due("co.kendev.content.page", &record(&[("publishedAt", time), ("status", "scheduled")])), None);
        assert!(COLLECTIONS.iter().all(|collection| due(collection, &record(&[])).is_none()));
    }

    #[test]
    fn a_published_post_is_the_one_that_waited() {
        let waiting = record(&[("status", "scheduled"), ("title", "Spring"), ("publishedAt", "2030-01-01T00:00:00Z")]);
        let mut after = published(waiting.clone());
        assert_eq!(
            after.insert("status".to_owned(), waiting["status"].clone()),
            Some(Value::String("published".to_owned()))
        );
        assert_eq!(after, waiting);
    }

    #[test]
    fn an_agenda_that_is_full_is_drawn_up_anew_when_what_was_left_out_is_due() {
        let mut agenda = Agenda::new(at(0));
        for number in 0..=ENTRIES_MAX {
            agenda.note(at(200), number);
        }
        assert_eq!((agenda.next(), agenda.complete_until), (at(200), at(200)));
        assert!(!agenda.is_over(at(199)) && agenda.is_over(at(200)));
        assert_eq!(agenda.take(at(200)).len(), ENTRIES_MAX);

        let mut all_at_once = Agenda::new(at(100));
        for number in 0..=ENTRIES_MAX {
            all_at_once.note(at(50), number);
        }
        assert_eq!(all_at_once.take(at(100)).len(), ENTRIES_MAX);
        assert_eq!(all_at_once.next(), at(100) + PAUSE, "it is not drawn up over and over");
    }

    #[test]
    fn an_agenda_of_the_future_is_over() {
        let agenda = Agenda::<u64>::new(at(10_000));
        assert!(!agenda.is_over(at(9_990)));
        assert!(agenda.is_over(at(9_000)), "the clock was set back");
    }

    #[test]
    fn an_agenda_that_is_shortened_is_drawn_up_anew_but_not_at_once() {
        let mut agenda = Agenda::<u64>::new(at(0));
        agenda.shorten(at(1));
        assert_eq!(agenda.next(), at(0) + PAUSE);
        agenda.shorten(at(30));
        assert_eq!(agenda.next(), at(0) + PAUSE);
        let mut old = Agenda::<u64>::new(at(0));
        old.shorten(at(300));
        assert!(old.is_over(at(300)) && !old.is_over(at(299)));
    }

    proptest! {
        #[test]
        fn what_is_due_before_it_is_over_comes_out_in_order_and_once(
            times in prop::collection::vec(0_u64..1_200, 0..200),
            steps in prop::collection::vec(1_u64..300, 1..10),
        ) {
            let mut agenda = Agenda::new(at(0));
            for (number, time) in times.iter().enumerate() {
                agenda.note(at(*time), number);
            }
            let (mut now, mut seen) = (0, vec![]);
            for step in steps {
                now += step;
                prop_assert!(agenda.next() <= at(HORIZON.as_secs()));
                let taken = agenda.take(at(now));
                prop_assert!(taken.iter().all(|number| times[*number] <= now));
                prop_assert!(taken.is_sorted_by_key(|number| times[*number]));
                seen.extend(taken);
            }
            let horizon = HORIZON.as_secs();
            let expected = times.iter().enumerate().filter(|(_, time)| **time <= now && **time < horizon);
            let expected: BTreeSet<_> = expected.map(|(number, _)| number).collect();
            prop_assert_eq!(seen.len(), expected.len());
            prop_assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), expected);
        }
    }
}
