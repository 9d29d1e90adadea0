//! This node's own heartbeat: when it goes out and what it says.

use std::sync::Arc;

use serde_bytes::ByteArray;

use super::super::declared::{DeclaredStatus, Profile};
use super::super::effect::Effect;
use super::super::heartbeat::{Heartbeat, PeerReport, VerifiedHeartbeat};
use super::State;
use crate::ids::Did;
use crate::limits::HEARTBEAT_PEERS_MAX;
use crate::time::Timestamp;
use crate::wire::envelope::CLOCK_TOLERANCE;

/// How often one heartbeat goes out again while the mesh forms.
const REPUBLISH_MAX: u8 = 3;

impl State {
    /// Publishes when it is time. Without a reserved number it waits for one: a moment, not a whole interval.
    pub(super) fn publish_when_due(&mut self, effects: &mut Vec<Effect>) {
        if self.now < self.next_publish {
            return;
        }
        let Some(sequence) = self.sequence.take() else {
            self.next_publish = self.now + self.config.grain;
            return self.reserve(true, effects);
        };
        self.next_publish = self.now + (self.config.interval - self.config.jitter) + self.draw(2 * self.config.jitter);
        self.reserve(false, effects);
        let issued_at = self.issue_time();
        let body = self.heartbeat();
        match VerifiedHeartbeat::seal(&self.key, &self.network, sequence, issued_at, body) {
            Ok(heartbeat) => {
                effects.push(Effect::Publish(Arc::clone(heartbeat.bytes())));
                self.latest = Some(Arc::new(heartbeat));
                self.republished = 0;
            }
            Err(error) => tracing::error!(%error, "this node's heartbeat is out of bounds and was not sent"),
        }
    }

    /// A clock set back a little must not make the others take this for a flood: the issue time rises all the same.
    /// One set back by more was wrong before, and the others refused what it said.
    fn issue_time(&self) -> Timestamp {
        let earliest = self.latest.as_ref().map(|latest| latest.head().issued_at + self.config.rate_limit);
        let earliest = earliest.filter(|earliest| earliest.since(self.now) < CLOCK_TOLERANCE * 3 / 4);
        earliest.map_or(self.now, |earliest| earliest.max(self.now))
    }

    /// The mesh has had a moment since the last connection: whoever joined it did not hear the newest heartbeat.
    pub(super) fn publish_again_when_settled(&mut self, effects: &mut Vec<Effect>) {
        if self.settled.is_none_or(|settled| self.now < settled) {
            return;
        }
        self.settled = None;
        let Some(latest) = &self.latest else { return };
        let issued_at = latest.head().issued_at;
        if self.now.since(issued_at) < self.config.spacing && self.republished < REPUBLISH_MAX {
            self.republished += 1;
            effects.push(Effect::Publish(Arc::clone(latest.bytes())));
        }
        if self.is_starting() {
            self.next_publish = self.next_publish.min(issued_at + self.config.spacing).max(self.now);
        }
    }

    pub(super) fn sequence_reserved(&mut self, up_to: u64, effects: &mut Vec<Effect>) {
        self.sequence.reserved(up_to);
        if self.latest.is_none() {
            self.next_publish = self.next_publish.min(self.now);
            self.publish_when_due(effects);
        }
    }

    pub(super) fn profile_changed(&mut self, profile: Profile) {
        match profile.check() {
            Ok(()) if profile != self.profile => {
                self.profile = profile;
                self.publish_soon();
            }
            Ok(()) => {}
            Err(reason) => tracing::error!(reason, "the changed profile is out of bounds and was not taken"),
        }
    }

    pub(super) fn status_declared(&mut self, status: DeclaredStatus) {
        if std::mem::replace(&mut self.status, status) != status {
            self.publish_soon();
        }
    }

    /// What changed should be known before the interval is over, within the rate limit.
    fn publish_soon(&mut self) {
        if let Some(latest) = &self.latest {
            self.next_publish = self.next_publish.min(latest.head().issued_at + self.config.spacing);
        }
    }

    pub(super) fn reserve(&mut self, again: bool, effects: &mut Vec<Effect>) {
        if let Some(up_to) = self.sequence.wanted(again) {
            effects.push(Effect::ReserveSequence { up_to });
        }
    }

    /// Whether the network is still being discovered.
    pub(super) fn is_starting(&self) -> bool {
        self.now.since(self.started) < self.config.start_lasts
    }

    fn heartbeat(&mut self) -> Heartbeat {
        let now = self.now;
        self.invite.take_if(|invite| invite.terms.expires_at < now);
        self.rotation.take_if(|rotation| rotation.statement.overlap_until < now);
        Heartbeat {
            status: self.status,
            resources: self.resources,
            peers: self.peer_reports(),
            leases: self.leases,
            ledger_height: self.ledger.map(|ledger| ledger.height),
            ledger_root: self.ledger.map(|ledger| ByteArray::new(ledger.root)),
            invite: self.invite.clone(),
            rotation: self.rotation.clone(),
            ..Heartbeat::of(self.profile.clone())
        }
    }

    /// The nearest of the neighbours that this node has registered and measured.
    fn peer_reports(&self) -> Vec<PeerReport> {
        let report = |peer: &Did| -> Option<(u32, Did, Timestamp)> {
            let entry = self.registry.entry(self.registry.find_did(peer)?);
            Some((entry.rest.latency.median()?, peer.clone(), entry.last_heard))
        };
        let mut reports: Vec<_> = self.exchange.peers().filter_map(report).collect();
        reports.sort_unstable();
        reports.truncate(HEARTBEAT_PEERS_MAX);
        let reports = reports.into_iter();
        reports.map(|(latency_ms, node, last_heartbeat)| PeerReport { node, latency_ms, last_heartbeat }).collect()
    }
}
