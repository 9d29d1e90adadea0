//! When which entries are looked at again: rows by grain, so that a node wakes for many entries at once.
//!
//! Nearly every row lies within the next two minutes or so, and one comes up every grain. Those rows form a ring, found by
//! their number alone; a map holds the few that lie further ahead, or in the past of a clock that went back.

use std::collections::BTreeMap;
use std::time::Duration;

use super::registry::Slot;
use crate::time::Timestamp;

/// Rows in the ring: one for each bit that says which of them are filled.
const NEAR: u64 = 128;

/// The slots to look at, by row.
#[derive(Clone, Debug)]
pub(super) struct Due {
    /// Row `n` lies at `n % NEAR`, for `begin <= n < begin + NEAR`.
    near: Box<[Vec<Slot>]>,
    filled: u128,
    begin: u64,
    far: BTreeMap<u64, Vec<Slot>>,
    grain_ms: u64,
}

impl Due {
    pub(super) fn new(grain: Duration) -> Self {
        Self {
            near: (0..NEAR).map(|_| Vec::new()).collect(),
            filled: 0,
            begin: 0,
            far: BTreeMap::new(),
            grain_ms: u64::try_from(grain.as_millis()).unwrap_or(u64::MAX).max(1),
        }
    }

    /// When the first row comes up.
    pub(super) fn first(&self) -> Option<Timestamp> {
        self.first_row().map(|row| self.time_of(row))
    }

    /// Adds a slot to the row of `due`, rounded up to the grain; answers when that row comes up.
    pub(super) fn push(&mut self, due: Timestamp, slot: Slot) -> Timestamp {
        let row = due.as_millis().div_ceil(self.grain_ms).max(1);
        if self.is_near(row) {
            self.near[place(row)].push(slot);
            self.filled |= bit(row);
        } else {
            self.far.entry(row).or_default().push(slot);
        }
        self.time_of(row)
    }

    /// Removes a slot from the row that comes up at `due`.
    pub(super) fn remove(&mut self, due: Timestamp, slot: Slot) {
        let row = due.as_millis() / self.grain_ms;
        if self.is_near(row) {
            let slots = &mut self.near[place(row)];
            if remove(slots, slot) {
                if slots.is_empty() {
                    self.filled &= !bit(row);
                }
                return;
            }
        }
        if let Some(slots) = self.far.get_mut(&row) {
            remove(slots, slot);
            if slots.is_empty() {
                self.far.remove(&row);
            }
        }
    }

    /// Fills `slots`, which is empty, with the first row that has come up, the lowest slot last. False when there is none.
    pub(super) fn take(&mut self, now: Timestamp, slots: &mut Vec<Slot>) -> bool {
        let up_to = now.as_millis() / self.grain_ms;
        let Some(row) = self.first_row().filter(|row| *row <= up_to) else {
            // What lies before is empty: the ring begins where time has come to.
            self.begin = self.begin.max(up_to + 1);
            return false;
        };
        if self.is_near(row) {
            std::mem::swap(slots, &mut self.near[place(row)]);
            self.filled &= !bit(row);
            self.begin = row + 1;
        }
        if let Some(far) = self.far.remove(&row) {
            slots.extend(far);
        }
        slots.sort_unstable_by(|a, b| b.cmp(a));
        true
    }

    fn first_row(&self) -> Option<u64> {
        let ahead = self.filled.rotate_right(u32::try_from(self.begin % NEAR).expect("less than the bits"));
        let near = (ahead != 0).then(|| self.begin + u64::from(ahead.trailing_zeros()));
        let far = self.far.first_key_value().map(|(row, _)| *row);
        near.into_iter().chain(far).min()
    }

    fn is_near(&self, row: u64) -> bool {
        row.checked_sub(self.begin).is_some_and(|ahead| ahead < NEAR)
    }

    const fn time_of(&self, row: u64) -> Timestamp {
        Timestamp::from_millis(row.saturating_mul(self.grain_ms))
    }
}

fn place(row: u64) -> usize {
    usize::try_from(row % NEAR).expect("the ring is small")
}

const fn bit(row: u64) -> u128 {
    1 << (row % NEAR)
}

fn remove(slots: &mut Vec<Slot>, slot: Slot) -> bool {
    let place = slots.iter().position(|other| *other == slot);
    place.map(|place| slots.swap_remove(place)).is_some()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// What is asked of the rows: to look at a slot after so many milliseconds, no longer to look at it, or what came up
    /// when the clock stands so much later or earlier.
    #[derive(Clone, Debug)]
    enum Step {
        Push(Slot, i64),
        Remove(Slot),
        Take(i64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let after = prop_oneof![-5_000_i64..5_000, -200_000_i64..400_000, Just(90 * 24 * 3_600_000)];
        prop_oneof![
            (0..20_u32, after).prop_map(|(slot, after)| Step::Push(slot, after)),
            (0..20_u32).prop_map(Step::Remove),
            prop_oneof![0_i64..5_000, -50_000_i64..300_000].prop_map(Step::Take),
        ]
    }

    proptest! {
        #[test]
        fn rows_come_up_in_order_as_from_a_plain_set(steps in proptest::collection::vec(step(), 1..200)) {
            let mut due = Due::new(Duration::from_secs(1));
            let mut plain: BTreeSet<(Timestamp, Slot)> = BTreeSet::new();
            let mut now = Timestamp::from_millis(1_800_000_000_000);
            let at = |now: Timestamp, after: i64| Timestamp::from_millis(now.as_millis().saturating_add_signed(after));
            for step in steps {
                match step {
                    Step::Push(slot, after) => {
                        if let Some(held) = plain.iter().copied().find(|held| held.1 == slot) {
                            plain.remove(&held);
                            due.remove(held.0, slot);
                        }
                        let row = due.push(at(now, after), slot);
                        prop_assert!(row >= at(now, after) && row < at(now, after + 1_000));
                        plain.insert((row, slot));
                    }
                    Step::Remove(slot) => {
                        if let Some(held) = plain.iter().copied().find(|held| held.1 == slot) {
                            plain.remove(&held);
                            due.remove(held.0, slot);
                        }
                    }
                    Step::Take(after) => {
                        now = at(now, after);
                        let mut slots = Vec::new();
                        while due.take(now, &mut slots) {
                            let first = plain.first().expect("something came up").0;
                            prop_assert!(first <= now);
                            let row: Vec<Slot> = plain.iter().filter(|held| held.0 == first).map(|held| held.1).collect();
                            plain.retain(|held| held.0 != first);
                            slots.reverse();
                            prop_assert_eq!(&slots, &row);
                            slots.clear();
                        }
                        prop_assert!(plain.first().is_none_or(|held| held.0 > now));
                    }
                }
                prop_assert_eq!(due.first(), plain.first().map(|held| held.0));
            }
        }
    }
}
