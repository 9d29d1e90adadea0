//! Peers and bytes: the node's part in the peer-to-peer network.
//!
//! One task owns a libp2p swarm. The rest of the node speaks to it through a [`Handle`] and hears from it by [`Event`]s.
//! It finds peers, keeps connections, carries gossip, questions and streams, and bounds what any peer can cost. It knows nothing of
//! what the bytes mean: no storage, no ledger, no HTTP.
//!
//! # Map
//!
//! | module | what it holds |
//! |---|---|
//! | `config` | [`Config`], [`Limits`] |
//! | `handle` | [`Handle`]: what the node asks of the network |
//! | `event` | [`Event`]: what the network tells the node |
//! | `swarm` | the event loop |
//! | `behaviour`, `transport` | the protocols, and what carries them |
//! | `gossip` | mesh, message ids, scores |
//! | `requests` | questions and answers, their bounds |
//! | `dial`, `relays` | whom to dial, and reservations: when and how often |
//! | `seek` | getting a connection to one particular peer, wherever it is by now |
//! | `admission`, `address`, `reachability` | who may connect, which addresses count, where we are reachable |
//! | `outbox`, `stats`, `metrics` | events for a reader that lags; counters |

mod address;
mod admission;
mod behaviour;
mod config;
mod dial;
mod event;
mod gossip;
mod handle;
mod identity;
mod metrics;
mod outbox;
mod reachability;
mod relays;
mod requests;
mod seek;
mod stats;
mod streamless;
mod swarm;
mod transport;
mod walks;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::Arc;

use angel_protocol::time::Timestamp;
use futures::stream::FuturesUnordered;
use libp2p::core::transport::TransportError;
use libp2p::{Swarm, relay};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use address::{Scope, peer_of, with_real_port};
pub use config::{Config, Limits, RelayLimits, Topic};
pub use event::{Acceptance, Event, Gossip, Reachability, RefusalReason, Reply, Request};
pub use handle::{ConnectedPeer, Handle, PublishError, Published, Stopped, StreamError, Unreachable, View};
pub use identity::{did_of, peer_id, peer_id_of};
pub use libp2p::gossipsub::MessageId;
pub use libp2p::multiaddr::Protocol as AddressPart;
pub use libp2p::{Multiaddr, PeerId, Stream};
pub use libp2p_stream::IncomingStreams;
pub use metrics::NetworkCollector;
pub use requests::{Protocol, Refusal, RequestError};
pub use stats::Stats;

use address::TrustedHosts;
use admission::Rate;
use behaviour::Behaviour;
use dial::{Found, Targets};
use outbox::Outbox;
use relays::Relays;
use requests::Waiting;
use seek::Seeks;
use stats::Counters;

/// Peers that are kept whatever the number of connections ([`Handle::keep`]): half of what a node may have at all.
pub const KEPT_MAX: usize = 64;

/// The network task, started but not yet running.
#[must_use = "nothing happens until it runs"]
pub struct Task(Box<swarm::Network>);

impl Task {
    /// Runs until it is cancelled; then says goodbye to the peers, which takes two seconds at most.
    ///
    /// # Errors
    /// [`ReaderGone`] when nobody reads events any more.
    pub async fn run(self, cancel: CancellationToken) -> Result<(), ReaderGone> {
        Box::pin(self.0.run(cancel)).await
    }
}

/// The receiver of events was dropped: the node no longer hears its network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nobody reads the events of the network any more")]
pub struct ReaderGone;

/// Why the network did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Somebody else listens there.
    #[error("{address} is in use: stop the other process, or choose another address to listen on")]
    AddressInUse {
        /// Where we wanted to listen.
        address: Multiaddr,
    },
    /// No transport of ours fits.
    #[error("cannot listen on {address}: write it as /ip4/0.0.0.0/udp/2584/quic-v1 or /ip4/0.0.0.0/tcp/2584")]
    UnsupportedAddress {
        /// The address.
        address: Multiaddr,
    },
    /// The machine refused.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: Multiaddr,
        /// What the machine said.
        source: io::Error,
    },
    /// A persistent peer or relay without its peer id.
    #[error("{address} names no peer: end it with /p2p/PEER_ID")]
    NoPeerId {
        /// The address.
        address: Multiaddr,
    },
    /// The settings contradict each other.
    #[error("the network settings are not usable: {0}")]
    Settings(String),
}

/// Starts listening and answers the handle, the events and the task to spawn. Must be called inside a tokio runtime.
///
/// # Errors
/// [`StartError`], by what is wrong; then nothing is left behind.
pub fn start(config: Config) -> Result<(Handle, mpsc::Receiver<Event>, Task), StartError> {
    let keys = identity::keypair(&config.key_seed);
    let local = keys.public().to_peer_id();
    let persistent = with_peers(&config.persistent)?;
    let configured_relays = with_peers(&config.relays)?;
    let trusted = Arc::new(TrustedHosts::default());
    for address in config.bootstrap.iter().chain(&config.persistent).chain(&config.relays) {
        trusted.add_named(address);
    }

    let (circuits, relay_client) = relay::client::new(local);
    let transport = transport::build(&keys, &config.limits, config.scope, Arc::clone(&trusted), circuits)
        .map_err(|error| StartError::Settings(error.to_string()))?;
    let mut behaviour = Behaviour::new(&config, &keys, relay_client).map_err(StartError::Settings)?;
    for (peer, _) in persistent.iter().chain(&configured_relays) {
        behaviour.gate.limits.bypass_peer_id(peer);
    }
    let swarm_config = libp2p::swarm::Config::with_tokio_executor()
        .with_idle_connection_timeout(config.limits.idle_timeout)
        .with_max_negotiating_inbound_streams(config.limits.streams_max)
        // QUIC before TCP, IPv6 before IPv4, relays last, each with a head start.
        .with_smart_dial();
    let mut swarm = Swarm::new(transport, behaviour, local, swarm_config);
    for address in &config.listen {
        if transport::is_tcp_port_taken(address) {
            return Err(StartError::AddressInUse { address: address.clone() });
        }
        swarm.listen_on(address.clone()).map_err(|error| listen_error(address, error))?;
    }

    let streams = swarm.behaviour().talk.streams.new_control();
    let (commands_in, commands) = mpsc::channel(config.limits.commands_max);
    let (outbox, events) = Outbox::new(config.limits.events_max);
    let (view, view_out) = watch::channel(View::default());
    let counters = Arc::new(Counters::default());
    let handle = Handle {
        local,
        network: config.network.clone(),
        commands: commands_in,
        view: view_out,
        counters: Arc::clone(&counters),
        streams,
    };
    let mut network = Box::new(swarm::Network {
        version: behaviour::version(&config),
        scope: config.scope,
        trusted,
        limits: config.limits,
        topics: gossip::bounds(&config.topics),
        commands,
        outbox,
        view,
        counters,
        targets: Targets::new(local, &persistent, &config.bootstrap, config.backoff),
        found: Found::new(config.backoff),
        relays: Relays::new(&configured_relays, config.relays_learned_max, config.backoff),
        peers: HashMap::new(),
        seeks: Seeks::new(),
        kept: BTreeSet::new(),
        bans: BTreeMap::new(),
        blocked: config.block.clone(),
        penalties: HashMap::new(),
        gossip_rates: gossip::rates(&config.topics, &config.limits),
        request_rate: Rate::per_second(config.limits.requests_per_second),
        waiting: Waiting::default(),
        answers: FuturesUnordered::new(),
        started: Instant::now(),
        next_walk: Timestamp::EPOCH,
        next_forgiving: Timestamp::EPOCH,
        next_dial_back: Timestamp::EPOCH,
        swarm,
    });
    for address in &config.external {
        network.add_external(address.clone());
    }
    Ok((handle, events, Task(network)))
}

/// Splits addresses that must name their peer.
fn with_peers(addresses: &[Multiaddr]) -> Result<Vec<(PeerId, Multiaddr)>, StartError> {
    addresses
        .iter()
        .map(|address| match address::split_peer(address) {
            (rest, Some(peer)) => Ok((peer, rest)),
            (address, None) => Err(StartError::NoPeerId { address }),
        })
        .collect()
}

fn listen_error(address: &Multiaddr, error: TransportError<io::Error>) -> StartError {
    let address = address.clone();
    if transport::is_address_in_use(&error) {
        return StartError::AddressInUse { address };
    }
    match error {
        TransportError::MultiaddrNotSupported(_) => StartError::UnsupportedAddress { address },
        TransportError::Other(source) => StartError::Listen { address, source },
    }
}
