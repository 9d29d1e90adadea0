//! The network task: one loop that owns the swarm, obeys the handle and tells the node what happened.
//!
//! It waits for nobody but the network: events that do not fit are dropped or kept by [`super::outbox`], and answers to
//! peers are awaited beside the loop.
//!
//! | part | what it does |
//! |---|---|
//! | `peers` | connections, identification, bans, making room |
//! | `discovery` | whom to dial, Kademlia, multicast |
//! | `seeking` | getting a connection to one particular peer |
//! | `addresses` | where we listen and are reachable, relays, hole punching |
//! | `messages` | gossip, requests and answers |

mod addresses;
mod discovery;
mod messages;
mod peers;
mod seeking;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use angel_protocol::time::Timestamp;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use libp2p::core::ConnectedPoint;
use libp2p::core::transport::ListenerId;
use libp2p::gossipsub::{IdentTopic, TopicHash};
use libp2p::request_response::ResponseChannel;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError, ListenError, SwarmEvent};
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, dcutr, gossipsub, identify, kad, mdns, ping, relay};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::ReaderGone;
use super::address::{self, Scope, TrustedHosts};
use super::admission::Rate;
use super::behaviour::{Behaviour, BehaviourEvent, DiscoveryEvent, GateEvent, ReachEvent, TalkEvent};
use super::config::{Limits, Topic};
use super::dial::{Found, Targets};
use super::event::{Event, Reachability, RefusalReason};
use super::gossip;
use super::handle::{Command, ConnectedPeer, PublishError, Published, Unreachable, View};
use super::outbox::Outbox;
use super::relays::Relays;
use super::requests::{Protocol, Refusal, RequestError, Waiting};
use super::seek::Seeks;
use super::stats::Counters;
use super::walks;

/// How often timed duties are looked at. The waits of the dialer are no finer than this.
const TICK: Duration = Duration::from_millis(250);

/// Dials to found peers that may be under way at once.
const FOUND_DIALS_MAX: usize = 8;

/// A peer that has not identified itself by then is disconnected.
const IDENTIFY_TIMEOUT: Duration = Duration::from_secs(15);

/// How often a random walk looks for more peers while there are too few.
const WALK_INTERVAL: Duration = Duration::from_secs(30);

/// How long a stop waits for connections to close in an orderly way.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Peers that are refused for a while. When there are more, the one whose time is nearest gives way.
const BANS_MAX: usize = 1024;

/// The ban or penalty of half a minute's misbehaviour is halved this often.
const FORGIVE_INTERVAL: Duration = Duration::from_mins(1);

type Answer = (PeerId, Protocol, ResponseChannel<Result<Vec<u8>, Refusal>>, Result<Vec<u8>, Refusal>);

/// What the loop owns.
pub(super) struct Network {
    pub(super) swarm: Swarm<Behaviour>,
    pub(super) version: String,
    pub(super) scope: Scope,
    pub(super) trusted: Arc<TrustedHosts>,
    pub(super) limits: Limits,
    pub(super) topics: BTreeMap<TopicHash, Topic>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) outbox: Outbox,
    pub(super) view: watch::Sender<View>,
    pub(super) counters: Arc<Counters>,
    pub(super) targets: Targets,
    pub(super) found: Found,
    pub(super) relays: Relays,
    pub(super) peers: HashMap<PeerId, Peer>,
    pub(super) seeks: Seeks<Waiter>,
    pub(super) kept: std::collections::BTreeSet<PeerId>,
    pub(super) bans: BTreeMap<PeerId, Timestamp>,
    pub(super) blocked: std::collections::BTreeSet<PeerId>,
    pub(super) penalties: HashMap<PeerId, u32>,
    pub(super) gossip_rates: BTreeMap<TopicHash, Rate<PeerId>>,
    pub(super) request_rate: Rate<PeerId>,
    pub(super) waiting: Waiting,
    pub(super) answers: FuturesUnordered<BoxFuture<'static, Answer>>,
    pub(super) started: Instant,
    pub(super) next_walk: Timestamp,
    pub(super) next_forgiving: Timestamp,
    pub(super) next_dial_back: Timestamp,
}

/// Who waits for a connection to a peer.
#[derive(Debug)]
pub(super) enum Waiter {
    Connection(oneshot::Sender<Result<(), Unreachable>>),
    Request { protocol: Protocol, bytes: Vec<u8>, answer: super::requests::Asker },
}

/// A peer with at least one connection.
#[derive(Debug)]
pub(super) struct Peer {
    since: Timestamp,
    next_direct: Timestamp,
    /// It has identified itself as one of this network, and was reported.
    agent: Option<String>,
    connections: HashMap<ConnectionId, Connection>,
}

#[derive(Debug)]
struct Connection {
    address: Multiaddr,
    relayed: bool,
    dialed: bool,
    since: Timestamp,
}

impl Peer {
    /// A direct connection if there is one.
    fn best(&self) -> Option<&Connection> {
        self.connections.values().min_by_key(|connection| connection.relayed)
    }
}

impl Network {
    /// Runs until `cancel` or until nobody reads events any more; then closes all connections.
    pub(super) async fn run(mut self: Box<Self>, cancel: CancellationToken) -> Result<(), ReaderGone> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let events = self.outbox.sender();
        let mut handles_left = true;
        let outcome = loop {
            tokio::select! {
                () = cancel.cancelled() => break Ok(()),
                () = events.closed() => break Err(ReaderGone),
                event = self.swarm.select_next_some() => self.on_event(event),
                command = self.commands.recv(), if handles_left => match command {
                    Some(command) => self.on_command(command),
                    None => handles_left = false,
                },
                Some(answer) = self.answers.next() => self.on_answer(answer),
                _ = events.reserve(), if self.outbox.is_late() => self.outbox.flush(),
                _ = tick.tick() => self.on_tick(),
            }
        };
        self.close().await;
        outcome
    }

    /// Says goodbye, so that peers need not find out by a timeout.
    async fn close(&mut self) {
        let peers: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            // An error means that it has gone in the meantime.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let all_closed = async {
            while self.swarm.network_info().num_peers() > 0 {
                self.swarm.select_next_some().await;
            }
        };
        if tokio::time::timeout(CLOSE_TIMEOUT, all_closed).await.is_err() {
            tracing::debug!("some connections did not close in time");
        }
    }

    /// Milliseconds since the start, as a point in time that no clock change moves.
    fn now(&self) -> Timestamp {
        Timestamp::EPOCH + self.started.elapsed()
    }

    fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.on_connected(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, cause, .. } => {
                tracing::debug!(peer = %peer_id, cause = cause.map(tracing::field::display), "connection closed");
                self.on_closed(peer_id, connection_id);
            }
            SwarmEvent::IncomingConnectionError { send_back_addr, error, .. } => {
                tracing::debug!(address = %send_back_addr, %error, "inbound connection failed");
                match error {
                    ListenError::Denied { .. } => self.counters.connections_refused.one(),
                    _ => self.counters.inbound_failed.one(),
                }
            }
            SwarmEvent::OutgoingConnectionError { peer_id, connection_id, error } => {
                self.on_dial_failed(connection_id, peer_id, &error);
            }
            SwarmEvent::NewListenAddr { address, .. } => self.on_listening(address),
            SwarmEvent::ExpiredListenAddr { address, .. } => self.on_listening_ended(&address),
            SwarmEvent::ListenerClosed { listener_id, addresses, reason } => {
                self.on_listener_closed(listener_id, &addresses, reason);
            }
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "a listener reports an error"),
            SwarmEvent::ExternalAddrConfirmed { address } => self.on_external(&address),
            SwarmEvent::ExternalAddrExpired { address } => self.on_external_lost(&address),
            _ => {}
        }
    }

    fn on_behaviour(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Gate(event) => self.on_gate(event),
            BehaviourEvent::Discovery(event) => self.on_discovery(event),
            BehaviourEvent::Talk(event) => self.on_talk(event),
            BehaviourEvent::Reach(event) => self.on_reach(event),
        }
    }

    fn on_gate(&mut self, event: GateEvent) {
        match event {
            GateEvent::Mdns(event) => self.on_mdns(event),
            GateEvent::Upnp(event) => tracing::info!(?event, "home router"),
            // Who is refused is told where the connection fails.
            _ => {}
        }
    }

    fn on_discovery(&mut self, event: DiscoveryEvent) {
        match event {
            DiscoveryEvent::Identify(event) => self.on_identify(event),
            DiscoveryEvent::Ping(event) => self.on_ping(event),
            DiscoveryEvent::Kademlia(walks::Event::Kademlia(event)) => self.on_kademlia(*event),
            DiscoveryEvent::Kademlia(walks::Event::Met { peer, addresses }) => self.hear(peer, addresses),
        }
    }

    fn on_talk(&mut self, event: TalkEvent) {
        match event {
            TalkEvent::Gossip(event) => self.on_gossip(event),
            TalkEvent::Registry(event) => self.on_exchange(Protocol::Registry, event),
            TalkEvent::Record(event) => self.on_exchange(Protocol::Record, event),
            TalkEvent::Streams(()) => {}
        }
    }

    fn on_reach(&mut self, event: ReachEvent) {
        match event {
            ReachEvent::RelayClient(event) => self.on_relay_client(event),
            ReachEvent::RelayServer(event) => self.on_relay_server(event),
            ReachEvent::Dcutr(event) => self.on_hole_punching(event),
            ReachEvent::Reachability(event) => tracing::debug!(?event, "reachability was tested"),
            ReachEvent::AutonatServer(_) => {}
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            // Whoever gave up waiting for an outcome misses it; so with every `send` here.
            Command::Publish { topic, bytes, done } => drop(done.send(self.publish(&topic, bytes))),
            Command::Report { message, propagation_source, acceptance } => {
                self.report(&message, &propagation_source, acceptance);
            }
            Command::Request { peer, protocol, bytes, answer } => self.request(peer, protocol, bytes, answer),
            Command::Dial { peer, addresses } => self.dial_named(peer, addresses),
            Command::AddKnown { peer, addresses } => self.learn(peer, addresses),
            Command::Penalise { peer, weight } => self.penalise(peer, weight),
            Command::Reach { peer, done } => self.seek(peer, Some(Waiter::Connection(done))),
            Command::Keep { peers } => self.keep(peers),
            Command::Block { peer } => {
                self.blocked.insert(peer);
                self.swarm.behaviour_mut().gate.blocked.block_peer(peer);
                self.outbox.notice(Event::PeerRefused { peer, reason: RefusalReason::Blocked });
            }
            Command::Unblock { peer } => {
                self.blocked.remove(&peer);
                self.bans.remove(&peer);
                self.penalties.remove(&peer);
                self.swarm.behaviour_mut().gate.blocked.unblock_peer(peer);
            }
            Command::Allow { peer } => {
                if let Some(allowed) = self.swarm.behaviour_mut().gate.allowed.as_mut() {
                    allowed.allow_peer(peer);
                }
            }
            Command::Disallow { peer } => {
                if let Some(allowed) = self.swarm.behaviour_mut().gate.allowed.as_mut() {
                    allowed.disallow_peer(peer);
                }
            }
        }
    }

    /// Timed duties, each when it is due.
    fn on_tick(&mut self) {
        let now = self.now();
        self.dial_targets(now);
        self.dial_found(now);
        self.seek_kept(now);
        self.look_around(now);
        self.restrain_walks();
        self.keep_reservations(now);
        self.spare_relays(now);
        self.ask_for_dial_backs(now);
        self.cut_off_silent(now);
        self.cut_off_misbehaving();
        self.lift_bans(now);
        self.make_room(now);
        if self.next_walk <= now && self.reported() < self.limits.peers_wanted {
            self.next_walk = now + WALK_INTERVAL;
            self.swarm.behaviour_mut().discovery.kademlia.get_closest_peers(PeerId::random());
        }
        if self.next_forgiving <= now {
            self.next_forgiving = now + FORGIVE_INTERVAL;
            self.forgive();
        }
    }

    /// Peers that have identified themselves.
    fn reported(&self) -> usize {
        self.peers.values().filter(|peer| peer.agent.is_some()).count()
    }
}
