//! Connections come, identify themselves, misbehave and go.

use super::*;

/// From this penalty on a peer's score alone cuts it off; more would only be remembered longer.
const PENALTY_MAX: u32 = 1000;

/// Characters kept of what a peer says of itself.
const TEXT_CHARS_MAX: usize = 128;

/// How long a relayed connection outlives a direct one to the same peer.
const SETTLE: Duration = Duration::from_secs(10);

impl Network {
    pub(super) fn on_connected(&mut self, peer: PeerId, connection: ConnectionId, endpoint: &ConnectedPoint) {
        let now = self.now();
        let (address, _) = address::split_peer(endpoint.get_remote_address());
        let relayed = endpoint.is_relayed();
        self.count_connection(endpoint);
        if endpoint.is_dialer() {
            self.targets.connected(connection, peer);
            self.found.connected(connection, peer);
        }
        if let Some(weight) = self.penalties.get(&peer) {
            self.swarm.behaviour_mut().talk.gossip.set_application_score(&peer, -f64::from(*weight));
        }
        let entry = self.peers.entry(peer).or_insert_with(|| Peer {
            since: now,
            next_direct: now,
            agent: None,
            connections: HashMap::new(),
        });
        let was_relayed = entry.agent.is_some() && entry.connections.values().all(|connection| connection.relayed);
        let dialed = endpoint.is_dialer();
        entry.connections.insert(connection, Connection { address: address.clone(), relayed, dialed, since: now });
        self.sought_connected(peer);
        if was_relayed && !relayed {
            self.show(peer);
            self.outbox.notice(Event::PeerDirect { peer, address });
        }
    }

    /// Closes relayed connections to peers that are reached directly, once what was under way on them had its time.
    pub(super) fn spare_relays(&mut self, now: Timestamp) {
        let spare: Vec<ConnectionId> = self
            .peers
            .values()
            .filter(|peer| {
                peer.connections.values().any(|connection| !connection.relayed && now.since(connection.since) >= SETTLE)
            })
            .flat_map(|peer| peer.connections.iter().filter(|(_, connection)| connection.relayed).map(|(id, _)| *id))
            .collect();
        for connection in spare {
            self.swarm.close_connection(connection);
        }
    }

    pub(super) fn on_closed(&mut self, peer: PeerId, connection: ConnectionId) {
        self.counters.connections_closed.one();
        let Some(entry) = self.peers.get_mut(&peer) else { return };
        let closed = entry.connections.remove(&connection);
        if !entry.connections.is_empty() {
            let replaced = closed.is_some_and(|closed| {
                !closed.relayed && entry.connections.values().all(|younger| closed.since < younger.since)
            });
            if replaced {
                self.meet_anew(peer);
            } else {
                self.show(peer);
            }
            return;
        }
        let reported = self.peers.remove(&peer).is_some_and(|entry| entry.agent.is_some());
        let now = self.now();
        self.targets.disconnected(peer, now, rand::random);
        if reported {
            self.view.send_modify(|view| drop(view.peers.remove(&peer)));
            self.outbox.disconnected(peer);
        }
    }

    /// Closes what is left of a peer whose older direct connection ended. It was most likely started again after a
    /// crash, and came back while its last connection still looked alive. Gossip introduces itself only on the first
    /// connection to a peer, so it would not know what we subscribe to, and would stay mute towards us.
    fn meet_anew(&mut self, peer: PeerId) {
        tracing::debug!(%peer, "its older connection ended: both meet anew");
        // An error means that it has gone in the meantime.
        let _ = self.swarm.disconnect_peer_id(peer);
    }

    pub(super) fn on_identify(&mut self, event: identify::Event) {
        let identify::Event::Received { peer_id: peer, info, connection_id } = event else { return };
        if info.protocol_version != self.version {
            self.counters.peers_other_network.one();
            let version = printable(&info.protocol_version);
            tracing::debug!(%peer, version, "a peer of another network");
            self.ban(peer, RefusalReason::OtherNetwork { version });
            return;
        }
        let now = self.now();
        self.targets.identified(peer, now);
        self.learn_identified(peer, connection_id, &info);
        let Some(entry) = self.peers.get_mut(&peer) else { return };
        if entry.agent.replace(printable(&info.agent_version)).is_none()
            && let Some(best) = entry.best()
        {
            let (address, relayed) = (best.address.clone(), best.relayed);
            tracing::info!(%peer, %address, relayed, "peer connected");
            self.outbox.connected(peer, address, relayed);
        }
        self.show(peer);
    }

    /// Brings the view of a reported peer up to date.
    fn show(&self, peer: PeerId) {
        let Some(entry) = self.peers.get(&peer) else { return };
        let (Some(agent), Some(best)) = (&entry.agent, entry.best()) else { return };
        let shown = ConnectedPeer { address: best.address.clone(), relayed: best.relayed, agent: agent.clone() };
        self.view.send_if_modified(|view| view.peers.insert(peer, shown.clone()).as_ref() != Some(&shown));
    }

    pub(super) fn on_ping(&mut self, event: ping::Event) {
        let known = self.peers.get(&event.peer).is_some_and(|peer| peer.agent.is_some());
        match event.result {
            Ok(rtt) if known => {
                if !self.outbox.offer(Event::Ping { peer: event.peer, rtt }) {
                    self.counters.events_dropped.one();
                }
            }
            Ok(_) => {}
            // TCP alone would take a quarter of an hour to notice that the other machine lost its power.
            Err(error) => {
                tracing::debug!(peer = %event.peer, %error, "no answer to a ping");
                self.swarm.close_connection(event.connection);
            }
        }
    }

    /// Refuses a peer for a while and cuts it off.
    pub(super) fn ban(&mut self, peer: PeerId, reason: RefusalReason) {
        if self.bans.len() >= BANS_MAX
            && let Some(next) = self.bans.iter().min_by_key(|(_, until)| **until).map(|(peer, _)| *peer)
        {
            self.lift(next);
        }
        self.bans.insert(peer, self.now() + self.limits.ban);
        self.swarm.behaviour_mut().gate.blocked.block_peer(peer);
        self.outbox.notice(Event::PeerRefused { peer, reason });
    }

    pub(super) fn lift_bans(&mut self, now: Timestamp) {
        let over: Vec<PeerId> = self.bans.iter().filter(|(_, until)| **until <= now).map(|(peer, _)| *peer).collect();
        for peer in over {
            self.lift(peer);
        }
    }

    fn lift(&mut self, peer: PeerId) {
        self.bans.remove(&peer);
        if !self.blocked.contains(&peer) {
            self.swarm.behaviour_mut().gate.blocked.unblock_peer(peer);
        }
    }

    pub(super) fn penalise(&mut self, peer: PeerId, weight: u32) {
        if self.penalties.len() >= BANS_MAX && !self.penalties.contains_key(&peer) {
            // The lightest is the first that would be forgiven.
            if let Some(lightest) = self.penalties.iter().min_by_key(|(_, weight)| **weight).map(|(peer, _)| *peer) {
                self.penalties.remove(&lightest);
            }
        }
        let penalty = self.penalties.entry(peer).or_default();
        *penalty = penalty.saturating_add(weight).min(PENALTY_MAX);
        let score = -f64::from(*penalty);
        self.swarm.behaviour_mut().talk.gossip.set_application_score(&peer, score);
        self.cut_off_if_misbehaving(peer);
    }

    pub(super) fn forgive(&mut self) {
        let gossip = &mut self.swarm.behaviour_mut().talk.gossip;
        self.penalties.retain(|peer, weight| {
            *weight /= 2;
            gossip.set_application_score(peer, -f64::from(*weight));
            *weight > 0
        });
    }

    pub(super) fn cut_off_misbehaving(&mut self) {
        let peers: Vec<PeerId> = self.peers.keys().copied().collect();
        for peer in peers {
            self.cut_off_if_misbehaving(peer);
        }
    }

    pub(super) fn cut_off_if_misbehaving(&mut self, peer: PeerId) {
        let low =
            self.swarm.behaviour().talk.gossip.peer_score(&peer).is_some_and(|score| score < gossip::GRAYLIST_SCORE);
        if low && !self.bans.contains_key(&peer) {
            tracing::warn!(%peer, "peer cut off: it sent too much that is invalid");
            self.counters.peers_score_too_low.one();
            self.ban(peer, RefusalReason::Score);
        }
    }

    pub(super) fn cut_off_silent(&mut self, now: Timestamp) {
        let silent: Vec<PeerId> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.agent.is_none() && now.since(peer.since) >= IDENTIFY_TIMEOUT)
            .map(|(peer, _)| *peer)
            .collect();
        for peer in silent {
            self.counters.peers_silent.one();
            // An error means that it has gone in the meantime.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
    }

    /// Closes the least useful connections when there are too many, so that newcomers find a place: not those that the
    /// operator or the node want, not those that carry gossip, not the youngest.
    pub(super) fn make_room(&mut self, now: Timestamp) {
        if self.reported() <= self.limits.peers_high {
            return;
        }
        let mesh: std::collections::HashSet<PeerId> =
            self.swarm.behaviour().talk.gossip.all_mesh_peers().copied().collect();
        let excess = self.reported() - self.limits.peers_wanted;
        // Hash order is random per process, so nobody can aim at a connection.
        let spare: Vec<PeerId> = self
            .peers
            .iter()
            .filter(|(id, peer)| {
                now.since(peer.since) >= self.limits.grace
                    && !mesh.contains(id)
                    && !self.kept.contains(id)
                    && !self.targets.is_persistent(id)
                    && !self.relays.contains(id)
            })
            .map(|(id, _)| *id)
            .take(excess)
            .collect();
        for peer in spare {
            self.counters.peers_trimmed.one();
            // An error means that it has gone in the meantime.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
    }

    fn count_connection(&self, endpoint: &ConnectedPoint) {
        let counters = &self.counters;
        let quic = address::is_quic(endpoint.get_remote_address());
        let counter = match (endpoint.is_dialer(), endpoint.is_relayed(), quic) {
            (true, true, _) => &counters.connections_outbound_relayed,
            (true, false, true) => &counters.connections_outbound_quic,
            (true, false, false) => &counters.connections_outbound_tcp,
            (false, true, _) => &counters.connections_inbound_relayed,
            (false, false, true) => &counters.connections_inbound_quic,
            (false, false, false) => &counters.connections_inbound_tcp,
        };
        counter.one();
    }
}

/// What a peer says of itself, fit for a log and a terminal.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(TEXT_CHARS_MAX).collect()
}
