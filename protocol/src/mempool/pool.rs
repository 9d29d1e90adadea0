//! The waiting transactions and their indexes. Every index that says an order is a sorted map, so that the same inputs
//! give the same order everywhere; what is only ever looked up by name lies in maps without one, because each
//! transaction is looked up a dozen times on its way.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};

use crate::ids::Did;
use crate::ledger::{Signed, TransactionId};
use crate::plc::PlcOperation;
use crate::time::Timestamp;

/// Within a lane transactions wait in the order of their numbers. Operations on identities have no order among each
/// other but that of the ledger, so each has a lane of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Lane {
    Wallet(Did),
    Operation(TransactionId),
}

impl Lane {
    pub(super) fn of(signed: &Signed) -> Self {
        match signed.operation() {
            None => Self::Wallet(signed.transaction().wallet.clone()),
            Some(_) => Self::Operation(signed.id()),
        }
    }
}

/// Operational transactions go first, then whoever came first: false before true.
type Rank = (bool, u64);

/// A transaction whose predecessor is selected already: its rank, lane and sequence number.
type Successor<'a> = (Rank, &'a Lane, u64);

/// A waiting transaction.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) signed: Signed,
    /// After this time it is given up.
    pub(super) expires: Timestamp,
    pub(super) arrival: u64,
    pub(super) local: bool,
}

impl Waiting {
    fn rank(&self) -> Rank {
        (!self.signed.transaction().action.is_operational(), self.arrival)
    }

    fn size(&self) -> usize {
        self.signed.bytes().len()
    }
}

/// One lane's transactions by sequence number.
#[derive(Clone, Debug, Default)]
pub(super) struct Queue {
    /// The wallet's next number on the ledger.
    pub(super) next: u64,
    pub(super) waiting: BTreeMap<u64, Waiting>,
}

impl Queue {
    /// The first number that is missing: everything below it can be decided.
    fn gap(&self) -> u64 {
        // Mostly nothing is missing, which the ends tell.
        if let (Some((first, _)), Some((last, _))) = (self.waiting.first_key_value(), self.waiting.last_key_value())
            && *first == self.next
            && usize::try_from(last - first).is_ok_and(|distance| distance + 1 == self.waiting.len())
        {
            return last + 1;
        }
        let mut expected = self.next;
        for sequence in self.waiting.keys() {
            if *sequence != expected {
                break;
            }
            expected += 1;
        }
        expected
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Pool {
    queues: HashMap<Lane, Queue>,
    ids: HashMap<TransactionId, (Lane, u64)>,
    expiries: BTreeSet<(Timestamp, TransactionId)>,
    /// Lanes whose next transaction is here, by its rank.
    heads: BTreeSet<(Rank, Lane)>,
    /// Operations by the identity they change.
    operations: BTreeSet<(Did, TransactionId)>,
    /// How many of them create one.
    creations: usize,
    /// What is not next in its wallet's order and has a gap before it, by arrival.
    stranded: BTreeMap<u64, TransactionId>,
    bytes: usize,
}

impl Pool {
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn get(&self, id: &TransactionId) -> Option<&Waiting> {
        let (lane, sequence) = self.ids.get(id)?;
        self.queues.get(lane)?.waiting.get(sequence)
    }

    pub(super) fn queue(&self, lane: &Lane) -> Option<&Queue> {
        self.queues.get(lane)
    }

    /// Ids of the operations on `identity` that wait.
    pub(super) fn operations(&self, identity: &Did) -> impl Iterator<Item = TransactionId> {
        let first = (identity.clone(), TransactionId([0; 32]));
        self.operations.range(first..).take_while(move |(did, _)| did == identity).map(|(_, id)| *id)
    }

    /// How many operations wait that create an identity.
    pub(super) const fn creations(&self) -> usize {
        self.creations
    }

    pub(super) fn has_ready(&self) -> bool {
        !self.heads.is_empty()
    }

    pub(super) fn first_expiry(&self) -> Option<Timestamp> {
        self.expiries.first().map(|(at, _)| *at)
    }

    /// Transactions that expired before `now`.
    pub(super) fn expired(&self, now: Timestamp) -> Vec<TransactionId> {
        self.expiries.iter().take_while(|(at, _)| *at < now).map(|(_, id)| *id).collect()
    }

    /// The latest that could not be decided now.
    pub(super) fn latest_stranded(&self) -> Option<TransactionId> {
        self.stranded.last_key_value().map(|(_, id)| *id)
    }

    /// All of them, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Waiting> {
        self.queues.values().flat_map(|queue| queue.waiting.values())
    }

    /// Adds a transaction whose id and sequence number are free.
    pub(super) fn insert(&mut self, waiting: Waiting) {
        let (lane, id) = (Lane::of(&waiting.signed), waiting.signed.id());
        let transaction = waiting.signed.transaction();
        let sequence = transaction.sequence;
        self.ids.insert(id, (lane.clone(), sequence));
        self.expiries.insert((waiting.expires, id));
        if let Some(operation) = waiting.signed.operation() {
            self.operations.insert((transaction.wallet.clone(), id));
            self.creations += usize::from(creates(operation));
        }
        self.bytes += waiting.size();
        self.alter(&lane, |queue| {
            queue.waiting.insert(sequence, waiting);
        });
    }

    /// Takes a transaction out.
    pub(super) fn remove(&mut self, id: &TransactionId) -> Option<Waiting> {
        let (lane, sequence) = self.ids.remove(id)?;
        let mut removed = None;
        self.alter(&lane, |queue| removed = queue.waiting.remove(&sequence));
        let waiting = removed?;
        self.expiries.remove(&(waiting.expires, *id));
        if let Some(operation) = waiting.signed.operation() {
            self.operations.remove(&(waiting.signed.transaction().wallet.clone(), *id));
            self.creations -= usize::from(creates(operation));
        }
        self.bytes -= waiting.size();
        Some(waiting)
    }

    /// The lane's next number on the ledger, which never goes back. A lane in which none waits has none.
    pub(super) fn advance(&mut self, lane: &Lane, next: u64) {
        if self.queues.get(lane).is_some_and(|queue| queue.next < next) {
            self.alter(lane, |queue| queue.next = next);
        }
    }

    /// Ids of the lane's transactions that the ledger has passed.
    pub(super) fn passed(&self, lane: &Lane) -> Vec<TransactionId> {
        let Some(queue) = self.queues.get(lane) else { return Vec::new() };
        queue.waiting.range(..queue.next).map(|(_, waiting)| waiting.signed.id()).collect()
    }

    /// What can be decided now, in order of rank and of each lane's numbers, within the bounds.
    pub(super) fn select(&self, count_max: usize, bytes_max: usize) -> Vec<Signed> {
        let mut selected = Vec::new();
        let mut bytes = 0;
        let mut heads: BinaryHeap<Reverse<Successor<'_>>> = BinaryHeap::new();
        let mut later = self.heads.iter().peekable();
        while selected.len() < count_max {
            // Heads come from the sorted index as they are needed; successors wait in the heap.
            let from_index = match (later.peek(), heads.peek()) {
                (Some((rank, _)), Some(Reverse((other, ..)))) => rank < other,
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (None, None) => break,
            };
            let (lane, sequence) = if from_index {
                let Some((_, lane)) = later.next() else { break };
                (lane, self.queues[lane].next)
            } else {
                let Some(Reverse((_, lane, sequence))) = heads.pop() else { break };
                (lane, sequence)
            };
            let queue = &self.queues[lane];
            let waiting = &queue.waiting[&sequence];
            if bytes + waiting.size() > bytes_max {
                break;
            }
            bytes += waiting.size();
            selected.push(waiting.signed.clone());
            if let Some(successor) = queue.waiting.get(&(sequence + 1)) {
                heads.push(Reverse((successor.rank(), lane, sequence + 1)));
            }
        }
        selected
    }

    /// Changes one lane's queue and brings the indexes up to date.
    fn alter(&mut self, lane: &Lane, change: impl FnOnce(&mut Queue)) {
        let queue = match self.queues.get_mut(lane) {
            Some(queue) => queue,
            None => self.queues.entry(lane.clone()).or_default(),
        };
        let head = queue.waiting.get(&queue.next).map(Waiting::rank);
        for waiting in queue.waiting.range(queue.gap()..).map(|(_, waiting)| waiting) {
            self.stranded.remove(&waiting.arrival);
        }
        change(queue);
        let head_now = queue.waiting.get(&queue.next).map(Waiting::rank);
        if head != head_now {
            self.heads.extend(head_now.map(|rank| (rank, lane.clone())));
            if let Some(rank) = head {
                self.heads.remove(&(rank, lane.clone()));
            }
        }
        for waiting in queue.waiting.range(queue.gap()..).map(|(_, waiting)| waiting) {
            self.stranded.insert(waiting.arrival, waiting.signed.id());
        }
        if queue.waiting.is_empty() {
            self.queues.remove(lane);
        }
    }

    /// Every index says the same.
    #[cfg(test)]
    pub(super) fn check(&self) {
        let all: Vec<_> = self.iter().collect();
        assert_eq!(all.len(), self.ids.len());
        assert_eq!(all.len(), self.expiries.len());
        assert_eq!(all.iter().map(|waiting| waiting.size()).sum::<usize>(), self.bytes);
        let ready: usize = self
            .queues
            .values()
            .map(|queue| {
                queue.waiting.range(queue.next..queue.gap()).count() + queue.waiting.range(..queue.next).count()
            })
            .sum();
        assert_eq!(all.len() - ready, self.stranded.len());
        let heads = self.queues.values().filter(|queue| queue.waiting.contains_key(&queue.next)).count();
        assert_eq!(heads, self.heads.len());
        let operations: Vec<_> = all.iter().filter_map(|waiting| waiting.signed.operation()).collect();
        assert_eq!(operations.len(), self.operations.len());
        assert_eq!(operations.into_iter().filter(|operation| creates(operation)).count(), self.creations);
    }
}

const fn creates(operation: &PlcOperation) -> bool {
    operation.statement().prev().is_none()
}
