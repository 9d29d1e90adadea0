//! The order of things step by step, then against a small world in which anything may fail at any point.

use std::collections::VecDeque;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::time::Timestamp;

const CONFIG: Config = Config {
    freeze_max: Duration::from_secs(5),
    attempts_max: 3,
    patience: Duration::from_secs(60),
    lag_max: 10,
    grace: Duration::from_secs(600),
};

fn at(second: u64) -> Timestamp {
    Timestamp::from_millis(1_000_000 + second * 1000)
}

fn step(migration: &mut Migration, second: u64, input: Input) -> Vec<Effect> {
    let mut effects = Vec::new();
    migration.handle(at(second), &CONFIG, input, &mut effects).expect("in order");
    effects
}

fn far(complete: u64, newest: u64) -> Input {
    Input::Progress(Progress { complete: Some(complete), newest, stopped: false })
}

fn stopped_at(newest: u64) -> Input {
    Input::Frozen { attempt: 0, newest }
}

fn compared(same: bool) -> Input {
    Input::Compared { attempt: 0, same }
}

/// A move whose writes are frozen at second 3.
fn frozen(kind: Kind) -> Migration {
    let mut it = Migration::new(kind, at(0));
    assert_eq!(it.begin(), [Effect::Journal, Effect::Precheck]);
    assert_eq!(step(&mut it, 0, Input::Prechecked(Ok(()))), [Effect::Journal, Effect::Place]);
    assert_eq!(step(&mut it, 1, Input::Placed(Ok(()))), [Effect::Journal, Effect::Observe]);
    let copying = Input::Progress(Progress { complete: None, newest: 90, stopped: false });
    assert_eq!(step(&mut it, 2, copying), []);
    assert_eq!(step(&mut it, 2, far(50, 90)), [Effect::Journal, Effect::Observe]);
    assert_eq!(step(&mut it, 2, far(60, 90)), [], "too far behind to stop anybody");
    assert_eq!(step(&mut it, 3, far(85, 90)), [Effect::Journal, Effect::Freeze(0), Effect::Observe]);
    it
}

fn cutting_over_as(kind: Kind) -> Migration {
    let mut it = frozen(kind);
    assert_eq!(step(&mut it, 3, far(90, 90)), [], "what is newest is known once writes have stopped");
    assert_eq!(step(&mut it, 3, stopped_at(92)), []);
    assert_eq!(step(&mut it, 4, far(91, 92)), []);
    assert_eq!(step(&mut it, 4, far(92, 92)), [Effect::Journal, Effect::Compare(0)]);
    assert_eq!(step(&mut it, 4, compared(true)), [Effect::Journal, Effect::Submit]);
    it
}

fn cutting_over() -> Migration {
    cutting_over_as(Kind::Move)
}

#[test]
fn a_move_goes_through_its_phases_and_ends_after_the_grace() {
    let mut it = cutting_over();
    assert!(it.holds_writes() && !it.can_cancel());
    assert_eq!(it.next_deadline(&CONFIG), None, "only the ledger says how it goes on");
    let decided = step(&mut it, 5, Input::Decided(Ok(())));
    assert_eq!(decided, [Effect::Journal, Effect::Thaw, Effect::Switch]);
    assert_eq!((it.status(), it.froze_for()), (Status::InProgress, Some(2000)));
    assert_eq!(step(&mut it, 6, Input::Serving), [Effect::Journal, Effect::Watch]);
    assert_eq!((it.status(), it.until()), (Status::Completed, Some(at(606))));
    assert_eq!(step(&mut it, 605, Input::Tick), []);
    assert_eq!(step(&mut it, 606, Input::Tick), [Effect::Journal, Effect::Release]);
    step(&mut it, 607, Input::Released);
    assert_eq!(it.phase(), Phase::Ended(End::Completed));
}

#[test]
fn within_the_grace_the_way_back_is_open() {
    let mut it = cutting_over();
    step(&mut it, 5, Input::Decided(Ok(())));
    step(&mut it, 6, Input::Serving);
    step(&mut it, 300, Input::Returned);
    assert_eq!((it.phase(), it.status()), (Phase::Ended(End::RolledBack), Status::RolledBack));
    let mut back = cutting_over_as(Kind::Return);
    step(&mut back, 5, Input::Decided(Ok(())));
    assert_eq!(
        step(&mut back, 6, Input::Serving),
        [Effect::Journal, Effect::Release],
        "there is nothing to go back to"
    );
}

#[test]
fn writes_wait_no_longer_than_they_may() {
    let mut it = frozen(Kind::Move);
    for attempt in 1..CONFIG.attempts_max {
        let deadline = it.next_deadline(&CONFIG).expect("there is a bound");
        assert_eq!(step(&mut it, 7, Input::Tick), [], "{deadline:?} is not yet");
        let thawed = step(&mut it, 8, Input::Tick);
        assert_eq!(thawed, [Effect::Thaw, Effect::Journal, Effect::Observe], "attempt {attempt}");
        assert_eq!((it.phase(), it.holds_writes()), (Phase::CatchUp, false));
        step(&mut it, 3, far(90, 90));
    }
    assert_eq!(step(&mut it, 8, Input::Tick), [Effect::Thaw, Effect::Journal, Effect::Undo]);
    assert_eq!(it.why(), Some(Why::FreezeTooLong));
    step(&mut it, 9, Input::Undone);
    assert_eq!(it.status(), Status::Failed);
}

#[test]
fn what_differs_is_never_switched_to() {
    let mut it = frozen(Kind::Move);
    step(&mut it, 3, stopped_at(90));
    step(&mut it, 3, far(90, 90));
    assert_eq!(step(&mut it, 4, compared(false)), [Effect::Thaw, Effect::Journal, Effect::Observe]);
    let stopped = Input::Progress(Progress { complete: Some(90), newest: 90, stopped: true });
    assert_eq!(step(&mut it, 5, stopped), [Effect::Journal, Effect::Undo]);
    assert_eq!((it.why(), Why::DigestMismatch.status()), (Some(Why::DigestMismatch), 422));
}

#[test]
fn what_an_earlier_attempt_found_says_nothing() {
    let mut it = frozen(Kind::Move);
    step(&mut it, 8, Input::Tick);
    assert_eq!(step(&mut it, 8, far(90, 92)), [Effect::Journal, Effect::Freeze(1), Effect::Observe]);
    let mut effects = Vec::new();
    assert!(it.handle(at(8), &CONFIG, stopped_at(90), &mut effects).is_err(), "writes went on since");
    assert_eq!(step(&mut it, 8, Input::Frozen { attempt: 1, newest: 92 }), []);
    assert_eq!(step(&mut it, 8, far(92, 92)), [Effect::Journal, Effect::Compare(1)]);
    assert!(it.handle(at(8), &CONFIG, compared(true), &mut effects).is_err());
    let now = Input::Compared { attempt: 1, same: true };
    assert_eq!(step(&mut it, 8, now), [Effect::Journal, Effect::Submit]);
}

#[test]
fn after_a_crash_it_goes_on_where_it_was() {
    for (second, mut it, expected) in
        [(3, frozen(Kind::Move), vec![Effect::Journal, Effect::Observe]), (4, cutting_over(), vec![Effect::Submit])]
    {
        let held = it.phase() == Phase::Cutover;
        assert_eq!(step(&mut it, second, Input::Resumed), expected);
        assert_eq!(it.holds_writes(), held, "what the ledger may still decide is waited for, also by writers");
    }
}

#[test]
fn what_comes_out_of_order_is_refused_by_name() {
    let inputs = [
        Input::Prechecked(Ok(())),
        Input::Placed(Ok(())),
        stopped_at(1),
        compared(true),
        Input::Decided(Ok(())),
        Input::Serving,
        Input::Returned,
        Input::MovedOn,
        Input::Released,
        Input::Undone,
        Input::Cancel,
    ];
    let fitting = |phase: Phase| match phase {
        Phase::Precheck => vec![inputs[0], Input::Cancel],
        Phase::CatchUp => vec![Input::Cancel],
        Phase::Freeze => vec![stopped_at(1), Input::Cancel],
        Phase::Cutover => vec![inputs[4]],
        Phase::Grace => vec![Input::Returned, Input::MovedOn],
        _ => vec![],
    };
    let mut caught_up = frozen(Kind::Move);
    step(&mut caught_up, 8, Input::Tick);
    let mut grace = cutting_over();
    step(&mut grace, 5, Input::Decided(Ok(())));
    step(&mut grace, 6, Input::Serving);
    let mut ended = grace.clone();
    step(&mut ended, 7, Input::Returned);
    for it in [Migration::new(Kind::Move, at(0)), caught_up, frozen(Kind::Move), cutting_over(), grace, ended] {
        for input in inputs {
            let (mut after, mut effects) = (it.clone(), Vec::new());
            let done = after.handle(at(9), &CONFIG, input, &mut effects);
            if fitting(it.phase()).contains(&input) {
                assert_eq!(done, Ok(()), "{input:?} in {:?}", it.phase());
            } else {
                assert_eq!(done, Err(OutOfOrder { phase: it.phase(), input }));
                assert_eq!((&after, effects.len()), (&it, 0), "nothing has changed");
            }
        }
    }
}

#[test]
fn what_is_stored_is_read_again() {
    let it = cutting_over();
    let bytes = serde_ipld_dagcbor::to_vec(&it).expect("encodes");
    assert_eq!(serde_ipld_dagcbor::from_slice::<Migration>(&bytes).expect("reads"), it);
}

/// Two nodes, the ledger between them, and a client that writes to the source.
struct World {
    now: u64,
    machine: Migration,
    journal: Option<Migration>,
    /// Whether writes wait at the source. A crash forgets it.
    fenced: bool,
    /// The newest write that the source acknowledged, and the newest that the target has.
    written: u64,
    copied: Option<u64>,
    /// Asked of the ledger: what is on its way is never called back.
    asked: bool,
    moved: bool,
    serves: bool,
    todo: VecDeque<Effect>,
    observing: bool,
    watching: bool,
    frozen_since: Option<u64>,
    longest_freeze: u64,
}

impl World {
    fn new() -> Self {
        let machine = Migration::new(Kind::Move, at(0));
        let todo = machine.begin().into();
        Self {
            now: 0,
            journal: None,
            machine,
            fenced: false,
            written: 0,
            copied: None,
            asked: false,
            moved: false,
            serves: false,
            todo,
            observing: false,
            watching: false,
            frozen_since: None,
            longest_freeze: 0,
        }
    }

    fn feed(&mut self, input: Input) {
        let mut effects = Vec::new();
        // What the world says may come late; the machine refuses it by name and nothing happens.
        if self.machine.handle(at(self.now), &CONFIG, input, &mut effects).is_ok() {
            self.todo.extend(effects);
        }
    }

    /// A write is acknowledged by whoever may take it.
    fn write(&mut self) {
        let waits = self.fenced || self.moved;
        if !waits {
            self.written += 1;
        }
    }

    fn crash(&mut self) {
        self.todo.clear();
        (self.fenced, self.observing, self.watching, self.frozen_since) = (false, false, false, None);
        match self.journal.clone() {
            Some(journal) => {
                self.machine = journal;
                // Before anything is served.
                self.fenced = self.machine.phase() == Phase::Cutover;
                self.feed(Input::Resumed);
            }
            None => *self = Self { written: self.written, now: self.now, ..Self::new() },
        }
    }

    fn perform(&mut self, luck: u8) {
        let Some(effect) = self.todo.pop_front() else { return };
        let good = !luck.is_multiple_of(7);
        match effect {
            Effect::Journal => self.journal = Some(self.machine.clone()),
            Effect::Precheck => self.feed(Input::Prechecked(if good { Ok(()) } else { Err(Why::NoRoom) })),
            Effect::Place => self.feed(Input::Placed(if good { Ok(()) } else { Err(Why::LedgerRefused) })),
            Effect::Observe => self.observing = true,
            Effect::Freeze(attempt) => {
                self.fenced = true;
                self.frozen_since = Some(self.now);
                self.feed(Input::Frozen { attempt, newest: self.written });
            }
            Effect::Compare(attempt) => {
                self.feed(Input::Compared { attempt, same: good && self.copied == Some(self.written) });
            }
            Effect::Thaw => {
                let since = self.frozen_since.take().filter(|_| !self.asked);
                self.longest_freeze = self.longest_freeze.max(since.map_or(0, |since| self.now - since));
                self.fenced = false;
            }
            Effect::Submit => (self.fenced, self.asked) = (true, true),
            Effect::Switch | Effect::Watch => self.watching = true,
            Effect::Release => self.feed(Input::Released),
            Effect::Undo => {
                assert!(!self.moved, "what is decided is not taken back in silence");
                self.copied = None;
                self.feed(Input::Undone);
            }
        }
    }

    fn act(&mut self, action: u8, luck: u8) {
        match action {
            0..=2 => self.write(),
            3..=7 => self.perform(luck),
            8..=10 => {
                self.copied = Some(self.copied.unwrap_or(0).max(self.written.saturating_sub(u64::from(luck % 3))));
                if self.observing {
                    let stopped = luck == 50;
                    self.feed(Input::Progress(Progress { complete: self.copied, newest: self.written, stopped }));
                }
            }
            11 if self.asked && !self.moved => {
                assert_eq!(self.copied, Some(self.written), "an acknowledged write would be lost");
                self.moved = true;
            }
            11 | 12 if self.moved => {
                self.feed(Input::Decided(Ok(())));
                self.serves = true;
                if self.watching {
                    self.feed(Input::Serving);
                }
            }
            // Whoever performs effects does so at once.
            13 if !self.todo.contains(&Effect::Thaw) => self.now += 1,
            14 if luck < 20 => self.crash(),
            15 if luck < 5 => self.feed(Input::Cancel),
            _ => {}
        }
        self.feed(Input::Tick);
        self.check();
    }

    fn check(&self) {
        assert!(!self.asked || self.moved || self.fenced, "a write that the decision overtakes would be lost");
        let limit = CONFIG.freeze_max.as_secs();
        assert!(self.longest_freeze <= limit, "writes waited {} s", self.longest_freeze);
        let calm = self.machine.is_over() && self.todo.is_empty();
        assert!(!calm || !self.fenced, "nobody waits for a move that is over");
        let kept = matches!(self.machine.phase(), Phase::Grace | Phase::Cleanup | Phase::Ended(End::Completed));
        assert!(!kept || (self.moved && self.serves), "done is what serves");
        assert!(self.machine.phase() != Phase::Ended(End::Failed) || !self.moved, "never two answers");
    }

    /// From here on everything goes well.
    fn settle(&mut self) {
        for _ in 0..200 {
            for action in [3, 4, 5, 6, 7, 8, 11, 12] {
                self.act(action, 3);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn whatever_happens_nothing_is_lost_and_it_comes_to_an_end(
        actions in proptest::collection::vec((0_u8..16, 1_u8..100), 0..400),
    ) {
        let mut world = World::new();
        for (action, luck) in actions {
            world.act(action, luck);
        }
        world.settle();
        let phase = world.machine.phase();
        prop_assert!(phase == Phase::Grace || world.machine.is_over(), "it is stuck in {:?}", phase);
    }
}
