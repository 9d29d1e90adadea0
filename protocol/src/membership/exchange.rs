//! Catching up with a peer: who is asked, how often, and what an answer holds.
//!
//! On a new connection each side asks the other for the signed heartbeats it holds, unless it has just asked some others:
//! a node that makes many connections at once learns little from the fifth. Later, now and then, a random peer is asked. The request carries a digest of the nodes seen, so that two who see the same ones are done with one
//! small message.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::heartbeat::{Heartbeat, VerifiedHeartbeat};
use super::registry::{Key, Latency};
use crate::ids::Did;
use crate::limits::{CONNECTED_PEERS_MAX, REGISTRY_PAGES_MAX};
use crate::time::Timestamp;
use crate::wire::envelope::{EnvelopeError, Opened};

/// Exchanges this node has open at once.
const ASKED_MAX: usize = 4;

/// Peers asked because they connected, in [`GREETED_WINDOW`].
const GREETED_MAX: u32 = 4;
const GREETED_WINDOW: Duration = Duration::from_secs(2);

/// An answer that takes longer is not waited for.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// Pages served to one peer in [`SERVED_WINDOW`].
const SERVED_MAX: u32 = REGISTRY_PAGES_MAX + 4;
const SERVED_WINDOW: Duration = Duration::from_secs(10);

/// A page without what this node knows already.
#[derive(Clone, Debug)]
pub struct SiftedPage {
    pub(super) opened: Vec<Opened<Heartbeat>>,
    pub(super) next: Option<Key>,
    pub(super) malformed: Option<EnvelopeError>,
}

/// A page whose heartbeats are verified.
#[derive(Clone, Debug)]
pub struct VerifiedPage {
    pub(super) heartbeats: Vec<Arc<VerifiedHeartbeat>>,
    pub(super) next: Option<Key>,
    invalid: Option<EnvelopeError>,
}

impl SiftedPage {
    /// Checks what is left of the page: pure, and dear only for what is news. Run it on any thread.
    #[must_use]
    pub fn verify(self) -> VerifiedPage {
        self.verify_with(|opened| VerifiedHeartbeat::verify(opened).map(Arc::new))
    }

    /// The same with the caller's own way to [`VerifiedHeartbeat::verify`], for one who remembers what it verified.
    #[must_use]
    pub fn verify_with(
        self,
        mut verify: impl FnMut(Opened<Heartbeat>) -> Result<Arc<VerifiedHeartbeat>, EnvelopeError>,
    ) -> VerifiedPage {
        let mut page = VerifiedPage { heartbeats: Vec::new(), next: self.next, invalid: self.malformed };
        for opened in self.opened {
            match verify(opened) {
                Ok(heartbeat) => page.heartbeats.push(heartbeat),
                Err(error) => page.invalid = Some(error),
            }
        }
        page
    }

    /// How many heartbeats have to be verified.
    #[must_use]
    pub fn news(&self) -> usize {
        self.opened.len()
    }
}

impl VerifiedPage {
    /// Why the peer that sent this page is at fault: it handed over what no honest node would have kept.
    #[must_use]
    pub const fn invalid(&self) -> Option<&EnvelopeError> {
        self.invalid.as_ref()
    }
}

/// The peers this node is connected to, and what it asked them.
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    peers: BTreeMap<Did, Peer>,
    next: Timestamp,
    /// The newest exchange brought something new.
    brought_news: bool,
    greeted_since: Timestamp,
    greeted: u32,
}

#[derive(Clone, Debug, Default)]
struct Peer {
    /// Measured before the peer had an entry.
    latency: Latency,
    asked: Option<Asked>,
    served_since: Timestamp,
    served: u32,
}

#[derive(Clone, Debug)]
struct Asked {
    at: Timestamp,
    pages: u32,
}

impl Exchange {
    pub(super) const fn starting(now: Timestamp) -> Self {
        Self { peers: BTreeMap::new(), next: now, brought_news: true, greeted_since: now, greeted: 0 }
    }

    /// False when the peer was known to be connected, or too many are.
    pub(super) fn connected(&mut self, peer: &Did) -> bool {
        if self.peers.contains_key(peer) || self.peers.len() >= CONNECTED_PEERS_MAX {
            return false;
        }
        self.peers.insert(peer.clone(), Peer::default());
        true
    }

    pub(super) fn disconnected(&mut self, peer: &Did) {
        self.peers.remove(peer);
    }

    pub(super) fn is_connected(&self, peer: &Did) -> bool {
        self.peers.contains_key(peer)
    }

    pub(super) fn peers(&self) -> impl Iterator<Item = &Did> {
        self.peers.keys()
    }

    /// Says whether a page held news.
    pub(super) const fn learned(&mut self, news: bool) {
        self.brought_news = news;
    }

    /// Whether asking again soon is likely to be worth it.
    pub(super) const fn brings_news(&self) -> bool {
        self.brought_news
    }

    /// Round trips of a peer that has no entry yet.
    pub(super) fn latency(&mut self, peer: &Did) -> Option<&mut Latency> {
        self.peers.get_mut(peer).map(|peer| &mut peer.latency)
    }

    /// When a random peer is due to be asked; nothing while there is none.
    pub(super) fn next(&self) -> Option<Timestamp> {
        (!self.peers.is_empty()).then_some(self.next)
    }

    /// The peer to ask now, `draw` being random; and none is asked again before `next`.
    pub(super) fn choose(&mut self, now: Timestamp, next: Timestamp, draw: u64) -> Option<Did> {
        if now < self.next || self.peers.is_empty() {
            return None;
        }
        self.next = next;
        let index = usize::try_from(draw % self.peers.len() as u64).expect("less than the number of peers");
        self.peers.keys().nth(index).cloned()
    }

    /// Brings the next exchange forward after the clock went back.
    pub(super) fn not_later_than(&mut self, latest: Timestamp) {
        self.next = self.next.min(latest);
        self.peers.values_mut().for_each(|peer| peer.asked = None);
    }

    /// Whether a peer that connects now is worth a question.
    pub(super) fn greets(&mut self, now: Timestamp) -> bool {
        if now.since(self.greeted_since) >= GREETED_WINDOW || now < self.greeted_since {
            (self.greeted_since, self.greeted) = (now, 0);
        }
        self.greeted += 1;
        self.greeted <= GREETED_MAX
    }

    /// Whether `peer` may be asked for a first page now; if so, it counts as asked.
    pub(super) fn ask(&mut self, now: Timestamp, peer: &Did) -> bool {
        let waits = |peer: &Peer| peer.asked.as_ref().is_some_and(|asked| now.since(asked.at) < ANSWER_WITHIN);
        let open = self.peers.values().filter(|peer| waits(peer)).count();
        match self.peers.get_mut(peer) {
            Some(found) if open < ASKED_MAX && !waits(found) => {
                found.asked = Some(Asked { at: now, pages: 1 });
                true
            }
            _ => false,
        }
    }

    /// Whether an answer of `peer` was asked for.
    pub(super) fn expects(&self, peer: &Did) -> bool {
        self.peers.get(peer).is_some_and(|peer| peer.asked.is_some())
    }

    /// A page came. Whether the next one may be asked for; if not, the exchange is over.
    pub(super) fn answered(&mut self, now: Timestamp, peer: &Did, more: bool) -> bool {
        let Some(found) = self.peers.get_mut(peer) else { return false };
        match &mut found.asked {
            Some(asked) if more && asked.pages < REGISTRY_PAGES_MAX => {
                *asked = Asked { at: now, pages: asked.pages + 1 };
                true
            }
            _ => {
                found.asked = None;
                false
            }
        }
    }

    /// Whether `peer` is served a page now. Somebody who asks too much gets empty ones.
    pub(super) fn serve(&mut self, now: Timestamp, peer: &Did) -> bool {
        let Some(found) = self.peers.get_mut(peer) else { return false };
        if now.since(found.served_since) >= SERVED_WINDOW || now < found.served_since {
            (found.served_since, found.served) = (now, 0);
        }
        found.served += 1;
        found.served <= SERVED_MAX
    }
}
