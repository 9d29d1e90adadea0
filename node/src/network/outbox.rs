//! The way of events to their reader: bounded, and never waited for.
//!
//! A reader that lags loses gossip, pings and requests. It never loses that a peer came or went: what it has not been told
//! yet is kept as one line per peer, the newest truth, so that the memory is bounded by the number of peers however often
//! they come and go.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use libp2p::{Multiaddr, PeerId};
use tokio::sync::mpsc;

use super::event::Event;

/// Places that gossip, pings and requests leave free for news of connections.
const RESERVE: usize = 64;

/// Notices of our own addresses kept for a lagging reader; the handle knows the present ones.
const NOTICES_MAX: usize = 64;

pub(super) struct Outbox {
    events: mpsc::Sender<Event>,
    reserve: usize,
    /// What the reader believes, once it has read everything sent.
    told: BTreeSet<PeerId>,
    late: BTreeMap<PeerId, Late>,
    notices: VecDeque<Event>,
}

/// News of a peer that did not fit.
enum Late {
    Connected {
        address: Multiaddr,
        relayed: bool,
    },
    Disconnected,
    /// Gone and back: the reader hears both.
    Reconnected {
        address: Multiaddr,
        relayed: bool,
    },
}

impl Outbox {
    pub(super) fn new(capacity: usize) -> (Self, mpsc::Receiver<Event>) {
        let (events, reader) = mpsc::channel(capacity.max(2));
        let reserve = RESERVE.min(events.max_capacity() / 2);
        (Self { events, reserve, told: BTreeSet::new(), late: BTreeMap::new(), notices: VecDeque::new() }, reader)
    }

    /// Whether news wait for a place.
    pub(super) fn is_late(&self) -> bool {
        !self.late.is_empty() || !self.notices.is_empty()
    }

    /// The channel itself, to wait for a place in it or for its end.
    pub(super) fn sender(&self) -> mpsc::Sender<Event> {
        self.events.clone()
    }

    /// Sends what may be lost, and says whether it was not.
    pub(super) fn offer(&mut self, event: Event) -> bool {
        self.flush();
        !self.is_late() && self.events.capacity() > self.reserve && self.events.try_send(event).is_ok()
    }

    pub(super) fn connected(&mut self, peer: PeerId, address: Multiaddr, relayed: bool) {
        let late = if self.told.contains(&peer) {
            Late::Reconnected { address, relayed }
        } else {
            Late::Connected { address, relayed }
        };
        self.late.insert(peer, late);
        self.flush();
    }

    pub(super) fn disconnected(&mut self, peer: PeerId) {
        if self.told.contains(&peer) {
            self.late.insert(peer, Late::Disconnected);
        } else {
            // The reader never heard of it.
            self.late.remove(&peer);
        }
        self.flush();
    }

    /// Sends news of this node itself: the newest are kept.
    pub(super) fn notice(&mut self, event: Event) {
        if self.notices.len() == NOTICES_MAX {
            self.notices.pop_front();
        }
        self.notices.push_back(event);
        self.flush();
    }

    /// Sends as much as there is room for.
    pub(super) fn flush(&mut self) {
        while let Ok(place) = self.events.try_reserve() {
            if let Some((peer, late)) = self.late.pop_first() {
                match late {
                    Late::Connected { address, relayed } => {
                        self.told.insert(peer);
                        place.send(Event::PeerConnected { peer, address, relayed });
                    }
                    Late::Disconnected => {
                        self.told.remove(&peer);
                        place.send(Event::PeerDisconnected { peer });
                    }
                    Late::Reconnected { address, relayed } => {
                        self.told.remove(&peer);
                        self.late.insert(peer, Late::Connected { address, relayed });
                        place.send(Event::PeerDisconnected { peer });
                    }
                }
            } else if let Some(notice) = self.notices.pop_front() {
                place.send(notice);
            } else {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn address() -> Multiaddr {
        "/ip4/127.0.0.1/tcp/1".parse().expect("a multiaddress")
    }

    fn ping() -> Event {
        Event::Ping { peer: PeerId::random(), rtt: Duration::ZERO }
    }

    fn drain(reader: &mut mpsc::Receiver<Event>) -> Vec<Event> {
        std::iter::from_fn(|| reader.try_recv().ok()).collect()
    }

    #[test]
    fn a_lagging_reader_loses_pings_and_no_connection() {
        let (mut outbox, mut reader) = Outbox::new(4);
        assert!(outbox.offer(ping()) && outbox.offer(ping()));
        assert!(!outbox.offer(ping()), "half of the places are kept for connections");
        let peers: Vec<PeerId> = (0..10).map(|_| PeerId::random()).collect();
        for peer in &peers {
            outbox.connected(*peer, address(), false);
        }
        assert!(outbox.is_late());
        let mut connected = BTreeSet::new();
        while connected.len() < peers.len() {
            let events = drain(&mut reader);
            assert!(!events.is_empty(), "nothing comes any more after {} peers", connected.len());
            connected.extend(events.into_iter().filter_map(|event| match event {
                Event::PeerConnected { peer, .. } => Some(peer),
                _ => None,
            }));
            outbox.flush();
        }
        assert!(!outbox.is_late());
    }

    #[test]
    fn coming_and_going_unseen_leaves_nothing_behind() {
        let (mut outbox, mut reader) = Outbox::new(2);
        let known = PeerId::random();
        outbox.connected(known, address(), false);
        outbox.notice(ping());
        for _ in 0..1000 {
            let peer = PeerId::random();
            outbox.connected(peer, address(), false);
            outbox.disconnected(peer);
            outbox.disconnected(known);
            outbox.connected(known, address(), true);
        }
        assert_eq!(outbox.late.len(), 1);
        drain(&mut reader);
        outbox.flush();
        let events = drain(&mut reader);
        assert!(matches!(events[0], Event::PeerDisconnected { peer } if peer == known), "{events:?}");
        assert!(matches!(events[1], Event::PeerConnected { peer, relayed: true, .. } if peer == known), "{events:?}");
        assert!(!outbox.is_late());
    }
}
