//! Whom to dial, and how others are found.

use rand::seq::IteratorRandom;

use super::super::dial::ADDRESSES_PER_PEER_MAX;
use super::*;

/// How often a relayed peer is dialed at the addresses it says it has.
const DIRECT_INTERVAL: Duration = Duration::from_mins(1);

impl Network {
    pub(super) fn dial_targets(&mut self, now: Timestamp) {
        let few = self.reported() < self.limits.peers_min;
        for dial in self.targets.due(now, few) {
            let (connection, peer) = (dial.connection_id(), dial.get_peer_id());
            if let Err(error) = self.swarm.dial(dial) {
                self.on_dial_failed(connection, peer, &error);
            }
        }
    }

    /// Dials peers we have heard of until there are enough.
    pub(super) fn dial_found(&mut self, now: Timestamp) {
        // A peer that has not identified itself yet counts too: most will, and the others are cut off soon.
        let missing = self.limits.peers_wanted.saturating_sub(self.peers.len() + self.found.dials_under_way());
        let places = missing.min(FOUND_DIALS_MAX.saturating_sub(self.found.dials_under_way()));
        if places == 0 {
            return;
        }
        let local = *self.swarm.local_peer_id();
        let mut candidates: BTreeMap<PeerId, Vec<Multiaddr>> =
            self.found.known().map(|peer| (peer, self.found.addresses(&peer))).collect();
        for bucket in self.swarm.behaviour_mut().discovery.kademlia.kbuckets() {
            for entry in bucket.iter() {
                candidates.entry(*entry.node.key.preimage()).or_default().extend(entry.node.value.iter().cloned());
            }
        }
        let chosen = candidates
            .into_iter()
            .filter(|(peer, _)| {
                *peer != local
                    && !self.peers.contains_key(peer)
                    && !self.bans.contains_key(peer)
                    && !self.blocked.contains(peer)
                    && self.found.may_dial(peer, now)
            })
            .sample(&mut rand::rng(), places);
        let udp_passes = self.udp_passes();
        for (peer, mut addresses) in chosen {
            // Side by side, on a busy machine both handshakes are paid for and one is thrown away.
            if udp_passes && !self.found.has_failed(&peer) && addresses.iter().any(address::is_quic) {
                addresses.retain(address::is_quic);
            }
            let dial = DialOpts::peer_id(peer).addresses(addresses).build();
            let connection = dial.connection_id();
            self.found.dialing(connection, peer);
            if let Err(error) = self.swarm.dial(dial) {
                self.on_dial_failed(connection, Some(peer), &error);
            }
        }
    }

    /// Whether somebody was reached from here over QUIC, and still is: then no firewall stands in its way.
    fn udp_passes(&self) -> bool {
        let mut connections = self.peers.values().flat_map(|peer| peer.connections.values());
        connections.any(|connection| connection.dialed && !connection.relayed && address::is_quic(&connection.address))
    }

    /// A walk may dial whom it meets only while it looks for somebody in particular. Whom other walks meet is dialed as
    /// far as peers are missing.
    pub(super) fn restrain_walks(&mut self) {
        let may_dial = self.seeks.is_looking();
        self.swarm.behaviour_mut().discovery.kademlia.let_dial(may_dial);
    }

    pub(super) fn dial_named(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        for address in &addresses {
            self.trusted.add_neighbour(address);
        }
        let dial = DialOpts::peer_id(peer)
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .addresses(addresses)
            .extend_addresses_through_behaviour()
            .build();
        let connection = dial.connection_id();
        if let Err(error) = self.swarm.dial(dial) {
            self.on_dial_failed(connection, Some(peer), &error);
        }
    }

    pub(super) fn on_dial_failed(&mut self, connection: ConnectionId, peer: Option<PeerId>, error: &DialError) {
        let now = self.now();
        self.found.failed(connection, now, rand::random());
        self.seeks.dial_failed(connection, now);
        if matches!(error, DialError::DialPeerConditionFalse(_)) {
            // It is connected or being dialed already; the outcome of that one counts.
            self.targets.failed(connection, now, rand::random());
            return;
        }
        let counter = match error {
            DialError::Transport(_) => &self.counters.dials_failed_transport,
            DialError::WrongPeerId { .. } | DialError::LocalPeerId { .. } => &self.counters.dials_failed_identity,
            DialError::Denied { .. } => &self.counters.dials_refused,
            _ => &self.counters.dials_failed_other,
        };
        counter.one();
        let peer = peer.map(tracing::field::display);
        let error = one_line(error);
        match self.targets.failed(connection, now, rand::random()) {
            Some(failures) => {
                tracing::info!(peer, failures, %error, "a peer that this node was told of is not reached");
            }
            None => tracing::debug!(peer, %error, "dial failed"),
        }
    }

    /// A peer told us where it is, by its signed word that others passed on.
    pub(super) fn learn(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        let addresses = self.admissible(peer, addresses);
        self.found.add(peer, addresses);
        self.seeks.told(&peer);
        self.dial_sought(peer);
    }

    /// Others say where a peer is.
    pub(super) fn hear(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        let addresses = self.admissible(peer, addresses);
        self.found.hear(peer, addresses);
        self.dial_sought(peer);
    }

    /// A peer told us where it is and what it speaks.
    pub(super) fn learn_identified(&mut self, peer: PeerId, connection: ConnectionId, info: &identify::Info) {
        let addresses = self.admissible(peer, info.listen_addrs.clone());
        let speaks = |protocol: &StreamProtocol| info.protocols.contains(protocol);
        let kademlia = &mut self.swarm.behaviour_mut().discovery.kademlia;
        if kademlia.protocol_names().iter().any(speaks) {
            for address in &addresses {
                kademlia.add_address(&peer, address.clone());
            }
        }
        if speaks(&relay::HOP_PROTOCOL_NAME) {
            let direct = self
                .peers
                .get(&peer)
                .and_then(|entry| entry.connections.get(&connection))
                .is_some_and(|connection| !connection.relayed);
            // A relay that is itself behind a relay is none.
            if let Some(address) = addresses.iter().find(|address| direct && !address::is_relayed(address)) {
                self.relays.offered(peer, address);
            }
        }
        self.try_directly(peer, &addresses);
        self.found.add(peer, addresses);
    }

    /// A peer that we reach through a relay says where it can be reached directly. Hole punching only tries addresses that
    /// are not yet known to work, so those that are must be tried here.
    fn try_directly(&mut self, peer: PeerId, addresses: &[Multiaddr]) {
        let now = self.now();
        let Some(entry) = self.peers.get_mut(&peer) else { return };
        let direct: Vec<Multiaddr> =
            addresses.iter().filter(|address| !address::is_relayed(address)).cloned().collect();
        let relayed = entry.connections.values().all(|connection| connection.relayed);
        if direct.is_empty() || !relayed || entry.next_direct > now {
            return;
        }
        entry.next_direct = now + DIRECT_INTERVAL;
        let dial = DialOpts::peer_id(peer).condition(PeerCondition::Always).addresses(direct).build();
        let connection = dial.connection_id();
        if let Err(error) = self.swarm.dial(dial) {
            self.on_dial_failed(connection, Some(peer), &error);
        }
    }

    /// The addresses worth keeping, without the peer's id at their end.
    pub(super) fn admissible(&self, peer: PeerId, addresses: Vec<Multiaddr>) -> Vec<Multiaddr> {
        addresses
            .into_iter()
            .filter_map(|address| match address::split_peer(&address) {
                (_, Some(other)) if other != peer => None,
                (address, _) => Some(address),
            })
            .filter(|address| self.scope.admits(address))
            .take(ADDRESSES_PER_PEER_MAX)
            .collect()
    }

    pub(super) fn on_kademlia(&mut self, event: kad::Event) {
        match event {
            // Kademlia also learns from connections that are open, for example inside a home: such addresses would be
            // handed to strangers.
            kad::Event::RoutingUpdated { peer, addresses, .. } => {
                let private: Vec<Multiaddr> =
                    addresses.iter().filter(|address| !self.scope.admits(address)).cloned().collect();
                for address in private {
                    self.swarm.behaviour_mut().discovery.kademlia.remove_address(&peer, &address);
                }
            }
            kad::Event::OutboundQueryProgressed {
                id, result: kad::QueryResult::GetClosestPeers(result), step, ..
            } => {
                let found = match result {
                    Ok(found) => found.peers,
                    Err(kad::GetClosestPeersError::Timeout { peers, .. }) => peers,
                };
                for peer in found {
                    self.hear(peer.peer_id, peer.addrs);
                }
                if step.last {
                    self.seeks.looked(id);
                    self.look_around(self.now());
                }
            }
            _ => {}
        }
    }

    pub(super) fn on_mdns(&mut self, event: mdns::Event) {
        let mdns::Event::Discovered(found) = event else { return };
        for (peer, address) in found {
            self.trusted.add_neighbour(&address);
            let (address, _) = address::split_peer(&address);
            self.found.add(peer, [address]);
        }
    }
}

/// libp2p writes one line per address.
fn one_line(error: &DialError) -> String {
    error.to_string().lines().map(str::trim).collect::<Vec<_>>().join(" ")
}
