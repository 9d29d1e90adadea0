//! Peers come and go, and are asked for what they know: heartbeats they hold, records of nodes.

use std::sync::Arc;

use rand_chacha::rand_core::Rng;
use serde_bytes::ByteArray;

use super::super::effect::Effect;
use super::super::exchange::{SiftedPage, VerifiedPage};
use super::super::input::Source;
use super::super::refusal::Refusal;
use super::super::registry::{Key, Slot, key_of};
use super::super::{OpenedHeartbeat, VerifiedHeartbeat};
use super::State;
use crate::ids::Did;
use crate::limits::{REGISTRY_PAGE_BYTES_MAX, REGISTRY_PAGE_ENVELOPES_MAX};
use crate::time::Timestamp;
use crate::wire::envelope::{EnvelopeError, issuer};
use crate::wire::registry::{RegistryPage, RegistryRequest};

impl State {
    /// Leaves out of a peer's page what is no news here, so that only news costs a signature check.
    #[must_use]
    pub fn sift(&self, now: Timestamp, page: &RegistryPage) -> SiftedPage {
        let mut sifted = SiftedPage { opened: Vec::new(), next: page.next, malformed: None };
        let mut last: Option<Key> = None;
        for bytes in &page.envelopes {
            // Most of a page is held already, byte for byte: found by the issuer's text, without reading the rest.
            let held = issuer(bytes).and_then(|did| self.registry.find_text(did)).map(|slot| self.registry.entry(slot));
            if let Some(held) = held.filter(|held| **held.latest.bytes() == **bytes) {
                if last.is_some_and(|last| last >= *held.key()) {
                    sifted.malformed = Some(EnvelopeError::Field("(envelopes out of order)"));
                } else {
                    last = Some(*held.key());
                }
                continue;
            }
            match OpenedHeartbeat::from_cbor(bytes, &self.network) {
                // One envelope per node, in order: the page cannot make this node check one node twice.
                Ok(opened) if last.is_some_and(|last| last >= opened.head().key) => {
                    sifted.malformed = Some(EnvelopeError::Field("(envelopes out of order)"));
                }
                Ok(opened) => {
                    last = Some(opened.head().key);
                    if self.is_news(now, &opened) {
                        sifted.opened.push(opened);
                    }
                }
                Err(EnvelopeError::Version(_)) => {}
                Err(error) => sifted.malformed = Some(error),
            }
        }
        sifted
    }

    /// What is too old to register an unknown node may still tell where to find it.
    fn is_news(&self, now: Timestamp, opened: &OpenedHeartbeat) -> bool {
        match self.precheck(now, opened.head()) {
            Ok(()) => true,
            Err(Refusal::Envelope(EnvelopeError::Clock(_))) => !self.knows_key(&opened.head().key),
            Err(_) => false,
        }
    }

    pub(super) fn peer_connected(&mut self, peer: &Did, effects: &mut Vec<Effect>) {
        if *peer == self.own_did || !self.exchange.connected(peer) {
            return;
        }
        self.settled = self.settled.or(Some(self.now + self.config.settle));
        if self.exchange.greets(self.now) {
            self.ask(peer, effects);
        }
    }

    pub(super) fn ping_measured(&mut self, peer: &Did, rtt_ms: u32) {
        if let Some(slot) = self.registry.find_did(peer) {
            self.registry.entry_mut(slot).rest.latency.measured(rtt_ms);
        } else if let Some(latency) = self.exchange.latency(peer) {
            latency.measured(rtt_ms);
        }
    }

    pub(super) fn health_measured(&mut self, peer: &Did, response_ms: u32) {
        if let Some(slot) = self.registry.find_did(peer) {
            self.registry.entry_mut(slot).rest.response_ms = Some(response_ms);
        }
    }

    pub(super) fn exchange_when_due(&mut self, effects: &mut Vec<Effect>) {
        if self.exchange.next().is_none_or(|next| self.now < next) {
            return;
        }
        let every = if self.is_starting() && self.exchange.brings_news() {
            self.config.exchange_every_at_start
        } else {
            self.config.exchange_every
        };
        let next = self.now + every + self.draw(every / 4);
        let draw = self.rng.next_u64();
        if let Some(peer) = self.exchange.choose(self.now, next, draw) {
            self.ask(&peer, effects);
        }
    }

    fn ask(&mut self, peer: &Did, effects: &mut Vec<Effect>) {
        if self.exchange.ask(self.now, peer) {
            self.request(peer, None, effects);
        }
    }

    fn request(&self, peer: &Did, after: Option<Key>, effects: &mut Vec<Effect>) {
        let request = RegistryRequest { after: after.map(ByteArray::new), digest: ByteArray::new(self.digest()) };
        effects.push(Effect::RequestRegistry { peer: peer.clone(), request });
    }

    /// The nodes seen, this one among them, as one value.
    fn digest(&self) -> Key {
        let mut digest = *self.registry.digest();
        digest.iter_mut().zip(self.own_key).for_each(|(sum, byte)| *sum ^= byte);
        digest
    }

    pub(super) fn registry_requested(
        &mut self,
        peer: &Did,
        request_id: u64,
        request: &RegistryRequest,
        effects: &mut Vec<Effect>,
    ) {
        let same = request.after.is_none() && *request.digest == self.digest();
        let page = if same || !self.exchange.serve(self.now, peer) {
            RegistryPage::default()
        } else {
            self.page(peer, request.after.as_deref())
        };
        effects.push(Effect::AnswerRegistry { request_id, page });
    }

    /// The heartbeats of the newest ten minutes behind `after`; and the asker's own whatever its age, so that a node
    /// whose data was restored from a backup learns which numbers it has used.
    fn page(&self, asker: &Did, after: Option<&Key>) -> RegistryPage {
        let fresh = |at: Timestamp| self.now.since(at) <= self.config.topology_window;
        let others = self.registry.iter().filter(|entry| fresh(entry.last_heard) || entry.did() == asker);
        let own = self.latest.iter().map(|latest| (&self.own_key, latest));
        let mut held: Vec<(&Key, &Arc<VerifiedHeartbeat>)> =
            others.map(|entry| (entry.key(), &entry.latest)).chain(own).collect();
        held.retain(|(key, _)| after.is_none_or(|after| *key > after));
        held.sort_unstable_by_key(|(key, _)| *key);
        let mut page = RegistryPage::default();
        let mut bytes = 0;
        let mut last = None;
        for (key, heartbeat) in held {
            bytes += heartbeat.bytes().len();
            if page.envelopes.len() == REGISTRY_PAGE_ENVELOPES_MAX || bytes > REGISTRY_PAGE_BYTES_MAX {
                page.next = last;
                break;
            }
            page.envelopes.push(Arc::clone(heartbeat.bytes()));
            last = Some(*key);
        }
        page
    }

    pub(super) fn registry_received(&mut self, peer: &Did, page: VerifiedPage, effects: &mut Vec<Effect>) {
        if !self.exchange.expects(peer) {
            return;
        }
        let more = page.next.is_some() && page.invalid().is_none();
        self.exchange.learned(!page.heartbeats.is_empty());
        // The peer's own heartbeat first: on a network by invitation, its being a member vouches for the rest.
        let (own, others): (Vec<_>, Vec<_>) =
            page.heartbeats.into_iter().partition(|heartbeat| heartbeat.head().issuer == *peer);
        for heartbeat in own.into_iter().chain(others) {
            let head = heartbeat.head();
            if head.key != self.own_key && head.check_clock(self.now).is_err() {
                self.discovered(&heartbeat, effects);
            } else {
                self.heartbeat_received(&heartbeat, Source::Registry(peer.clone()), effects);
            }
        }
        if self.exchange.answered(self.now, peer, more) {
            self.request(peer, page.next, effects);
        }
    }

    fn discovered(&self, heartbeat: &VerifiedHeartbeat, effects: &mut Vec<Effect>) {
        let addresses = &heartbeat.body().listen_addresses;
        if !addresses.is_empty() && !self.knows_key(&heartbeat.head().key) {
            effects.push(Effect::Discovered { did: heartbeat.head().issuer.clone(), addresses: addresses.clone() });
        }
    }

    /// Wants the record that the node's heartbeat names, unless it is held.
    pub(super) fn want_record(&mut self, slot: Slot) {
        let entry = self.registry.entry(slot);
        let (named, held) = (entry.latest.body().record_cid, entry.rest.record.as_ref().map(|held| held.cid));
        match named {
            Some(cid) if held != Some(cid) => self.fetches.want(self.now, entry.did(), cid),
            _ => self.fetches.drop(entry.did()),
        }
    }

    pub(super) fn start_fetches(&mut self, effects: &mut Vec<Effect>) {
        while let Some((did, cid)) = self.fetches.start(self.now) {
            effects.push(Effect::FetchRecord { did, cid });
        }
    }

    pub(super) fn record_received(&mut self, did: &Did, bytes: Arc<[u8]>, effects: &mut Vec<Effect>) {
        let slot = key_of(did).and_then(|key| self.registry.find(&key));
        let Some(slot) = slot.filter(|slot| self.registry.entry(*slot).did() == did) else { return };
        match self.held(self.registry.entry(slot), bytes) {
            Ok(held) => {
                self.fetches.drop(did);
                let (cid, bytes) = (held.cid, Arc::clone(&held.bytes));
                self.registry.entry_mut(slot).rest.record = Some(held);
                effects.push(Effect::RecordVerified { did: did.clone(), cid, bytes });
                self.persist(slot, effects);
            }
            Err(error) => {
                tracing::debug!(peer = %did, %error, "a node's record was not believed");
                self.fetches.failed(did);
            }
        }
    }
}
