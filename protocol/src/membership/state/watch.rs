//! Time passes: who has fallen silent, who is forgotten, and is it this node that is cut off?

use super::super::effect::{Effect, NodeEventKind};
use super::super::failure_detector::Observed;
use super::super::registry::Slot;
use super::State;
use crate::ids::Did;
use crate::time::Timestamp;

impl State {
    pub(super) fn tick(&mut self, effects: &mut Vec<Effect>) {
        self.publish_again_when_settled(effects);
        self.publish_when_due(effects);
        self.watch_the_silent(effects);
        self.exchange_when_due(effects);
        self.sample_isolation();
    }

    /// Keeps this machine's own trouble with time apart from that of others: a node that slept did not listen, and a
    /// clock that went back proves nobody's silence.
    pub(super) fn observe_clock(&mut self, now: Timestamp) {
        let stalled = now > self.due_by + self.config.stall_after;
        let went_back = now + self.config.grain < self.now;
        self.now = now;
        if stalled || went_back {
            self.listening_since = now;
            self.registry.iter_mut().for_each(|entry| entry.uptime.resume(now));
        }
        if went_back {
            self.clock_went_back();
        }
    }

    /// Whatever was planned on the old clock lies too far ahead on the new one.
    fn clock_went_back(&mut self) {
        let now = self.now;
        self.next_publish = self.next_publish.min(now + self.config.interval);
        self.settled = self.settled.map(|settled| settled.min(now + self.config.settle));
        self.started = self.started.min(now);
        self.exchange.not_later_than(now + self.config.exchange_every);
        self.isolation.not_later_than(now);
        let slots: Vec<Slot> = self.registry.slots().collect();
        for slot in slots {
            let entry = self.registry.entry_mut(slot);
            entry.last_heard = entry.last_heard.min(now);
            let observed = entry.observed;
            let due = self.due(slot, observed);
            self.registry.arm(slot, due);
        }
    }

    fn watch_the_silent(&mut self, effects: &mut Vec<Effect>) {
        while let Some(slot) = self.registry.take_due(self.now) {
            let entry = self.registry.entry(slot);
            if entry.observed == Observed::Offline {
                if self.now.since(entry.last_heard) >= self.config.forget_after {
                    self.remove(slot, effects);
                } else {
                    self.registry.arm(slot, self.due(slot, Observed::Offline));
                }
                continue;
            }
            let silence = self.now.since(entry.last_heard.max(self.listening_since));
            let observed = entry.observed.after_silence(silence, &self.config);
            if observed == entry.observed {
                let grown_old = self.now.since(entry.persisted_at) >= self.config.persist_every;
                self.registry.arm(slot, self.due(slot, observed));
                if grown_old {
                    self.persist(slot, effects);
                }
            } else {
                self.transition(slot, observed, effects);
            }
        }
    }

    /// When an entry with this verdict has to be looked at again, if it stays silent.
    fn due(&self, slot: Slot, observed: Observed) -> Timestamp {
        let last_heard = self.registry.entry(slot).last_heard;
        let from = if observed == Observed::Offline { last_heard } else { last_heard.max(self.listening_since) };
        // Never now again: an entry that was just looked at has nothing new to say.
        (from + observed.patience(&self.config)).max(self.now + self.config.grain)
    }

    /// Changes a verdict, and says so.
    pub(super) fn transition(&mut self, slot: Slot, observed: Observed, effects: &mut Vec<Effect>) {
        let from = self.registry.entry(slot).status();
        let due = self.due(slot, observed);
        self.registry.set_observed(slot, observed, due);
        self.verdicts_changed = true;
        let to = self.registry.entry(slot).status();
        if from != to {
            self.event(slot, NodeEventKind::StatusChange { from, to }, effects);
        }
        self.persist(slot, effects);
    }

    pub(super) fn remove(&mut self, slot: Slot, effects: &mut Vec<Effect>) {
        let entry = self.registry.remove(slot);
        self.fetches.drop(entry.did());
        self.verdicts_changed = true;
        effects.push(self.event_of(&entry, NodeEventKind::Removed));
        effects.push(Effect::Forget(entry.did().clone()));
    }

    pub(super) fn node_removed(&mut self, did: &Did, effects: &mut Vec<Effect>) {
        if let Some(slot) = self.registry.find_did(did) {
            self.remove(slot, effects);
        }
    }

    pub(super) fn absence_accepted(&mut self) {
        self.isolation.accept(self.now, self.registry.online());
        self.verdicts_changed = true;
    }

    fn sample_isolation(&mut self) {
        if self.now >= self.isolation.next_sample() {
            self.isolation.sample(self.now, self.registry.online());
            self.verdicts_changed = true;
        }
    }

    pub(super) fn judge_isolation(&mut self, effects: &mut Vec<Effect>) {
        if !std::mem::take(&mut self.verdicts_changed) {
            return;
        }
        let window = self.now - self.config.isolation_window;
        // After a start, and after the operator's word, the count to compare with includes young nodes.
        let known_since = self.isolation.compared_with().map_or(window, |at| at.max(window));
        let seen = self.registry.iter().filter(|entry| entry.observed == Observed::Online);
        let seen = seen.filter(|entry| entry.rest.created_at <= known_since).count();
        if self.isolation.judge(seen) {
            effects.push(Effect::IsolationChanged { isolated: self.isolation.is_isolated() });
        }
    }
}
