//! Finding out where we are reachable: AutoNAT v2, fed with sane candidates only.
//!
//! Every peer tells us the address it saw us at, and AutoNAT's client keeps each one it hears of. A peer could make it
//! remember without end, or test addresses of the house. So only admissible addresses reach it, a bounded number.

use std::collections::HashSet;
use std::task::{Context, Poll};

use libp2p::autonat::v2::client;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};

use super::address::{self, Scope};

/// Candidates that are ever tested. Somebody who moves more often than this is tested again after a restart.
const CANDIDATES_MAX: usize = 128;

pub(super) struct Behaviour {
    client: client::Behaviour,
    scope: Scope,
    candidates: HashSet<Multiaddr>,
}

impl Behaviour {
    pub(super) fn new(scope: Scope) -> Self {
        Self { client: client::Behaviour::default(), scope, candidates: HashSet::new() }
    }

    fn admits(&mut self, candidate: &Multiaddr) -> bool {
        if self.candidates.contains(candidate) {
            return true;
        }
        let sane = self.scope.admits(candidate) && !address::is_relayed(candidate) && address::ip(candidate).is_some();
        sane && self.candidates.len() < CANDIDATES_MAX && self.candidates.insert(candidate.clone())
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = <client::Behaviour as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = <client::Behaviour as NetworkBehaviour>::ToSwarm;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.client.handle_established_inbound_connection(connection, peer, local, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.client.handle_established_outbound_connection(connection, peer, address, role, port)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if let FromSwarm::NewExternalAddrCandidate(candidate) = &event
            && !self.admits(candidate.addr)
        {
            return;
        }
        self.client.on_swarm_event(event);
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, event: THandlerOutEvent<Self>) {
        self.client.on_connection_handler_event(peer, connection, event);
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.client.poll(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bounded_number_of_admissible_addresses_is_tested() {
        let mut reachability = Behaviour::new(Scope::Public);
        let mut admits = |text: &str| reachability.admits(&text.parse().expect("a multiaddress"));
        assert!(!admits("/ip4/192.168.1.5/tcp/2584"));
        assert!(!admits("/dns4/example.com/tcp/2584"));
        for port in 1..=CANDIDATES_MAX {
            assert!(admits(&format!("/ip4/198.51.100.7/tcp/{port}")));
        }
        assert!(!admits("/ip4/198.51.100.7/tcp/60000"));
        assert!(admits("/ip4/198.51.100.7/tcp/1"), "one that is known may be seen again");
    }
}
