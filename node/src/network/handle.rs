//! The only way to reach the network task.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use angel_protocol::ids::NetworkId;
use libp2p::gossipsub::MessageId;
use libp2p::{Multiaddr, PeerId, Stream, StreamProtocol};
use libp2p_stream::{IncomingStreams, OpenStreamError};
use tokio::sync::{mpsc, oneshot, watch};

use super::event::{Acceptance, Reachability};
use super::requests::{Asker, Protocol, RequestError};
use super::stats::{Counters, Stats};

/// How long [`Handle::until_listening`] waits.
const LISTEN_PATIENCE: Duration = Duration::from_secs(2);

/// A cloneable handle to the network. Its methods wait while the task's inbox is full; the task never waits for the
/// reader of events, so a reader may call them.
#[derive(Clone)]
pub struct Handle {
    pub(super) local: PeerId,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) view: watch::Receiver<View>,
    pub(super) counters: Arc<Counters>,
    pub(super) network: NetworkId,
    pub(super) streams: libp2p_stream::Control,
}

/// What the network looks like from here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// The peers that were reported as connected.
    pub peers: BTreeMap<PeerId, ConnectedPeer>,
    /// Where we listen.
    pub listening: Vec<Multiaddr>,
    /// Where we are reachable.
    pub external: Vec<Multiaddr>,
    /// How reachable we are.
    pub reachability: Reachability,
}

/// A connected peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectedPeer {
    /// Where it is.
    pub address: Multiaddr,
    /// Only through a relay.
    pub relayed: bool,
    /// What it says its software is. Not to be trusted.
    pub agent: String,
}

/// The network task has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the network of this node has stopped")]
pub struct Stopped;

/// What became of a published message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Published {
    /// It is on its way to at least one peer.
    Sent(MessageId),
    /// Nobody we are connected to listens to this topic. A node may be alone.
    Alone,
    /// The same content was on the topic within the last two minutes.
    Duplicate,
}

/// Why a message was not published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// This node is stopping.
    #[error("the network of this node has stopped")]
    Stopped,
    /// Not among the configured topics.
    #[error("{topic} is no topic of this network")]
    UnknownTopic {
        /// The name given.
        topic: String,
    },
    /// Larger than its topic allows.
    #[error("a message on {topic} has at most {max} bytes, this one has {bytes}")]
    TooLarge {
        /// The topic.
        topic: String,
        /// Its bound, in bytes.
        max: usize,
        /// The message, in bytes.
        bytes: usize,
    },
    /// The queues to all peers are full.
    #[error("the queues to all {peers} peers are full")]
    QueuesFull {
        /// How many peers.
        peers: usize,
    },
    /// Signing failed.
    #[error("the message could not be signed: {0}")]
    Signing(String),
}

/// Why a stream was not opened or accepted.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The peer does not speak this protocol.
    #[error("the peer does not speak {protocol}")]
    Unsupported {
        /// The full name of the protocol.
        protocol: String,
    },
    /// The peer is not where it was, and nobody asked knows where it is.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    /// The connection broke.
    #[error("no stream to the peer")]
    Broken(#[source] std::io::Error),
    /// Somebody else in this node accepts streams of this protocol.
    #[error("{protocol} is accepted elsewhere in this node")]
    Taken {
        /// The full name of the protocol.
        protocol: String,
    },
}

/// Why there is no connection to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreachable {
    /// This node is stopping.
    #[error("the network of this node has stopped")]
    Stopped,
    /// It is not where it was, and nobody asked knows where it is.
    #[error("the peer is not reached where it was, and nobody asked knows where it is")]
    NotFound,
    /// It is refused: blocked, banned, or this node itself.
    #[error("this node does not connect to the peer")]
    Refused,
    /// Too many peers are sought already.
    #[error("too many peers are sought already")]
    Busy,
}

/// What a handle asks of the task.
#[derive(Debug)]
pub(super) enum Command {
    Publish { topic: String, bytes: Vec<u8>, done: oneshot::Sender<Result<Published, PublishError>> },
    Report { message: MessageId, propagation_source: PeerId, acceptance: Acceptance },
    Request { peer: PeerId, protocol: Protocol, bytes: Vec<u8>, answer: Asker },
    Dial { peer: PeerId, addresses: Vec<Multiaddr> },
    AddKnown { peer: PeerId, addresses: Vec<Multiaddr> },
    Penalise { peer: PeerId, weight: u32 },
    Reach { peer: PeerId, done: oneshot::Sender<Result<(), Unreachable>> },
    Keep { peers: BTreeSet<PeerId> },
    Block { peer: PeerId },
    Unblock { peer: PeerId },
    Allow { peer: PeerId },
    Disallow { peer: PeerId },
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").field("local", &self.local).finish_non_exhaustive()
    }
}

impl Handle {
    /// Our own peer id.
    #[must_use]
    pub const fn local_peer(&self) -> PeerId {
        self.local
    }

    /// Publishes on a configured topic.
    ///
    /// # Errors
    /// [`PublishError`], by what is wrong. Being alone is none: see [`Published::Alone`].
    pub async fn publish(&self, topic: &str, bytes: Vec<u8>) -> Result<Published, PublishError> {
        let (done, outcome) = oneshot::channel();
        let command = Command::Publish { topic: topic.to_owned(), bytes, done };
        self.command(command).await.map_err(|Stopped| PublishError::Stopped)?;
        outcome.await.map_err(|_| PublishError::Stopped)?
    }

    /// Says what became of a message. Unreported messages are forgotten after a few seconds and passed on to nobody.
    ///
    /// # Errors
    /// [`Stopped`] when the task has ended.
    pub async fn report(
        &self,
        message: MessageId,
        propagation_source: PeerId,
        acceptance: Acceptance,
    ) -> Result<(), Stopped> {
        self.command(Command::Report { message, propagation_source, acceptance }).await
    }

    /// Asks a peer, once it is [reached](Self::reach), and waits for the answer, at most for the protocol's time.
    ///
    /// # Errors
    /// [`RequestError`], by what went wrong.
    pub async fn request(&self, peer: PeerId, protocol: Protocol, bytes: Vec<u8>) -> Result<Vec<u8>, RequestError> {
        let max = protocol.request_bytes_max();
        if bytes.len() > max {
            return Err(RequestError::TooLarge { protocol, max });
        }
        let (answer, outcome) = oneshot::channel();
        let command = Command::Request { peer, protocol, bytes, answer };
        self.command(command).await.map_err(|Stopped| RequestError::Stopped)?;
        outcome.await.map_err(|_| RequestError::Stopped)?
    }

    /// Sees to it that a peer is connected: dials it where it was last known to be, and asks the network where it is by
    /// now. At most eight seconds.
    ///
    /// # Errors
    /// [`Unreachable`], by what went wrong.
    pub async fn reach(&self, peer: PeerId) -> Result<(), Unreachable> {
        if self.view.borrow().peers.contains_key(&peer) {
            return Ok(());
        }
        let (done, outcome) = oneshot::channel();
        self.command(Command::Reach { peer, done }).await.map_err(|Stopped| Unreachable::Stopped)?;
        outcome.await.map_err(|_| Unreachable::Stopped)?
    }

    /// Opens a stream for bulk data, in the protocol `/angel/NETWORK/name`, once the peer is [reached](Self::reach).
    /// Prefer peers that are not relayed: a relay ends a connection after so many bytes. The caller bounds what it reads
    /// and how long.
    ///
    /// # Errors
    /// [`StreamError`], by what went wrong.
    pub async fn open_stream(&self, peer: PeerId, name: &str) -> Result<Stream, StreamError> {
        self.reach(peer).await?;
        let protocol = self.stream_protocol(name);
        self.streams.clone().open_stream(peer, protocol).await.map_err(|error| match error {
            OpenStreamError::UnsupportedProtocol(protocol) => {
                StreamError::Unsupported { protocol: protocol.to_string() }
            }
            OpenStreamError::Io(error) => StreamError::Broken(error),
            error => StreamError::Broken(std::io::Error::other(error)),
        })
    }

    /// Accepts streams of the protocol `/angel/NETWORK/name`, until the answer is dropped. Streams that arrive while the
    /// last one has not been taken are dropped: who opened them tries again.
    ///
    /// # Errors
    /// [`StreamError::Taken`] when somebody accepts them already.
    pub fn accept_streams(&self, name: &str) -> Result<IncomingStreams, StreamError> {
        let protocol = self.stream_protocol(name);
        let taken = StreamError::Taken { protocol: protocol.to_string() };
        self.streams.clone().accept(protocol).map_err(|_| taken)
    }

    fn stream_protocol(&self, name: &str) -> StreamProtocol {
        StreamProtocol::try_from_owned(format!("/angel/{}/{name}", self.network)).expect("the name starts with a slash")
    }

    /// Dials a peer at addresses that the operator named: they may be private ones. The outcome is an event.
    ///
    /// # Errors
    /// [`Stopped`] when the task has ended.
    pub async fn dial(&self, peer: PeerId, addresses: Vec<Multiaddr>) -> Result<(), Stopped> {
        self.command(Command::Dial { peer, addresses }).await
    }

    /// Remembers addresses of a peer that other nodes told us. Those outside the network's scope are dropped.
    ///
    /// # Errors
    /// [`Stopped`] when the task has ended.
    pub async fn add_known(&self, peer: PeerId, addresses: Vec<Multiaddr>) -> Result<(), Stopped> {
        self.command(Command::AddKnown { peer, addresses }).await
    }

    /// Lowers a peer's score by `weight`. At 80 it is cut off and refused for a while; half is forgiven every minute.
    ///
    /// # Errors
    /// [`Stopped`] when the task has ended.
    pub async fn penalise(&self, peer: PeerId, weight: u32) -> Result<(), Stopped> {
        self.command(Command::Penalise { peer, weight }).await
    }

    /// From now on these peers are kept: sought while they are not connected, exempt from the connection limits, and never
    /// closed to make room. Those kept before and not among them are ordinary peers again. Of more than
    /// [`KEPT_MAX`](super::KEPT_MAX) the first are kept.
    ///
    /// # Errors
    /// [`Stopped`] when the task has ended.
    pub async fn keep(&self, peers: BTreeSet<PeerId>) -> Result<(), Stopped> {
        self.command(Command::Keep { peers }).await
    }

    /// Disconnects a peer and refuses it until [`Self::unblock`].
    ///
    /// # Errors
    /// [`Stopped`] when the task has ended.
    pub async fn block(&self, peer: PeerId) -> Result<(), Stopped> {
        self.command(Command::Block { peer }).await
    }

    /// Takes a peer off the block list and lifts a ban.
    ///
    /// # Errors
    /// [`Stopped`] when the task has ended.
    pub async fn unblock(&self, peer: PeerId) -> Result<(), Stopped> {
        self.command(Command::Unblock { peer }).await
    }

    /// Puts a peer on the allow list. Without a list in the configuration everybody is allowed, and stays so.
    ///
    /// # Errors
    /// [`Stopped`] when the task has ended.
    pub async fn allow(&self, peer: PeerId) -> Result<(), Stopped> {
        self.command(Command::Allow { peer }).await
    }

    /// Takes a peer off the allow list, if there is one, and disconnects it.
    ///
    /// # Errors
    /// [`Stopped`] when the task has ended.
    pub async fn disallow(&self, peer: PeerId) -> Result<(), Stopped> {
        self.command(Command::Disallow { peer }).await
    }

    /// Waits until this node listens on `count` addresses at least, or for two seconds: a port that is not there by
    /// then is reported by its own event.
    pub async fn until_listening(&self, count: usize) {
        let mut view = self.view.clone();
        let listening = view.wait_for(|view| view.listening.len() >= count);
        // A network that stops meanwhile is noticed by whoever supervises it.
        let _outcome = tokio::time::timeout(LISTEN_PATIENCE, listening).await;
    }

    /// The connected peers.
    #[must_use]
    pub fn connected_peers(&self) -> BTreeMap<PeerId, ConnectedPeer> {
        self.view.borrow().peers.clone()
    }

    /// Where we listen, each address ending in our peer id.
    #[must_use]
    pub fn listen_addresses(&self) -> Vec<Multiaddr> {
        self.with_own_peer(&self.view.borrow().listening)
    }

    /// Where we are reachable, each address ending in our peer id.
    #[must_use]
    pub fn external_addresses(&self) -> Vec<Multiaddr> {
        self.with_own_peer(&self.view.borrow().external)
    }

    /// How reachable we are.
    #[must_use]
    pub fn reachability(&self) -> Reachability {
        self.view.borrow().reachability
    }

    /// All of the above, to wait for changes.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<View> {
        self.view.clone()
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.counters.snapshot()
    }

    fn with_own_peer(&self, addresses: &[Multiaddr]) -> Vec<Multiaddr> {
        addresses.iter().filter_map(|address| address.clone().with_p2p(self.local).ok()).collect()
    }

    async fn command(&self, command: Command) -> Result<(), Stopped> {
        self.commands.send(command).await.map_err(|_| Stopped)
    }
}
