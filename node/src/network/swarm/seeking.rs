//! Getting a connection to one particular peer, for those who wait for it and for those that are always wanted.

use std::collections::BTreeSet;

use super::super::KEPT_MAX;
use super::super::seek::Busy;
use super::*;

impl Network {
    /// Serves whoever waits at once when the peer is connected, and otherwise seeks it.
    pub(super) fn seek(&mut self, peer: PeerId, waiter: Option<Waiter>) {
        if self.swarm.is_connected(&peer) {
            self.serve(peer, waiter);
            return;
        }
        let refused =
            peer == *self.swarm.local_peer_id() || self.blocked.contains(&peer) || self.bans.contains_key(&peer);
        if refused {
            fail(waiter, Unreachable::Refused);
            return;
        }
        let now = self.now();
        match self.seeks.begin(peer, waiter, now) {
            Ok(true) => {
                self.dial_sought(peer);
                self.dial_where_kademlia_has_it(peer);
                self.seeks.dialed(&peer, now);
                self.look_around(now);
            }
            Ok(false) => {}
            Err(Busy(waiter)) => fail(waiter, Unreachable::Busy),
        }
    }

    /// Dials a peer that is sought wherever it may be and has not been dialed for this.
    pub(super) fn dial_sought(&mut self, peer: PeerId) {
        if !self.seeks.is_sought(&peer) {
            return;
        }
        let addresses = self.seeks.untried(&peer, self.found.addresses(&peer));
        if !addresses.is_empty() {
            // Beside a dial that is under way: that one may be to where the peer was before.
            self.dial_for_seek(
                DialOpts::peer_id(peer).condition(PeerCondition::Disconnected).addresses(addresses).build(),
            );
        }
    }

    fn dial_where_kademlia_has_it(&mut self, peer: PeerId) {
        let kademlia = &mut self.swarm.behaviour_mut().discovery.kademlia;
        let known = kademlia.kbucket(peer).and_then(|bucket| {
            let entry = bucket.iter().find(|entry| *entry.node.key.preimage() == peer)?;
            Some(entry.node.value.iter().cloned().collect::<Vec<_>>())
        });
        let addresses = self.admissible(peer, known.unwrap_or_default());
        let addresses = self.seeks.untried(&peer, addresses);
        if !addresses.is_empty() {
            self.dial_for_seek(
                DialOpts::peer_id(peer).condition(PeerCondition::Disconnected).addresses(addresses).build(),
            );
        }
    }

    fn dial_for_seek(&mut self, dial: DialOpts) {
        let (connection, peer) = (dial.connection_id(), dial.get_peer_id());
        if let Some(peer) = peer {
            self.seeks.dialing(&peer, connection);
        }
        if let Err(error) = self.swarm.dial(dial) {
            self.on_dial_failed(connection, peer, &error);
        }
    }

    /// Asks the network for those that are not where they were, and tells those who have waited in vain.
    pub(super) fn look_around(&mut self, now: Timestamp) {
        for peer in self.seeks.lookups_due(now) {
            let query = self.swarm.behaviour_mut().discovery.kademlia.get_closest_peers(peer);
            self.seeks.looking(&peer, query);
            self.counters.peers_looked_up.one();
        }
        self.restrain_walks();
        for (peer, waiters) in self.seeks.given_up(now, rand::random) {
            tracing::debug!(%peer, "the peer is not reached");
            for waiter in waiters {
                fail(Some(waiter), Unreachable::NotFound);
            }
        }
    }

    /// A peer is connected that may have been sought.
    pub(super) fn sought_connected(&mut self, peer: PeerId) {
        for waiter in self.seeks.connected(&peer) {
            self.serve(peer, Some(waiter));
        }
    }

    fn serve(&mut self, peer: PeerId, waiter: Option<Waiter>) {
        match waiter {
            // Whoever gave up waiting misses it.
            Some(Waiter::Connection(done)) => drop(done.send(Ok(()))),
            Some(Waiter::Request { protocol, bytes, answer }) => self.send_request(peer, protocol, bytes, answer),
            None => {}
        }
    }

    /// The peers to stay connected to from now on.
    pub(super) fn keep(&mut self, peers: BTreeSet<PeerId>) {
        let local = *self.swarm.local_peer_id();
        let peers: BTreeSet<PeerId> = peers.into_iter().filter(|peer| *peer != local).take(KEPT_MAX).collect();
        let limits = &mut self.swarm.behaviour_mut().gate.limits;
        for peer in &peers {
            limits.bypass_peer_id(peer);
        }
        for peer in self.kept.iter().filter(|peer| !peers.contains(peer)) {
            if !self.targets.is_persistent(peer) && !self.relays.contains(peer) {
                limits.remove_peer_id(peer);
            }
        }
        self.kept = peers;
        self.seek_kept(self.now());
    }

    pub(super) fn seek_kept(&mut self, now: Timestamp) {
        let missing = self.kept.iter().filter(|peer| !self.peers.contains_key(peer) && self.seeks.may_begin(peer, now));
        for peer in missing.copied().collect::<Vec<_>>() {
            self.seek(peer, None);
        }
    }
}

fn fail(waiter: Option<Waiter>, why: Unreachable) {
    match waiter {
        Some(Waiter::Connection(done)) => drop(done.send(Err(why))),
        Some(Waiter::Request { answer, .. }) => drop(answer.send(Err(match why {
            Unreachable::Stopped => RequestError::Stopped,
            _ => RequestError::Unreachable,
        }))),
        None => {}
    }
}
