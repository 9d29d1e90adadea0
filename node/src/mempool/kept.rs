//! Which of the waiting transactions are stored, and where: what to write when more come, and what to drop when some
//! need not be there any more. Does neither itself.
//!
//! Transactions that come together are stored as a group, which goes when none of it waits. One that waits for long would
//! keep all that came with it, so what is left of the oldest groups moves on with newcomers once most of what is stored
//! waits no more.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use angel_protocol::ledger::{Signed, TransactionId};
use angel_storage::Batch;
use angel_storage::events::TrimError;
use angel_storage::ledger::waiting::{self, GROUP_BYTES_MAX, Place, Waiting};
use angel_storage::reader::Reader;

/// Bytes of transactions in one group. Well below what a group may have: an encoded transaction brings its frame.
const GROUP_BYTES: usize = GROUP_BYTES_MAX / 2;

/// Groups that are dropped together when nothing else is written.
const DROPPED_TOGETHER: usize = 32;

/// Stored transactions that wait no more, above as many as wait, before the oldest groups are cleared out.
const SPARE: usize = 4096;

/// Groups that are cleared out at once.
const CLEARED_TOGETHER: usize = 8;

/// A group as it was stored.
#[derive(Debug, Default)]
struct Group {
    ids: Vec<TransactionId>,
    /// How many of them are to be there still.
    waiting: usize,
}

/// What is stored.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Where each transaction that waits is stored, and its arrival.
    places: HashMap<TransactionId, (Place, u64)>,
    groups: BTreeMap<u64, Group>,
    next: u64,
    /// Transactions in all groups, whether they wait or not.
    stored: usize,
    /// Groups on their way to the store.
    under_way: BTreeSet<u64>,
    /// What is to be dropped.
    dropped: Vec<Place>,
}

/// What to write in one batch.
#[derive(Debug)]
pub(super) struct Change {
    groups: Vec<(u64, Vec<Waiting>)>,
    dropped: Vec<Place>,
}

impl Change {
    /// The groups it adds, for [`Kept::written`].
    pub(super) fn groups(&self) -> Vec<u64> {
        self.groups.iter().map(|(number, _)| *number).collect()
    }

    /// Adds it to `batch`.
    ///
    /// # Errors
    /// The store fails, or the batch is full.
    pub(super) fn write(&self, reader: &Reader, batch: &mut Batch) -> Result<(), TrimError> {
        for (group, waiting) in &self.groups {
            waiting::keep(batch, *group, waiting)?;
        }
        self.dropped.iter().try_for_each(|place| waiting::forget(reader, batch, *place))
    }
}

impl Kept {
    /// What was found when the node started: a transaction, or bytes that are none any more. [`Self::found_all`] comes
    /// behind the last.
    pub(super) fn found(&mut self, place: Place, arrival: u64, id: Option<TransactionId>) {
        if let Place::Group(number) = place {
            self.next = self.next.max(number + 1);
            self.groups.entry(number).or_default();
        }
        match (id, place) {
            (Some(id), _) => self.put(id, place, arrival),
            (None, Place::Alone(_)) => self.dropped.push(place),
            (None, Place::Group(_)) => {}
        }
    }

    /// Groups of which nothing could be read are dropped.
    pub(super) fn found_all(&mut self) {
        let empty = self.groups.extract_if(.., |_, group| group.waiting == 0);
        self.dropped.extend(empty.map(|(number, _)| Place::Group(number)));
    }

    /// A transaction need not be there any more. Those that were never stored are fine.
    pub(super) fn forget(&mut self, id: &TransactionId) {
        if let Some((place, _)) = self.places.remove(id) {
            self.release(place, 1);
        }
    }

    /// Whether dropping alone is a reason to write.
    pub(super) const fn has_much_to_drop(&self) -> bool {
        self.dropped.len() >= DROPPED_TOGETHER
    }

    /// What to write for `newcomers` with their arrivals. `waiting` finds the ones that wait already.
    pub(super) fn change(
        &mut self,
        newcomers: Vec<(Signed, u64)>,
        waiting: impl Fn(&TransactionId) -> Option<Signed>,
    ) -> Change {
        let mut all = newcomers;
        if self.stored > 2 * self.places.len() + SPARE {
            self.clear_out(waiting, &mut all);
        }
        let mut groups = Vec::new();
        let mut group = Vec::new();
        let mut bytes = 0;
        for (signed, arrival) in all {
            if bytes + signed.bytes().len() > GROUP_BYTES && !group.is_empty() {
                groups.push((self.next, std::mem::take(&mut group)));
                (self.next, bytes) = (self.next + 1, 0);
            }
            bytes += signed.bytes().len();
            self.put(signed.id(), Place::Group(self.next), arrival);
            group.push(Waiting { arrival, bytes: signed.bytes().to_vec() });
        }
        if !group.is_empty() {
            groups.push((self.next, group));
            self.next += 1;
        }
        // A group that is dropped before it is there would stay.
        let (later, dropped) = std::mem::take(&mut self.dropped)
            .into_iter()
            .partition(|place| matches!(place, Place::Group(number) if self.under_way.contains(number)));
        self.dropped = later;
        self.under_way.extend(groups.iter().map(|(number, _)| *number));
        Change { groups, dropped }
    }

    /// Groups of a change are in the store: they can be dropped.
    pub(super) fn written(&mut self, groups: &[u64]) {
        for number in groups {
            self.under_way.remove(number);
        }
    }

    /// Takes what waits out of the oldest groups of which most does not, and adds it to `all`.
    fn clear_out(&mut self, waiting: impl Fn(&TransactionId) -> Option<Signed>, all: &mut Vec<(Signed, u64)>) {
        let sparse = self.groups.iter().filter(|(_, group)| 2 * group.waiting < group.ids.len());
        let sparse: Vec<_> = sparse.map(|(number, _)| *number).take(CLEARED_TOGETHER).collect();
        for number in sparse {
            let ids = self.groups.get(&number).map(|group| group.ids.clone()).unwrap_or_default();
            for id in ids {
                let arrival = self.places.get(&id).filter(|(place, _)| *place == Place::Group(number));
                let Some(arrival) = arrival.map(|(_, arrival)| *arrival) else { continue };
                self.forget(&id);
                all.extend(waiting(&id).map(|signed| (signed, arrival)));
            }
        }
    }

    fn put(&mut self, id: TransactionId, place: Place, arrival: u64) {
        if let Place::Group(number) = place {
            let group = self.groups.entry(number).or_default();
            group.ids.push(id);
            group.waiting += 1;
            self.stored += 1;
        }
        if let Some((before, _)) = self.places.insert(id, (place, arrival)) {
            self.release(before, 1);
        }
    }

    /// So many of what lies at `place` need not be there any more.
    fn release(&mut self, place: Place, count: usize) {
        if let Place::Group(number) = place {
            let Some(group) = self.groups.get_mut(&number) else { return };
            group.waiting -= count;
            if group.waiting > 0 {
                return;
            }
            self.stored -= group.ids.len();
            self.groups.remove(&number);
        }
        self.dropped.push(place);
    }
}

#[cfg(test)]
mod tests {
    use angel_protocol::crypto::NodeKey;
    use angel_storage::Store;

    use super::*;
    use crate::ledger::samples::registration;

    fn signed(key: &NodeKey, number: u64) -> Signed {
        registration(key, key, number)
    }

    fn apply(store: &Store, kept: &mut Kept, change: &Change) {
        let mut batch = Batch::new();
        change.write(store.reader(), &mut batch).expect("fits");
        store.writer().commit(batch).expect("commits");
        kept.written(&change.groups());
    }

    /// What a node would find that starts now.
    fn restarted(store: &Store) -> (Kept, Vec<TransactionId>) {
        let mut kept = Kept::default();
        let mut ids = Vec::new();
        for (place, Waiting { arrival, bytes }) in waiting::all(store.reader()).expect("reads") {
            let id = Signed::decode(&bytes).ok().map(|signed| signed.id());
            kept.found(place, arrival, id);
            ids.extend(id);
        }
        kept.found_all();
        (kept, ids)
    }

    #[test]
    fn what_waits_is_found_in_its_order_and_what_does_not_takes_little_room() {
        let store = Store::in_memory().expect("starts");
        let key = NodeKey::from_seed(&[7; 32]);
        let all: Vec<_> = (0..12_000).map(|number| signed(&key, number)).collect();
        let by_id: HashMap<_, _> = all.iter().map(|signed| (signed.id(), signed.clone())).collect();
        let mut kept = Kept::default();
        let mut left = BTreeSet::new();
        let mut most = 0;
        for (turn, group) in all.chunks(20).enumerate() {
            let arrival = |index: usize| (20 * turn + index) as u64;
            let newcomers = group.iter().cloned().enumerate().map(|(index, it)| (it, arrival(index))).collect();
            let change = kept.change(newcomers, |id| by_id.get(id).cloned());
            apply(&store, &mut kept, &change);
            // All but one of each group are decided; in every fifth, all are.
            for (index, signed) in group.iter().enumerate() {
                if index == 3 && turn % 5 != 0 {
                    left.insert(arrival(index));
                } else {
                    kept.forget(&signed.id());
                }
            }
            most = most.max(kept.stored);
            if turn % 100 == 7 {
                let (again, ids) = restarted(&store);
                let waiting: Vec<_> = ids.iter().filter(|id| kept.places.contains_key(*id)).collect();
                let expected: Vec<_> = left.iter().map(|arrival| all[*arrival as usize].id()).collect();
                assert_eq!(waiting, expected.iter().collect::<Vec<_>>(), "turn {turn}");
                assert!(again.next >= kept.next - 1 && again.next <= kept.next);
                kept = again;
                // As the mempool does with what was decided before the restart.
                ids.iter().filter(|id| !expected.contains(id)).for_each(|id| kept.forget(id));
            }
        }
        assert!(most < SPARE + 3 * left.len(), "{most} stored for {}", left.len());
        for arrival in &left {
            kept.forget(&all[*arrival as usize].id());
        }
        let change = kept.change(Vec::new(), |_| None);
        apply(&store, &mut kept, &change);
        assert_eq!((kept.stored, kept.groups.len(), kept.places.len()), (0, 0, 0));
        assert_eq!(waiting::all(store.reader()).expect("reads"), []);
    }

    #[test]
    fn a_large_group_is_stored_as_several() {
        let store = Store::in_memory().expect("starts");
        let key = NodeKey::from_seed(&[8; 32]);
        let all: Vec<_> = (0..6000).map(|number| signed(&key, number)).collect();
        let mut kept = Kept::default();
        let change = kept.change(all.iter().cloned().zip(0..).collect(), |_| None);
        assert!(change.groups.len() > 2);
        apply(&store, &mut kept, &change);
        assert_eq!(restarted(&store).1, all.iter().map(Signed::id).collect::<Vec<_>>());
    }

    #[test]
    fn what_cannot_be_read_any_more_goes_and_takes_nothing_along() {
        let store = Store::in_memory().expect("starts");
        let one = signed(&NodeKey::from_seed(&[6; 32]), 0);
        let mut batch = Batch::new();
        let unreadable = |arrival| Waiting { arrival, bytes: vec![1, 2, 3] };
        waiting::keep(&mut batch, 4, &[unreadable(0), Waiting { arrival: 1, bytes: one.bytes().to_vec() }])
            .expect("fits");
        waiting::keep(&mut batch, 5, &[unreadable(2)]).expect("fits");
        store.writer().commit(batch).expect("commits");
        let (mut kept, ids) = restarted(&store);
        assert_eq!((ids, kept.next), (vec![one.id()], 6));
        let change = kept.change(Vec::new(), |_| None);
        apply(&store, &mut kept, &change);
        assert_eq!(restarted(&store).1, [one.id()], "what shared its group is still there");
        assert_eq!(waiting::all(store.reader()).expect("reads").len(), 2);
        kept.forget(&one.id());
        let change = kept.change(Vec::new(), |_| None);
        apply(&store, &mut kept, &change);
        assert_eq!(waiting::all(store.reader()).expect("reads"), []);
    }

    #[test]
    fn a_group_that_is_on_its_way_is_dropped_once_it_is_there() {
        let store = Store::in_memory().expect("starts");
        let one = signed(&NodeKey::from_seed(&[9; 32]), 0);
        let mut kept = Kept::default();
        let first = kept.change(vec![(one.clone(), 0)], |_| None);
        kept.forget(&one.id());
        let second = kept.change(Vec::new(), |_| None);
        apply(&store, &mut kept, &second);
        apply(&store, &mut kept, &first);
        let third = kept.change(Vec::new(), |_| None);
        apply(&store, &mut kept, &third);
        assert_eq!(waiting::all(store.reader()).expect("reads"), []);
    }
}
