//! Kademlia that dials strangers only while somebody in particular is looked for.
//!
//! A walk asks whoever is nearest to its aim, and dials whom it is not connected to. On a network of some dozens of
//! nodes the walks of all of them would connect everybody to everybody, which costs each node its handshakes at once and
//! gossip for good. So a walk asks only connected peers; to it the others are out of reach.
//!
//! Kademlia keeps to itself where a peer is that it was told of, unless it gets to speak with it. Here whoever listens
//! hears of everybody a walk meets, and dials as many as it wants.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::kad::{self, store::MemoryStore};
use libp2p::swarm::behaviour::DialFailure;
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, DialError, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};

type Kademlia = kad::Behaviour<MemoryStore>;

pub(super) struct Behaviour {
    kademlia: Kademlia,
    may_dial: bool,
    met: VecDeque<Event>,
}

/// What a walk brings.
#[derive(Debug)]
pub(super) enum Event {
    /// What Kademlia says itself.
    Kademlia(Box<kad::Event>),
    /// Others say that a peer is there, or it was there once.
    Met { peer: PeerId, addresses: Vec<Multiaddr> },
}

/// What a walk is told instead of a connection.
#[derive(Debug, thiserror::Error)]
#[error("walks ask connected peers only")]
struct NotConnected;

impl Behaviour {
    pub(super) const fn new(kademlia: Kademlia) -> Self {
        Self { kademlia, may_dial: false, met: VecDeque::new() }
    }

    /// Whether walks may dial.
    pub(super) const fn let_dial(&mut self, may_dial: bool) {
        self.may_dial = may_dial;
    }

    /// Whom Kademlia wants to dial it has just met: where would it dial?
    fn met(&mut self, opts: &DialOpts) {
        let Some(peer) = opts.get_peer_id() else { return };
        let addresses =
            self.kademlia.handle_pending_outbound_connection(opts.connection_id(), Some(peer), &[], Endpoint::Dialer);
        if let Ok(addresses) = addresses
            && !addresses.is_empty()
        {
            self.met.push_back(Event::Met { peer, addresses });
        }
    }
}

impl Deref for Behaviour {
    type Target = Kademlia;

    fn deref(&self) -> &Kademlia {
        &self.kademlia
    }
}

impl DerefMut for Behaviour {
    fn deref_mut(&mut self) -> &mut Kademlia {
        &mut self.kademlia
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = <Kademlia as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = Event;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.kademlia.handle_pending_inbound_connection(connection, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.kademlia.handle_established_inbound_connection(connection, peer, local, remote)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.kademlia.handle_pending_outbound_connection(connection, peer, addresses, role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.kademlia.handle_established_outbound_connection(connection, peer, address, role, port)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.kademlia.on_swarm_event(event);
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, event: THandlerOutEvent<Self>) {
        self.kademlia.on_connection_handler_event(peer, connection, event);
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        loop {
            // One at a time: what was met before it is dialed is told before Kademlia goes on.
            if let Some(met) = self.met.pop_front() {
                return Poll::Ready(ToSwarm::GenerateEvent(met));
            }
            match self.kademlia.poll(context) {
                Poll::Ready(ToSwarm::Dial { opts }) => {
                    self.met(&opts);
                    if self.may_dial {
                        return Poll::Ready(ToSwarm::Dial { opts });
                    }
                    let error = DialError::Denied { cause: ConnectionDenied::new(NotConnected) };
                    self.kademlia.on_swarm_event(FromSwarm::DialFailure(DialFailure {
                        peer_id: opts.get_peer_id(),
                        error: &error,
                        connection_id: opts.connection_id(),
                    }));
                }
                other => return other.map(|event| event.map_out(|event| Event::Kademlia(Box::new(event)))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::task::noop_waker;

    use super::*;

    /// A node that has heard of one other, and walks.
    fn walking(may_dial: bool) -> (Behaviour, PeerId) {
        let (local, other) = (PeerId::random(), PeerId::random());
        let mut walks = Behaviour::new(Kademlia::new(local, MemoryStore::new(local)));
        walks.let_dial(may_dial);
        walks.add_address(&other, "/ip4/198.51.100.7/tcp/1".parse().expect("a multiaddress"));
        walks.get_closest_peers(PeerId::random());
        (walks, other)
    }

    fn next(walks: &mut Behaviour) -> Option<ToSwarm<Event, THandlerInEvent<Behaviour>>> {
        loop {
            match walks.poll(&mut Context::from_waker(&noop_waker())) {
                Poll::Ready(ToSwarm::GenerateEvent(Event::Kademlia(event)))
                    if matches!(*event, kad::Event::RoutingUpdated { .. }) => {}
                Poll::Ready(event) => return Some(event),
                Poll::Pending => return None,
            }
        }
    }

    fn expect_met(walks: &mut Behaviour, other: PeerId) {
        let Some(ToSwarm::GenerateEvent(Event::Met { peer, addresses })) = next(walks) else { panic!("whom it met") };
        assert_eq!((peer, addresses.len()), (other, 1));
    }

    #[test]
    fn a_walk_that_looks_for_somebody_dials_whom_it_meets() {
        let (mut walks, other) = walking(true);
        let Some(ToSwarm::Dial { opts }) = next(&mut walks) else { panic!("a dial") };
        assert_eq!(opts.get_peer_id(), Some(other));
        expect_met(&mut walks, other);
    }

    #[test]
    fn a_walk_without_dials_ends_like_one_among_the_unreachable() {
        let (mut walks, other) = walking(false);
        expect_met(&mut walks, other);
        let Some(ToSwarm::GenerateEvent(Event::Kademlia(event))) = next(&mut walks) else {
            panic!("the end of the walk");
        };
        let kad::Event::OutboundQueryProgressed { result, step, .. } = *event else { panic!("the end of the walk") };
        assert!(step.last);
        assert!(matches!(result, kad::QueryResult::GetClosestPeers(Ok(found)) if found.peers.is_empty()));
        assert!(next(&mut walks).is_none(), "and nothing goes on in secret");
    }
}
