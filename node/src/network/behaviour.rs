//! The protocols of a node, put together.

use std::num::NonZeroUsize;
use std::time::Duration;

use libp2p::identity::Keypair;
use libp2p::kad::{self, store::MemoryStore};
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{
    StreamProtocol, allow_block_list, autonat, connection_limits, dcutr, identify, mdns, memory_connection_limits,
    ping, relay, upnp,
};

use super::config::{Config, RelayLimits};
use super::requests::{self, Protocol};
use super::streamless::Streamless;
use super::{admission, gossip, reachability, walks};

/// The order matters where connections are decided: whoever refuses comes first.
///
/// Each protocol's part of a connection is wrapped around the next one's, and the compiler's work grows with the square
/// of that depth. Groups of a few keep it shallow.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    pub(super) gate: Streamless<Gate>,
    pub(super) discovery: Discovery,
    pub(super) talk: Talk,
    reach: Reach,
}

/// Who may connect at all, and what is found without a connection.
#[derive(NetworkBehaviour)]
pub(super) struct Gate {
    pub(super) blocked: allow_block_list::Behaviour<allow_block_list::BlockedPeers>,
    pub(super) allowed: Toggle<allow_block_list::Behaviour<allow_block_list::AllowedPeers>>,
    pub(super) limits: connection_limits::Behaviour,
    memory: Toggle<memory_connection_limits::Behaviour>,
    admission: admission::Behaviour,
    mdns: Toggle<mdns::tokio::Behaviour>,
    upnp: Toggle<upnp::tokio::Behaviour>,
}

/// Who is there, and how far away.
#[derive(NetworkBehaviour)]
pub(super) struct Discovery {
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    pub(super) kademlia: walks::Behaviour,
}

/// What peers say to each other.
#[derive(NetworkBehaviour)]
pub(super) struct Talk {
    pub(super) gossip: gossip::Behaviour,
    registry: requests::Behaviour,
    record: requests::Behaviour,
    pub(super) streams: libp2p_stream::Behaviour,
}

/// How nodes behind routers are reached.
#[derive(NetworkBehaviour)]
pub(super) struct Reach {
    reachability: reachability::Behaviour,
    autonat_server: autonat::v2::server::Behaviour,
    relay_server: Toggle<relay::Behaviour>,
    relay_client: relay::client::Behaviour,
    dcutr: dcutr::Behaviour,
}

/// A peer's version string: networks whose strings differ do not talk.
pub(super) fn version(config: &Config) -> String {
    format!("/angel/{}/1", config.network)
}

/// Peers that a walk looks for. Each is dialed, and nothing is stored that would want more copies.
const WALK_RESULTS: NonZeroUsize = NonZeroUsize::new(8).expect("eight is not zero");

/// A walk that has not ended by then has met too many dead nodes.
const WALK_TIMEOUT: Duration = Duration::from_secs(20);

impl Behaviour {
    pub(super) fn new(config: &Config, keys: &Keypair, relay_client: relay::client::Behaviour) -> Result<Self, String> {
        let local = keys.public().to_peer_id();
        let limits = &config.limits;

        let mut blocked = allow_block_list::Behaviour::<allow_block_list::BlockedPeers>::default();
        for peer in &config.block {
            blocked.block_peer(*peer);
        }
        let allowed = (!config.allow.is_empty()).then(|| {
            let mut allowed = allow_block_list::Behaviour::<allow_block_list::AllowedPeers>::default();
            for peer in &config.allow {
                allowed.allow_peer(*peer);
            }
            allowed
        });
        let connections = connection_limits::ConnectionLimits::default()
            .with_max_established(Some(limits.connections_max))
            .with_max_established_incoming(Some(limits.inbound_max))
            .with_max_established_outgoing(Some(limits.outbound_max))
            .with_max_established_per_peer(Some(limits.per_peer_max))
            .with_max_pending_incoming(Some(limits.pending_inbound_max))
            .with_max_pending_outgoing(Some(limits.pending_outbound_max));
        let identify = identify::Config::new(version(config), keys.public())
            .with_agent_version(config.agent.clone())
            .with_push_listen_addr_updates(true)
            // Only addresses known to be reachable are told; which those are is the scope's matter.
            .with_hide_listen_addrs(true);
        let mdns = if config.mdns {
            mdns::tokio::Behaviour::new(mdns::Config::default(), local)
                .inspect_err(
                    |error| tracing::warn!(%error, "no multicast here: peers on the local network are not found"),
                )
                .ok()
        } else {
            None
        };

        Ok(Self {
            gate: Streamless(Gate {
                blocked,
                allowed: allowed.into(),
                limits: connection_limits::Behaviour::new(connections),
                memory: limits.memory_max.map(memory_connection_limits::Behaviour::with_max_bytes).into(),
                admission: admission::Behaviour::new(limits, config.scope),
                mdns: mdns.into(),
                upnp: config.upnp.then(upnp::tokio::Behaviour::default).into(),
            }),
            discovery: Discovery {
                identify: identify::Behaviour::new(identify),
                ping: ping::Behaviour::new(ping::Config::new()),
                kademlia: walks::Behaviour::new(kademlia(config, local)),
            },
            talk: Talk {
                gossip: gossip::build(&config.network, keys, &config.topics)?,
                registry: requests::build(Protocol::Registry, &config.network),
                record: requests::build(Protocol::Record, &config.network),
                streams: libp2p_stream::Behaviour::new(),
            },
            reach: Reach {
                reachability: reachability::Behaviour::new(config.scope),
                autonat_server: autonat::v2::server::Behaviour::default(),
                relay_server: config
                    .relay_server
                    .map(|limits| relay::Behaviour::new(local, relay_config(limits)))
                    .into(),
                relay_client,
                dcutr: dcutr::Behaviour::new(local),
            },
        })
    }

    /// The behaviour that speaks `protocol`.
    pub(super) fn exchange(&mut self, protocol: Protocol) -> &mut requests::Behaviour {
        match protocol {
            Protocol::Registry => &mut self.talk.registry,
            Protocol::Record => &mut self.talk.record,
        }
    }
}

/// Kademlia finds peers and stores nothing: records that others put are dropped.
fn kademlia(config: &Config, local: libp2p::PeerId) -> kad::Behaviour<MemoryStore> {
    let name = StreamProtocol::try_from_owned(format!("/angel/{}/kad/1", config.network))
        .expect("the name starts with a slash");
    let mut kademlia = kad::Config::new(name);
    kademlia
        .set_query_timeout(WALK_TIMEOUT)
        .set_replication_factor(WALK_RESULTS)
        .set_record_filtering(kad::StoreInserts::FilterBoth)
        .set_replication_interval(None)
        .set_publication_interval(None)
        .set_provider_publication_interval(None);
    kad::Behaviour::with_config(local, MemoryStore::new(local), kademlia)
}

fn relay_config(limits: RelayLimits) -> relay::Config {
    relay::Config {
        max_reservations: limits.reservations_max,
        max_circuits: limits.circuits_max,
        max_circuits_per_peer: limits.circuits_per_peer_max,
        max_circuit_duration: limits.circuit_duration_max,
        max_circuit_bytes: limits.circuit_bytes_max,
        ..relay::Config::default()
    }
}
