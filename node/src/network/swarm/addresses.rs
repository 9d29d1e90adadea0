//! Where we listen, where we are reachable, and the help of relays for that.

use std::net::IpAddr;

use rand::seq::IteratorRandom;

use super::*;

/// How often a node that only others dial tries to dial one of them.
const DIAL_BACK_INTERVAL: Duration = Duration::from_mins(1);

impl Network {
    /// The operator says that we are reachable there.
    pub(in crate::network) fn add_external(&mut self, address: Multiaddr) {
        self.swarm.add_external_address(address.clone());
        self.on_external(&address);
    }

    pub(super) fn on_listening(&mut self, address: Multiaddr) {
        tracing::info!(%address, "listening");
        self.view.send_modify(|view| view.listening.push(address.clone()));
        if self.is_reachable_by_itself(&address) {
            self.add_external(address.clone());
        }
        self.outbox.notice(Event::Listening(address));
    }

    pub(super) fn on_listening_ended(&mut self, address: &Multiaddr) {
        self.view.send_modify(|view| view.listening.retain(|other| other != address));
        if self.is_reachable_by_itself(address) {
            self.swarm.remove_external_address(address);
            self.on_external_lost(address);
        }
        self.outbox.notice(Event::ListeningEnded(address.clone()));
    }

    /// Whether where we listen is where we are reached. On a network that lives in private addresses it is; on the
    /// internet it is for a machine that has its public IPv4 address itself. A public IPv6 address usually stands behind
    /// the home router's firewall, and a private one behind its translation: there AutoNAT asks others.
    fn is_reachable_by_itself(&self, listening: &Multiaddr) -> bool {
        let own = match self.scope {
            Scope::Public => matches!(address::ip(listening), Some(IpAddr::V4(_))),
            Scope::Private | Scope::Loopback => true,
        };
        own && self.scope.admits(listening) && !address::is_relayed(listening)
    }

    /// AutoNAT asks only peers that we have dialed. A node that everybody else dials, the first one of a network, would
    /// never learn that it is reachable: so it dials one of them back.
    pub(super) fn ask_for_dial_backs(&mut self, now: Timestamp) {
        let unknown = self.view.borrow().reachability != Reachability::Direct;
        let dialed = |peer: &Peer| peer.connections.values().any(|connection| connection.dialed && !connection.relayed);
        if self.next_dial_back > now || !unknown || self.peers.values().any(dialed) {
            return;
        }
        self.next_dial_back = now + DIAL_BACK_INTERVAL;
        let reachable = self
            .peers
            .keys()
            .map(|peer| (*peer, self.found.addresses(peer)))
            .filter(|(_, addresses)| addresses.iter().any(|address| !address::is_relayed(address)))
            .choose(&mut rand::rng());
        if let Some((peer, addresses)) = reachable {
            let dial = DialOpts::peer_id(peer).condition(PeerCondition::Always).addresses(addresses).build();
            let connection = dial.connection_id();
            if let Err(error) = self.swarm.dial(dial) {
                self.on_dial_failed(connection, Some(peer), &error);
            }
        }
    }

    pub(super) fn on_listener_closed(
        &mut self,
        listener: ListenerId,
        addresses: &[Multiaddr],
        reason: Result<(), std::io::Error>,
    ) {
        for address in addresses {
            self.on_listening_ended(address);
        }
        let now = self.now();
        let was_reservation = self.relays.closed(listener, now, rand::random());
        match reason {
            Err(error) if was_reservation => tracing::info!(%error, "a reservation at a relay ended; asking again"),
            Err(error) => tracing::error!(%error, ?addresses, "this node no longer listens there; restart it"),
            Ok(()) => {}
        }
    }

    pub(super) fn on_external(&mut self, address: &Multiaddr) {
        let (address, _) = address::split_peer(address);
        let new = self.view.send_if_modified(|view| {
            let new = !view.external.contains(&address);
            if new {
                view.external.push(address.clone());
            }
            new
        });
        if new {
            tracing::info!(%address, "reachable");
            self.outbox.notice(Event::ExternalAddress(address));
            self.judge_reachability();
        }
    }

    pub(super) fn on_external_lost(&mut self, address: &Multiaddr) {
        let (address, _) = address::split_peer(address);
        self.view.send_modify(|view| view.external.retain(|other| *other != address));
        tracing::info!(%address, "no longer reachable");
        self.outbox.notice(Event::ExternalAddressLost(address));
        self.judge_reachability();
    }

    fn judge_reachability(&mut self) {
        let mut reachability = Reachability::Unreachable;
        let changed = self.view.send_if_modified(|view| {
            let direct = view.external.iter().any(|address| !address::is_relayed(address));
            reachability = match (direct, view.external.is_empty()) {
                (true, _) => Reachability::Direct,
                (false, false) => Reachability::Relayed,
                (false, true) => Reachability::Unreachable,
            };
            std::mem::replace(&mut view.reachability, reachability) != reachability
        });
        if changed && reachability == Reachability::Direct {
            for listener in self.relays.forget_learned() {
                self.swarm.remove_listener(listener);
            }
        }
        if changed {
            self.outbox.notice(Event::Reachability(reachability));
        }
    }

    pub(super) fn keep_reservations(&mut self, now: Timestamp) {
        let reachable = self.view.borrow().reachability == Reachability::Direct;
        for circuit in self.relays.due(now, reachable) {
            match self.swarm.listen_on(circuit.clone()) {
                Ok(listener) => self.relays.listening(&circuit, listener),
                Err(error) => {
                    tracing::info!(%circuit, %error, "no reservation at this relay");
                    self.relays.ended(&circuit, now, rand::random());
                }
            }
        }
    }

    pub(super) fn on_relay_client(&mut self, event: relay::client::Event) {
        if let relay::client::Event::ReservationReqAccepted { relay_peer_id, renewal, .. } = event {
            tracing::info!(relay = %relay_peer_id, renewal, "reservation at a relay");
            self.counters.relay_reservations.one();
            let now = self.now();
            self.relays.reserved(&relay_peer_id, now);
        }
    }

    pub(super) fn on_relay_server(&mut self, event: relay::Event) {
        match event {
            relay::Event::ReservationReqAccepted { src_peer_id, renewed } => {
                tracing::debug!(peer = %src_peer_id, renewed, "gave a reservation");
                self.counters.relay_reservations_given.one();
            }
            relay::Event::CircuitReqAccepted { .. } => self.counters.relay_circuits_carried.one(),
            event => tracing::debug!(?event, "relaying"),
        }
    }

    pub(super) fn on_hole_punching(&mut self, event: dcutr::Event) {
        let peer = event.remote_peer_id;
        match event.result {
            Ok(_) => {
                tracing::info!(%peer, "direct connection through two routers");
                self.counters.holes_punched.one();
                self.outbox.notice(Event::HolePunched { peer });
            }
            Err(error) => {
                tracing::debug!(%peer, %error, "no direct connection through two routers");
                self.counters.holes_failed.one();
            }
        }
    }
}
