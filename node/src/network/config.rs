//! What the operator decides about the network, and the bounds that depend on the machine.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use angel_protocol::backoff;
use angel_protocol::ids::NetworkId;
use libp2p::{Multiaddr, PeerId};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::address::Scope;
use super::event::Gossip;

/// Everything [`super::start`] needs. [`Config::new`] gives the defaults of a public network.
#[derive(Clone)]
pub struct Config {
    /// The network this node belongs to. It is part of every protocol name and topic, so networks do not mix.
    pub network: NetworkId,
    /// The 32 secret bytes of the node's Ed25519 key; the peer id is its public half.
    pub key_seed: Zeroizing<[u8; 32]>,
    /// Name and version of this software, told to peers.
    pub agent: String,
    /// Addresses to listen on. Port 0 takes a free one.
    pub listen: Vec<Multiaddr>,
    /// Addresses under which this node is known to be reachable, for example a forwarded port. They are believed.
    pub external: Vec<Multiaddr>,
    /// Where to find the network at first: dialed while this node has fewer than [`Limits::peers_min`] peers. An address
    /// without `/p2p/…` accepts whoever answers there. Here and in the next lists, a plain IP address may be a private
    /// one whatever the scope; a name must resolve to what the scope admits.
    pub bootstrap: Vec<Multiaddr>,
    /// Peers to stay connected to. Each address ends in `/p2p/PEER_ID`; several may name one peer.
    pub persistent: Vec<Multiaddr>,
    /// The gossip topics of this network.
    pub topics: Vec<Topic>,
    /// Which addresses are reachable on this network.
    pub scope: Scope,
    /// Find peers on the local network by multicast.
    pub mdns: bool,
    /// Ask the home router to forward our ports.
    pub upnp: bool,
    /// Relay for nodes that cannot be reached. The relay itself needs an external address.
    pub relay_server: Option<RelayLimits>,
    /// Relays to hold a reservation at, ending in `/p2p/PEER_ID`.
    pub relays: Vec<Multiaddr>,
    /// While this node is not reachable directly, hold reservations at up to this many relays found among its peers.
    pub relays_learned_max: usize,
    /// When not empty: nobody else may connect.
    pub allow: BTreeSet<PeerId>,
    /// Peers that may not connect.
    pub block: BTreeSet<PeerId>,
    /// Bounds.
    pub limits: Limits,
    /// How often lost bootstrap nodes, persistent peers and relays are tried again.
    pub backoff: backoff::Policy,
}

/// A gossip topic.
#[derive(Clone, Debug)]
pub struct Topic {
    /// The full name, for example `angel/home-dev/heartbeat/1`.
    pub name: String,
    /// Largest message, in bytes. Larger ones are refused, here and from peers.
    pub bytes_max: usize,
    /// Messages per second that one peer may hand us, where [`Limits::gossip_per_second`] does not fit.
    pub per_second: Option<u32>,
    /// Who reads this topic's messages, where it is not the reader of events. Messages are dropped while it lags.
    pub reader: Option<mpsc::Sender<Gossip>>,
}

impl Topic {
    /// A topic that is read with the other events, within the common rate.
    #[must_use]
    pub const fn new(name: String, bytes_max: usize) -> Self {
        Self { name, bytes_max, per_second: None, reader: None }
    }
}

/// Bounds of the network on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections in all (network specification, section 9: 128). Persistent and protected peers and relays are never
    /// refused for their number, though they count.
    pub connections_max: u32,
    /// Connections that others opened: fewer than all, so that there is always room to dial out.
    pub inbound_max: u32,
    /// Connections that we opened.
    pub outbound_max: u32,
    /// Connections per peer: two at once when both dial, one relayed while a direct one is made, one spare.
    pub per_peer_max: u32,
    /// Handshakes that others began and that are not finished.
    pub pending_inbound_max: u32,
    /// Dials under way.
    pub pending_outbound_max: u32,
    /// Connections from one IP address, or one IPv6 /64.
    pub per_ip_max: usize,
    /// New connections per minute from one IP address, or one IPv6 /64.
    pub per_ip_minute_max: u32,
    /// No new connection while this process uses more memory than this, in bytes.
    pub memory_max: Option<usize>,
    /// Streams that a peer may have open per connection.
    pub streams_max: usize,
    /// A connection that nothing uses is closed after this.
    pub idle_timeout: Duration,
    /// Below this many peers the bootstrap nodes are dialed.
    pub peers_min: usize,
    /// Peers to look for actively.
    pub peers_wanted: usize,
    /// Above this many peers the least useful connections are closed, down to [`Self::peers_wanted`], so that a full node
    /// still has room for newcomers.
    pub peers_high: usize,
    /// A younger connection is not closed to make room.
    pub grace: Duration,
    /// How long a peer that misbehaved, or belongs to another network, is refused.
    pub ban: Duration,
    /// Gossip messages per second that one peer may hand us.
    pub gossip_per_second: u32,
    /// Requests per second that one peer may make.
    pub requests_per_second: u32,
    /// Requests of all peers that may wait for an answer of ours.
    pub requests_inbound_max: usize,
    /// Requests of one peer that may wait for an answer of ours.
    pub requests_per_peer_max: usize,
    /// Requests of ours that may wait for an answer.
    pub requests_outbound_max: usize,
    /// Events that may wait for their reader.
    pub events_max: usize,
    /// Commands that may wait for the network task.
    pub commands_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 128,
            inbound_max: 96,
            outbound_max: 64,
            per_peer_max: 4,
            pending_inbound_max: 64,
            pending_outbound_max: 32,
            per_ip_max: 16,
            per_ip_minute_max: 60,
            memory_max: None,
            streams_max: 256,
            idle_timeout: Duration::from_mins(10),
            peers_min: 8,
            peers_wanted: 16,
            peers_high: 80,
            grace: Duration::from_secs(30),
            ban: Duration::from_mins(10),
            gossip_per_second: 200,
            requests_per_second: 20,
            requests_inbound_max: 256,
            requests_per_peer_max: 16,
            requests_outbound_max: 256,
            events_max: 1024,
            commands_max: 256,
        }
    }
}

/// What a relay gives away. The defaults are for signalling: enough to punch a hole or to gossip, not to replicate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayLimits {
    /// Nodes that may be reached through this one.
    pub reservations_max: usize,
    /// Relayed connections at a time.
    pub circuits_max: usize,
    /// Relayed connections at a time, per peer.
    pub circuits_per_peer_max: usize,
    /// How long a relayed connection lives.
    pub circuit_duration_max: Duration,
    /// Bytes that a relayed connection carries in each direction.
    pub circuit_bytes_max: u64,
}

impl Default for RelayLimits {
    fn default() -> Self {
        Self {
            reservations_max: 64,
            circuits_max: 64,
            circuits_per_peer_max: 8,
            circuit_duration_max: Duration::from_mins(10),
            circuit_bytes_max: 4 << 20,
        }
    }
}

impl Config {
    /// A node of `network` that listens nowhere, knows nobody and has the default bounds.
    #[must_use]
    pub fn new(network: NetworkId, key_seed: Zeroizing<[u8; 32]>) -> Self {
        Self {
            network,
            key_seed,
            agent: concat!("angel/", env!("CARGO_PKG_VERSION")).to_owned(),
            listen: Vec::new(),
            external: Vec::new(),
            bootstrap: Vec::new(),
            persistent: Vec::new(),
            topics: Vec::new(),
            scope: Scope::Public,
            mdns: false,
            upnp: false,
            relay_server: None,
            relays: Vec::new(),
            relays_learned_max: 2,
            allow: BTreeSet::new(),
            block: BTreeSet::new(),
            limits: Limits::default(),
            backoff: backoff::Policy::default(),
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The key stays out.
        f.debug_struct("Config")
            .field("network", &self.network)
            .field("listen", &self.listen)
            .field("external", &self.external)
            .field("bootstrap", &self.bootstrap)
            .field("persistent", &self.persistent)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}
