//! A heartbeat comes in: is it news, is its issuer a member, what does it change?

use std::sync::Arc;

use super::super::admission::{Admission, AdmittedBy};
use super::super::declared::NodeType;
use super::super::effect::{Effect, NodeEventKind};
use super::super::failure_detector::Status;
use super::super::heartbeat::{Heartbeat, VerifiedHeartbeat};
use super::super::input::Source;
use super::super::refusal::{NotAdmitted, Refusal};
use super::super::registry::{self, Entry, Key, Slot, key_of};
use super::super::rotation::Rotation;
use super::State;
use crate::ids::{Did, NodeName};
use crate::time::Timestamp;
use crate::wire::envelope::{CLOCK_TOLERANCE, EnvelopeError, Head};

/// What the registry knows of a heartbeat's key.
enum Known {
    /// It is this node's own.
    Own,
    /// A node's current key.
    Current(Slot),
    /// A key that a node has replaced and that is still accepted.
    Former(Slot),
    /// Nothing.
    Not,
}

impl State {
    /// The checks that need no signature: clock, lists, sequence, rate. Run them before the costly one.
    ///
    /// # Errors
    /// The [`Refusal`] that [`Self::handle`] would arrive at.
    pub fn precheck(&self, now: Timestamp, head: &Head) -> Result<(), Refusal> {
        self.check(now, head, registry::hash(&head.key)).map(drop)
    }

    pub(super) fn heartbeat_received(
        &mut self,
        heartbeat: &Arc<VerifiedHeartbeat>,
        source: Source,
        effects: &mut Vec<Effect>,
    ) {
        if let Err(refusal) = self.take(heartbeat, &source, effects) {
            effects.push(Effect::Refused { did: heartbeat.head().issuer.clone(), source, refusal });
        }
    }

    pub(super) fn take(
        &mut self,
        heartbeat: &Arc<VerifiedHeartbeat>,
        source: &Source,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        match self.check(self.now, heartbeat.head(), heartbeat.key_hash())? {
            Known::Own => self.own_seen(heartbeat, effects),
            Known::Current(slot) => self.refresh(slot, heartbeat, source, effects)?,
            Known::Former(slot) => self.hear_former_key(slot, heartbeat, source, effects),
            Known::Not => self.register(heartbeat, source, effects)?,
        }
        Ok(())
    }

    /// Where taking the heartbeat in will look, most likely: for [`Self::glance`].
    #[must_use]
    pub fn locate(&self, heartbeat: &VerifiedHeartbeat) -> Option<u32> {
        self.registry.locate(heartbeat.key_hash())
    }

    /// Brings what lies there closer to the processor: for one who has many heartbeats to take in, by many observers, and
    /// would wait for the memory at each. The value means nothing.
    #[must_use]
    pub fn glance(&self, place: u32) -> u64 {
        self.registry.glance(place)
    }

    fn check(&self, now: Timestamp, head: &Head, key_hash: u64) -> Result<Known, Refusal> {
        if head.key == self.own_key {
            return if head.sequence < self.sequence.next() { Err(Refusal::Own) } else { Ok(Known::Own) };
        }
        head.check_clock(now)?;
        let Some(slot) = self.registry.find_hashed(&head.key, key_hash) else {
            return if self.is_listed(&head.issuer) {
                Ok(Known::Not)
            } else {
                Err(Refusal::NotAdmitted(NotAdmitted::NotListed))
            };
        };
        let entry = self.registry.entry(slot);
        let last = entry.latest.head();
        if last.key == head.key {
            self.check_progress(head, last.sequence, last.issued_at)?;
            return Ok(Known::Current(slot));
        }
        match entry.rest.former_keys.iter().find(|former| former.did == head.issuer) {
            Some(former) if now <= former.accepted_until => {
                self.check_progress(head, former.sequence, former.issued_at)?;
                Ok(Known::Former(slot))
            }
            _ => Err(Refusal::KeyRetired(entry.did().clone())),
        }
    }

    /// Sequence and rate. The rate is judged by the issuer's own clock, which is within two minutes of ours: so every
    /// node judges alike, a burst after a delay is no offence, and more than one per five seconds cannot last.
    fn check_progress(&self, head: &Head, last: u64, issued_at: Timestamp) -> Result<(), Refusal> {
        if head.sequence <= last {
            return Err(Refusal::StaleSequence { sequence: head.sequence, last });
        }
        if head.issued_at < issued_at + self.config.rate_limit {
            return Err(Refusal::RateLimited(self.config.rate_limit));
        }
        Ok(())
    }

    /// A known node with its current key. Nothing declared has changed, nearly always.
    fn refresh(
        &mut self,
        slot: Slot,
        heartbeat: &Arc<VerifiedHeartbeat>,
        source: &Source,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let entry = self.registry.entry(slot);
        if entry.latest.fingerprint() == heartbeat.fingerprint() {
            self.registry.entry_mut(slot).latest = Arc::clone(heartbeat);
        } else {
            self.check_kind(heartbeat.body())?;
            self.check_name(&heartbeat.body().node_id, Some(slot))?;
            self.redeclared(slot, heartbeat, effects);
        }
        self.hear(slot, heartbeat.head(), source, effects);
        Ok(())
    }

    /// The node says something new about itself.
    fn redeclared(&mut self, slot: Slot, heartbeat: &Arc<VerifiedHeartbeat>, effects: &mut Vec<Effect>) {
        let from = self.registry.entry(slot).status();
        let before = self.registry.redeclare(slot, Arc::clone(heartbeat));
        self.report_redeclared(slot, from, &before, effects);
    }

    fn report_redeclared(&mut self, slot: Slot, from: Status, before: &VerifiedHeartbeat, effects: &mut Vec<Effect>) {
        let after = Arc::clone(&self.registry.entry(slot).latest);
        let (before, after) = (before.body(), after.body());
        if before.profile() != after.profile() {
            self.event(slot, NodeEventKind::Updated, effects);
        }
        if before.resources.limits() != after.resources.limits() {
            self.event(slot, NodeEventKind::ResourceAdjustment, effects);
        }
        let to = self.registry.entry(slot).status();
        if from != to {
            self.event(slot, NodeEventKind::StatusChange { from, to }, effects);
        }
        self.want_record(slot);
        self.persist(slot, effects);
    }

    /// A heartbeat counts: time, streak, uptime, verdict.
    fn hear(&mut self, slot: Slot, head: &Head, source: &Source, effects: &mut Vec<Effect>) {
        let (now, heard) = (self.now, self.heard_at(head, source));
        let entry = self.registry.entry_mut(slot);
        let in_a_row = heard.since(entry.last_heard) < self.config.degraded_after;
        entry.streak = if in_a_row { entry.streak.saturating_add(1) } else { 1 };
        entry.last_heard = entry.last_heard.max(heard);
        entry.uptime.heartbeat(now, self.config.interval);
        let observed = entry.observed.after_heartbeat(entry.streak, &self.config);
        if observed != entry.observed {
            self.transition(slot, observed, effects);
        }
    }

    /// When the issuer was alive for sure: now for what came directly, a while ago for what a peer kept.
    fn heard_at(&self, head: &Head, source: &Source) -> Timestamp {
        match source {
            Source::Gossip | Source::Http => self.now,
            Source::Registry(_) => self.now.min(head.issued_at),
        }
    }

    /// The node still sends with the key it is replacing: a sign of life and nothing more.
    fn hear_former_key(
        &mut self,
        slot: Slot,
        heartbeat: &Arc<VerifiedHeartbeat>,
        source: &Source,
        effects: &mut Vec<Effect>,
    ) {
        let head = heartbeat.head();
        let former = &mut self.registry.entry_mut(slot).rest.former_keys;
        if let Some(former) = former.iter_mut().find(|former| former.did == head.issuer) {
            former.sequence = head.sequence;
            former.issued_at = head.issued_at;
        }
        self.hear(slot, head, source, effects);
    }

    /// An unknown key: a newcomer, or a known node with a new key.
    fn register(
        &mut self,
        heartbeat: &Arc<VerifiedHeartbeat>,
        source: &Source,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let body = heartbeat.body();
        self.check_kind(body)?;
        if let Some(rotation) = &body.rotation
            && let Some(slot) = key_of(&rotation.statement.old).and_then(|old| self.registry.find(&old))
        {
            return self.succeed(slot, rotation, heartbeat, source, effects);
        }
        let admitted_by = self.admit(heartbeat, source)?;
        self.check_name(&body.node_id, None)?;
        self.make_room(effects)?;
        let heard = self.heard_at(heartbeat.head(), source);
        let mut entry = Entry::new(self.now, heard, Arc::clone(heartbeat), admitted_by);
        if let Some(latency) = self.exchange.latency(entry.did()) {
            entry.rest.latency = std::mem::take(latency);
        }
        let slot = self.registry.insert(entry, heard + self.config.degraded_after);
        self.event(slot, NodeEventKind::Created, effects);
        self.want_record(slot);
        self.persist(slot, effects);
        Ok(())
    }

    /// A known node follows a new key: name, history and date of creation move with it.
    fn succeed(
        &mut self,
        slot: Slot,
        rotation: &Rotation,
        heartbeat: &Arc<VerifiedHeartbeat>,
        source: &Source,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let statement = &rotation.statement;
        if self.registry.entry(slot).did() != &statement.old {
            return Err(Refusal::RotationConflict);
        }
        if statement.issued_at > self.now + CLOCK_TOLERANCE {
            return Err(EnvelopeError::Clock(statement.issued_at.since(self.now)).into());
        }
        self.check_name(&heartbeat.body().node_id, Some(slot))?;
        let head = heartbeat.head();
        self.fetches.drop(&statement.old);
        let from = self.registry.entry(slot).status();
        let before = self.registry.rekey(slot, Arc::clone(heartbeat), statement.overlap_until);
        effects.push(Effect::Forget(statement.old.clone()));
        self.report_redeclared(slot, from, &before, effects);
        self.event(slot, NodeEventKind::KeyRotated { old: statement.old.clone() }, effects);
        self.hear(slot, head, source, effects);
        self.persist(slot, effects);
        Ok(())
    }

    fn own_seen(&mut self, heartbeat: &VerifiedHeartbeat, effects: &mut Vec<Effect>) {
        let sequence = heartbeat.head().sequence;
        self.sequence.move_past(sequence);
        effects.push(Effect::OwnKeySeenElsewhere { sequence });
        self.reserve(false, effects);
    }

    fn check_kind(&self, body: &Heartbeat) -> Result<(), Refusal> {
        let misplaced = body.node_type == NodeType::Development && !self.network.is_development();
        if misplaced { Err(Refusal::DevelopmentNode) } else { Ok(()) }
    }

    /// The first DID seen with a nodeId keeps it (`network.md` 2.3).
    fn check_name(&self, name: &NodeName, of: Option<Slot>) -> Result<(), Refusal> {
        if self.is_own_name(name) {
            return Err(Refusal::NodeIdTaken(self.own_did.clone()));
        }
        match self.registry.named(name) {
            holder if holder.is_none() || holder == of => Ok(()),
            Some(holder) => Err(Refusal::NodeIdTaken(self.registry.entry(holder).did().clone())),
            None => Ok(()),
        }
    }

    fn make_room(&mut self, effects: &mut Vec<Effect>) -> Result<(), Refusal> {
        if self.registry.len() < self.config.members_max {
            return Ok(());
        }
        let slot = self.registry.longest_offline().ok_or(Refusal::RegistryFull)?;
        self.remove(slot, effects);
        Ok(())
    }

    /// False only for who is not on an allow list.
    pub(super) fn is_listed(&self, did: &Did) -> bool {
        match &self.config.admission {
            Admission::Allowlist(list) => list.contains(did),
            Admission::Open | Admission::Invite { .. } => true,
        }
    }

    fn admit(&self, heartbeat: &VerifiedHeartbeat, source: &Source) -> Result<AdmittedBy, Refusal> {
        let issuer = &heartbeat.head().issuer;
        match &self.config.admission {
            Admission::Open => Ok(AdmittedBy::Open),
            Admission::Allowlist(_) => Ok(AdmittedBy::Listed),
            Admission::Invite { founders } if founders.contains(issuer) || self.invited_by(issuer) => {
                Ok(AdmittedBy::Listed)
            }
            Admission::Invite { .. } => match source {
                Source::Registry(peer) if self.is_member(peer) => Ok(AdmittedBy::Voucher(peer.clone())),
                _ => self.check_invite(heartbeat).map_err(Refusal::NotAdmitted),
            },
        }
    }

    fn check_invite(&self, heartbeat: &VerifiedHeartbeat) -> Result<AdmittedBy, NotAdmitted> {
        let invite = heartbeat.body().invite.as_ref().ok_or(NotAdmitted::NotInvited)?;
        if !self.is_member(&invite.terms.inviter) {
            return Err(NotAdmitted::InviterUnknown);
        }
        if invite.terms.expires_at < self.now {
            return Err(NotAdmitted::Expired);
        }
        let by = AdmittedBy::Invite(serde_bytes::ByteArray::new(invite.digest()));
        let used = self.registry.iter().filter(|entry| entry.rest.admitted_by == by).count();
        if used >= usize::from(invite.terms.uses) { Err(NotAdmitted::UsedUp) } else { Ok(by) }
    }

    /// Whether this node takes the word of `did` on who is a member.
    fn is_member(&self, did: &Did) -> bool {
        let founder = match &self.config.admission {
            Admission::Invite { founders } => founders.contains(did),
            Admission::Open | Admission::Allowlist(_) => false,
        };
        founder || *did == self.own_did || self.invited_by(did) || self.registry.find_did(did).is_some()
    }

    fn invited_by(&self, did: &Did) -> bool {
        self.invite.as_ref().is_some_and(|invite| invite.terms.inviter == *did)
    }

    /// Whether the key belongs to this node or to a registered one.
    pub(super) fn knows_key(&self, key: &Key) -> bool {
        *key == self.own_key || self.registry.find(key).is_some()
    }
}
