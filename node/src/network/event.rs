//! What the network tells the node.

use std::time::Duration;

use libp2p::gossipsub::{MessageAcceptance, MessageId};
use libp2p::{Multiaddr, PeerId};
use tokio::sync::oneshot;

use super::requests::{Protocol, Refusal};

/// Something happened. Events of one peer arrive in order. Connections are always reported; when the reader lags,
/// gossip, pings and requests are dropped and counted.
#[derive(Debug)]
pub enum Event {
    /// A peer of this network is connected and has identified itself.
    PeerConnected {
        /// Who.
        peer: PeerId,
        /// Where it is.
        address: Multiaddr,
        /// Only through a relay, so far.
        relayed: bool,
    },
    /// The last connection to a peer that was reported as connected is gone.
    PeerDisconnected {
        /// Who.
        peer: PeerId,
    },
    /// A peer that was reached through a relay is now reached directly.
    PeerDirect {
        /// Who.
        peer: PeerId,
        /// Where it is.
        address: Multiaddr,
    },
    /// A peer was cut off and is refused for a while.
    PeerRefused {
        /// Who.
        peer: PeerId,
        /// Why.
        reason: RefusalReason,
    },
    /// A message that nobody else gets from us before it is reported with [`super::Handle::report`].
    Gossip(Gossip),
    /// A round trip to a peer.
    Ping {
        /// Who.
        peer: PeerId,
        /// How long it took.
        rtt: Duration,
    },
    /// A peer asks something.
    Request(Request),
    /// We listen on this address.
    Listening(Multiaddr),
    /// We no longer listen on this address.
    ListeningEnded(Multiaddr),
    /// We are reachable at this address.
    ExternalAddress(Multiaddr),
    /// We are no longer reachable at this address.
    ExternalAddressLost(Multiaddr),
    /// How reachable we are has changed.
    Reachability(Reachability),
    /// A direct connection was made through two routers.
    HolePunched {
        /// With whom.
        peer: PeerId,
    },
}

/// A gossip message, signed by `source`, not yet validated by the application.
#[derive(Debug, Clone)]
pub struct Gossip {
    /// The full name of its topic.
    pub topic: String,
    /// What to report it by.
    pub message_id: MessageId,
    /// Who published it. Says nothing about who wrote the content: that is what its own signature is for.
    pub source: PeerId,
    /// Who passed it on to us, and pays when it is rejected.
    pub propagation_source: PeerId,
    /// The content, within its topic's bound.
    pub bytes: Vec<u8>,
}

/// What the application thinks of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acceptance {
    /// Valid: pass it on.
    Accept,
    /// No honest peer would have passed it on: drop it, and let the sender pay.
    Reject,
    /// Drop it without blame, for example because it is old.
    Ignore,
}

impl From<Acceptance> for MessageAcceptance {
    fn from(acceptance: Acceptance) -> Self {
        match acceptance {
            Acceptance::Accept => Self::Accept,
            Acceptance::Reject => Self::Reject,
            Acceptance::Ignore => Self::Ignore,
        }
    }
}

/// A question of a peer, within its protocol's bounds.
#[derive(Debug)]
pub struct Request {
    /// Who asks.
    pub peer: PeerId,
    /// In which protocol.
    pub protocol: Protocol,
    /// The question.
    pub bytes: Vec<u8>,
    /// Where the answer goes.
    pub reply: Reply,
}

/// The way back to a peer that asked. Dropping it, or keeping it beyond [`Protocol::answer_timeout`], tells the peer
/// [`Refusal::Unavailable`].
#[derive(Debug)]
pub struct Reply(pub(super) oneshot::Sender<Result<Vec<u8>, Refusal>>);

impl Reply {
    /// Answers. An answer beyond the protocol's bound becomes [`Refusal::Unavailable`]. Nothing happens when the peer has
    /// gone.
    pub fn send(self, answer: Result<Vec<u8>, Refusal>) {
        // A peer that no longer waits is no error of ours.
        let _ = self.0.send(answer);
    }
}

/// Why a peer was cut off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefusalReason {
    /// It belongs to another network.
    OtherNetwork {
        /// What it said instead.
        version: String,
    },
    /// Its score fell too low.
    Score,
    /// It is on the block list.
    Blocked,
}

/// How others can reach this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reachability {
    /// Not known to be reachable: we dial, nobody dials us.
    #[default]
    Unreachable,
    /// Through a relay.
    Relayed,
    /// Directly.
    Direct,
}
