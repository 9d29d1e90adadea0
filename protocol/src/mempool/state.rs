//! The machine: what happens on each input.

use std::time::Duration;

use super::config::Config;
use super::effect::Effect;
use super::input::{Input, Origin};
use super::pool::{Lane, Pool, Waiting};
use super::refusal::Refusal;
use crate::ids::Did;
use crate::ledger::{Action, Admission, Batch, Entry, Outcome, Signed, TransactionId};
use crate::limits::{MEMPOOL_IDENTITY_MAX, TRANSACTION_LIFE_MAX};
use crate::time::Timestamp;

/// Within this time of a decision the network counts as deciding.
const LIVELY: Duration = Duration::from_secs(10);
const RETRY_SOON: Duration = Duration::from_secs(1);
const RETRY_LATER: Duration = Duration::from_secs(30);

/// Where a wallet's next transaction has its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slot {
    /// The same waits already.
    Waits(Signed),
    /// At this sequence number.
    Free(u64),
}

/// The transactions that wait at this node.
#[derive(Clone, Debug)]
pub struct State {
    config: Config,
    pool: Pool,
    arrivals: u64,
    next_repeat: Timestamp,
    /// Arrival of the one gossiped again last, so that all get their turn.
    repeated: Option<u64>,
    decided_at: Option<Timestamp>,
}

impl State {
    /// Empty.
    #[must_use]
    pub fn new(config: Config, now: Timestamp) -> Self {
        let next_repeat = now + config.repeat_interval;
        Self { config, pool: Pool::default(), arrivals: 0, next_repeat, repeated: None, decided_at: None }
    }

    /// Takes one input and adds what is to be done to `effects`.
    pub fn handle(&mut self, now: Timestamp, input: Input, effects: &mut Vec<Effect>) {
        let had_ready = self.pool.has_ready();
        match input {
            Input::Tick => self.tick(now, effects),
            Input::Submitted { signed, admission, origin } => self.submitted(now, signed, admission, &origin, effects),
            Input::Decided { batch, entries } => self.decided(now, &batch, &entries, effects),
            Input::Unfit { id, outcome } => self.unfit(id, outcome, effects),
        }
        if !had_ready && self.pool.has_ready() {
            effects.push(Effect::Ready);
        }
    }

    /// When it wants to be called with [`Input::Tick`].
    #[must_use]
    pub fn next_deadline(&self) -> Timestamp {
        // Expired means later than the stated time.
        let expiry = self.pool.first_expiry().map(|at| at + Duration::from_millis(1));
        expiry.map_or(self.next_repeat, |expiry| expiry.min(self.next_repeat))
    }

    /// Whether to bother with a transaction at all, before anybody verifies its signature.
    ///
    /// # Errors
    /// [`Refusal`] when it would be refused whatever its signature.
    pub fn precheck(&self, now: Timestamp, signed: &Signed) -> Result<(), Refusal> {
        let transaction = signed.transaction();
        if let Some(known) = self.pool.get(&signed.id()) {
            return if known.signed == *signed { Ok(()) } else { Err(Refusal::IdTaken) };
        }
        if transaction.expires < now {
            return Err(Refusal::Expired);
        }
        self.operation_has_room(now, signed)?;
        let queue = self.pool.queue(&Lane::of(signed));
        let next = queue.map_or(0, |queue| queue.next);
        if transaction.sequence < next {
            return Err(Refusal::SequencePassed { next });
        }
        let limit = self.wallet_limit(signed);
        if let Some(queue) = queue {
            if queue.waiting.contains_key(&transaction.sequence) {
                // Judged after the signature is known: anybody could claim it of another's wallet.
                return Ok(());
            }
            if queue.waiting.len() >= limit {
                return Err(Refusal::WalletFull { waiting: queue.waiting.len() });
            }
            if transaction.sequence - next >= u64::try_from(limit).unwrap_or(u64::MAX) {
                return Err(Refusal::TooFarAhead { next });
            }
        }
        let ready = queue.is_none() || transaction.sequence == next;
        let room = self.has_room(signed) || (ready && self.pool.latest_stranded().is_some());
        if !room {
            return Err(Refusal::Full { retry_after: self.retry_after(now) });
        }
        Ok(())
    }

    /// What can be decided now, for [`crate::ledger::assemble`]: operational transactions first, then in order of
    /// arrival, each wallet's in its own order.
    #[must_use]
    pub fn select(&self, count_max: usize, bytes_max: usize) -> Vec<Signed> {
        self.pool.select(count_max, bytes_max)
    }

    /// A waiting transaction.
    #[must_use]
    pub fn get(&self, id: &TransactionId) -> Option<&Signed> {
        self.pool.get(id).map(|waiting| &waiting.signed)
    }

    /// Where another transaction of `wallet` has its place, `next` being its number on the ledger. One that was not
    /// decided keeps its number for as long as it waits; the next one goes behind it, or fills the gap that one before
    /// it left when it expired. Asking again for what waits already makes no second one.
    #[must_use]
    pub fn slot(&self, wallet: &Did, next: u64, nonce: Option<[u8; 16]>, action: &Action) -> Slot {
        let mut free = next;
        let queue = self.pool.queue(&Lane::Wallet(wallet.clone()));
        for (sequence, waiting) in queue.into_iter().flat_map(|queue| &queue.waiting) {
            let transaction = waiting.signed.transaction();
            if transaction.action == *action && nonce.is_none_or(|nonce| nonce == transaction.nonce) {
                return Slot::Waits(waiting.signed.clone());
            }
            free += u64::from(*sequence == free);
        }
        Slot::Free(free)
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pool.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pool.len() == 0
    }

    /// Their bytes together.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.pool.bytes()
    }

    /// Whether there is something to propose.
    #[must_use]
    pub fn has_ready(&self) -> bool {
        self.pool.has_ready()
    }

    fn submitted(
        &mut self,
        now: Timestamp,
        signed: Signed,
        admission: Admission,
        origin: &Origin,
        effects: &mut Vec<Effect>,
    ) {
        let id = signed.id();
        let stored = matches!(origin, Origin::Stored { .. });
        if self.pool.get(&id).is_some_and(|known| known.signed == signed) {
            effects.push(Effect::Accepted(id));
            return;
        }
        let lane = Lane::of(&signed);
        self.pool.advance(&lane, admission.next_sequence);
        self.drop_passed(&signed, effects);
        let verdict = self.precheck(now, &signed).and_then(|()| self.sequence_free(&signed, admission, effects));
        let verdict = verdict.and_then(|()| self.make_room(now, &signed, admission, effects));
        if let Err(refusal) = verdict {
            effects.push(Effect::Refused { id, refusal });
            if stored {
                effects.push(Effect::Forget(id));
            }
            return;
        }
        let new = matches!(origin, Origin::Local | Origin::Kept);
        let local = new || *origin == Origin::Stored { local: true };
        let arrival = self.arrivals;
        self.arrivals += 1;
        // An operation on an identity never expires by itself.
        let expires = signed.transaction().expires.min(now + TRANSACTION_LIFE_MAX);
        self.pool.insert(Waiting { signed: signed.clone(), expires, arrival, local });
        // The queue may have come into being only now.
        self.pool.advance(&lane, admission.next_sequence);
        if !stored && *origin != Origin::Kept {
            effects.push(Effect::Persist { signed: signed.clone(), local, arrival });
        }
        effects.push(Effect::Accepted(id));
        if new {
            effects.push(Effect::Gossip(signed));
        }
    }

    /// The number is within reach of the ledger's next, and no other transaction waits with it.
    fn sequence_free(&self, signed: &Signed, admission: Admission, effects: &mut Vec<Effect>) -> Result<(), Refusal> {
        let transaction = signed.transaction();
        let next = admission.next_sequence;
        if transaction.sequence < next {
            return Err(Refusal::SequencePassed { next });
        }
        if transaction.sequence - next >= u64::try_from(self.wallet_limit(signed)).unwrap_or(u64::MAX) {
            return Err(Refusal::TooFarAhead { next });
        }
        let queue = self.pool.queue(&Lane::of(signed));
        if let Some(waiting) = queue.and_then(|queue| queue.waiting.get(&transaction.sequence)) {
            effects.push(Effect::DoubleSpend {
                wallet: transaction.wallet.clone(),
                waiting: waiting.signed.clone(),
                refused: signed.clone(),
            });
            return Err(Refusal::SequenceTaken);
        }
        Ok(())
    }

    /// An operation finds room among those of its identity, and among those that create one, which cost nobody
    /// anything and so may not crowd out the rest.
    fn operation_has_room(&self, now: Timestamp, signed: &Signed) -> Result<(), Refusal> {
        let Some(operation) = signed.operation() else { return Ok(()) };
        let waiting = self.pool.operations(&signed.transaction().wallet).count();
        if waiting >= MEMPOOL_IDENTITY_MAX {
            return Err(Refusal::IdentityFull { waiting });
        }
        let creates = operation.statement().prev().is_none();
        if creates && self.pool.creations() >= self.config.creations_max() {
            return Err(Refusal::Full { retry_after: self.retry_after(now) });
        }
        Ok(())
    }

    /// Room for the newcomer, if need be in the place of one that could not be decided now.
    fn make_room(
        &mut self,
        now: Timestamp,
        signed: &Signed,
        admission: Admission,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let retry_after = self.retry_after(now);
        let ready = signed.transaction().sequence == admission.next_sequence;
        while !self.has_room(signed) {
            let victim = self.pool.latest_stranded().filter(|_| ready).ok_or(Refusal::Full { retry_after })?;
            self.pool.remove(&victim);
            effects.push(Effect::Forget(victim));
            effects.push(Effect::Refused { id: victim, refusal: Refusal::Full { retry_after } });
        }
        Ok(())
    }

    fn has_room(&self, signed: &Signed) -> bool {
        let (count, bytes) = self.config.room(signed.transaction().action.is_operational());
        self.pool.len() < count && self.pool.bytes() + signed.bytes().len() <= bytes
    }

    /// Nodes' wallets are told by their DID: a wallet that is its own key.
    fn wallet_limit(&self, signed: &Signed) -> usize {
        let transaction = signed.transaction();
        let registers = matches!(transaction.action, Action::RegisterWallet(_) | Action::RegisterNode(_));
        if transaction.wallet.method() == "key" && !registers {
            self.config.node_wallet_max
        } else {
            self.config.wallet_max
        }
    }

    fn retry_after(&self, now: Timestamp) -> Duration {
        let lively = self.decided_at.is_some_and(|at| now.since(at) <= LIVELY);
        if lively { RETRY_SOON } else { RETRY_LATER }
    }

    fn decided(&mut self, now: Timestamp, batch: &Batch, entries: &[Entry], effects: &mut Vec<Effect>) {
        self.decided_at = Some(now);
        for (signed, entry) in batch.transactions.iter().zip(entries) {
            let counts = entry.fit && signed.operation().is_none();
            if counts {
                // Before it is taken out: else all that wait behind it would count as stranded for a moment.
                self.pool.advance(&Lane::of(signed), signed.transaction().sequence + 1);
            }
            if self.pool.remove(&entry.id).is_some() {
                effects.push(Effect::Forget(entry.id));
            }
            effects.push(Effect::Resolved { id: entry.id, outcome: entry.outcome });
            if counts {
                self.drop_passed(signed, effects);
            } else if entry.fit {
                let others = self.pool.operations(&signed.transaction().wallet).filter_map(|id| self.get(&id));
                effects.extend(others.map(|other| Effect::Recheck(other.clone())));
            }
        }
        self.expire(batch.time, effects);
    }

    /// Drops what waits with a number that the signer's wallet has used.
    fn drop_passed(&mut self, signed: &Signed, effects: &mut Vec<Effect>) {
        for id in self.pool.passed(&Lane::of(signed)) {
            self.unfit(id, Outcome::SequencePassed, effects);
        }
    }

    fn unfit(&mut self, id: TransactionId, outcome: Outcome, effects: &mut Vec<Effect>) {
        // A number that is missing before it is no reason to give it up.
        if outcome != Outcome::SequenceAhead && self.pool.remove(&id).is_some() {
            effects.push(Effect::Forget(id));
            effects.push(Effect::Resolved { id, outcome });
        }
    }

    fn tick(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        self.expire(now, effects);
        if now < self.next_repeat {
            return;
        }
        self.next_repeat = now + self.config.repeat_interval;
        let mut own: Vec<_> = self.pool.iter().filter(|waiting| waiting.local).collect();
        own.sort_by_key(|waiting| waiting.arrival);
        let turn = own.partition_point(|waiting| Some(waiting.arrival) <= self.repeated);
        own.rotate_left(turn);
        own.truncate(self.config.repeats_max);
        effects.extend(own.iter().map(|waiting| Effect::Gossip(waiting.signed.clone())));
        self.repeated = own.last().map(|waiting| waiting.arrival);
    }

    fn expire(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        for id in self.pool.expired(now) {
            self.unfit(id, Outcome::Expired, effects);
        }
    }

    #[cfg(test)]
    pub(super) fn check(&self) {
        self.pool.check();
        assert!(self.pool.len() <= self.config.transactions_max && self.pool.bytes() <= self.config.bytes_max);
    }
}
