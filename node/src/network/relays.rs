//! Reservations at relays, for a node that nobody can dial.
//!
//! A reservation is a listener of the swarm; it renews itself while the connection to the relay lives. When it ends, it is
//! asked for again here, after a wait that grows.

use angel_protocol::backoff::{Backoff, Policy};
use angel_protocol::time::Timestamp;
use libp2p::core::transport::ListenerId;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

/// A relay that the operator did not name is given up after this many failures in a row.
const LEARNED_FAILURES_MAX: u32 = 3;

#[derive(Debug)]
struct Slot {
    relay: PeerId,
    circuit: Multiaddr,
    configured: bool,
    listener: Option<ListenerId>,
    backoff: Backoff,
    due: Timestamp,
}

/// The relays we hold or want a reservation at.
#[derive(Debug)]
pub(super) struct Relays {
    policy: Policy,
    learned_max: usize,
    slots: Vec<Slot>,
}

/// Where to listen to be reachable through a relay at `address`.
fn circuit(relay: PeerId, address: &Multiaddr) -> Multiaddr {
    address.clone().with(Protocol::P2p(relay)).with(Protocol::P2pCircuit)
}

impl Relays {
    pub(super) fn new(configured: &[(PeerId, Multiaddr)], learned_max: usize, policy: Policy) -> Self {
        let mut relays = Self { policy, learned_max, slots: Vec::new() };
        for (relay, address) in configured {
            relays.push(*relay, address, true);
        }
        relays
    }

    fn push(&mut self, relay: PeerId, address: &Multiaddr, configured: bool) {
        self.slots.push(Slot {
            relay,
            circuit: circuit(relay, address),
            configured,
            listener: None,
            backoff: Backoff::new(self.policy),
            due: Timestamp::EPOCH,
        });
    }

    /// A peer offers to relay. Taken while there is room for one that the operator did not name.
    pub(super) fn offered(&mut self, relay: PeerId, address: &Multiaddr) {
        let learned = self.slots.iter().filter(|slot| !slot.configured).count();
        if learned < self.learned_max && !self.contains(&relay) {
            self.push(relay, address, false);
        }
    }

    pub(super) fn contains(&self, relay: &PeerId) -> bool {
        self.slots.iter().any(|slot| slot.relay == *relay)
    }

    /// The circuits to listen on now. Learned relays are only needed while we are not reachable directly. Each answer
    /// must be followed by [`Self::listening`] or [`Self::ended`].
    pub(super) fn due(&mut self, now: Timestamp, reachable: bool) -> Vec<Multiaddr> {
        self.slots
            .iter()
            .filter(|slot| slot.listener.is_none() && slot.due <= now && (slot.configured || !reachable))
            .map(|slot| slot.circuit.clone())
            .collect()
    }

    /// Gives up what was learned: we are reachable without. Answers the listeners to close.
    pub(super) fn forget_learned(&mut self) -> Vec<ListenerId> {
        let listeners = self.slots.iter().filter(|slot| !slot.configured).filter_map(|slot| slot.listener).collect();
        self.slots.retain(|slot| slot.configured);
        listeners
    }

    pub(super) fn listening(&mut self, circuit: &Multiaddr, listener: ListenerId) {
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.circuit == *circuit) {
            slot.listener = Some(listener);
        }
    }

    /// A relay gave or renewed a reservation.
    pub(super) fn reserved(&mut self, relay: &PeerId, now: Timestamp) {
        for slot in self.slots.iter_mut().filter(|slot| slot.relay == *relay) {
            slot.backoff.succeeded(now);
        }
    }

    /// A listener closed. Answers whether it was one of these.
    pub(super) fn closed(&mut self, listener: ListenerId, now: Timestamp, random: u64) -> bool {
        let Some(index) = self.slots.iter().position(|slot| slot.listener == Some(listener)) else { return false };
        self.end(index, now, random);
        true
    }

    /// A circuit could not even be asked for.
    pub(super) fn ended(&mut self, circuit: &Multiaddr, now: Timestamp, random: u64) {
        if let Some(index) = self.slots.iter().position(|slot| slot.circuit == *circuit) {
            self.end(index, now, random);
        }
    }

    fn end(&mut self, index: usize, now: Timestamp, random: u64) {
        let slot = &mut self.slots[index];
        slot.listener = None;
        slot.due = now + slot.backoff.failed(now, random);
        if !slot.configured && slot.backoff.failures() >= LEARNED_FAILURES_MAX {
            self.slots.remove(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000);

    fn address() -> Multiaddr {
        "/ip4/198.51.100.7/tcp/1".parse().expect("a multiaddress")
    }

    #[test]
    fn a_lost_reservation_is_asked_for_again() {
        let relay = PeerId::random();
        let mut relays = Relays::new(&[(relay, address())], 0, Policy::default());
        let circuits = relays.due(NOW, true);
        assert_eq!(circuits[0].to_string(), format!("/ip4/198.51.100.7/tcp/1/p2p/{relay}/p2p-circuit"));
        let listener = ListenerId::next();
        relays.listening(&circuits[0], listener);
        assert!(relays.due(NOW, false).is_empty());
        assert!(relays.closed(listener, NOW, u64::MAX));
        assert!(relays.due(NOW, false).is_empty());
        assert_eq!(relays.due(NOW + std::time::Duration::from_secs(1), false), circuits);
        assert!(!relays.closed(ListenerId::next(), NOW, 0));
    }

    #[test]
    fn who_is_reachable_keeps_configured_relays_only() {
        let mut relays = Relays::new(&[(PeerId::random(), address())], 1, Policy::default());
        relays.offered(PeerId::random(), &address());
        let listeners: Vec<ListenerId> = (0..2).map(|_| ListenerId::next()).collect();
        for (circuit, listener) in relays.due(NOW, false).iter().zip(&listeners) {
            relays.listening(circuit, *listener);
        }
        assert_eq!(relays.forget_learned(), listeners[1..]);
        assert!(!relays.closed(listeners[1], NOW, 0), "it is no longer ours");
        assert!(relays.closed(listeners[0], NOW, 0));
    }

    #[test]
    fn learned_relays_are_few_and_given_up() {
        let mut relays = Relays::new(&[], 1, Policy::default());
        let relay = PeerId::random();
        relays.offered(relay, &address());
        relays.offered(PeerId::random(), &address());
        assert_eq!(relays.due(NOW, false).len(), 1);
        assert!(relays.due(NOW, true).is_empty(), "who is reachable needs none");
        let circuit = relays.due(NOW, false).remove(0);
        for _ in 0..LEARNED_FAILURES_MAX {
            assert!(relays.contains(&relay));
            relays.ended(&circuit, NOW, 0);
        }
        assert!(!relays.contains(&relay));
    }
}
