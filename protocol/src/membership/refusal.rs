//! Every way a heartbeat is refused, in the order of the checks, with the names the outside sees.

use crate::ids::Did;
use crate::wire::envelope::EnvelopeError;
use crate::wire::gossip::Verdict;

/// Why a heartbeat changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The envelope is wrong.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// It is this node's own, come back.
    #[error("this is the receiver's own heartbeat")]
    Own,
    /// The key was replaced and the overlap is over.
    #[error("this key was retired; the node is now {0}")]
    KeyRetired(Did),
    /// The sequence number is not above the last one seen.
    #[error("sequence {sequence} is not above {last}, the last one seen from this node")]
    StaleSequence {
        /// What came.
        sequence: u64,
        /// What had come.
        last: u64,
    },
    /// Issued too soon after the one before (NET-09).
    #[error("issued less than {} s after the heartbeat before", .0.as_secs())]
    RateLimited(std::time::Duration),
    /// The network does not admit the node.
    #[error("not admitted to this network: {0}")]
    NotAdmitted(NotAdmitted),
    /// A development node on a network that is none.
    #[error("development nodes join only networks whose id ends in -dev")]
    DevelopmentNode,
    /// Another node has the name.
    #[error("the nodeId is taken by {0}; choose another one")]
    NodeIdTaken(Did),
    /// The old key of the rotation already has another successor, or the new one is a node of its own.
    #[error("the key rotation contradicts what is known of these keys")]
    RotationConflict,
    /// The registry is full of nodes that are alive.
    #[error("the registry is full")]
    RegistryFull,
}

/// Why a node is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// Not on the list.
    #[error("it is not on the list of nodes")]
    NotListed,
    /// It brings no invitation and no member vouches for it.
    #[error("it brings no invitation")]
    NotInvited,
    /// The inviter is no member here.
    #[error("its inviter is no member")]
    InviterUnknown,
    /// The invitation is over.
    #[error("its invitation has expired")]
    Expired,
    /// The invitation brought in as many nodes as it may.
    #[error("its invitation is used up")]
    UsedUp,
}

impl Refusal {
    /// A stable name for metrics.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Envelope(error) => error.label(),
            Self::Own => "own",
            Self::KeyRetired(_) => "key_retired",
            Self::StaleSequence { .. } => "stale_sequence",
            Self::RateLimited(_) => "rate_limited",
            Self::NotAdmitted(_) => "not_admitted",
            Self::DevelopmentNode => "development_node",
            Self::NodeIdTaken(_) => "node_id_taken",
            Self::RotationConflict => "rotation_conflict",
            Self::RegistryFull => "registry_full",
        }
    }

    /// The HTTP status and the XRPC error name (`network.md` 6.1).
    #[must_use]
    pub const fn xrpc(&self) -> (u16, &'static str) {
        match self {
            Self::Envelope(EnvelopeError::Signature) => (401, "BadSignature"),
            Self::KeyRetired(_) => (401, "KeyRetired"),
            Self::Envelope(_) | Self::Own => (400, "InvalidHeartbeat"),
            Self::StaleSequence { .. } => (409, "StaleSequence"),
            Self::RateLimited(_) => (429, "RateLimited"),
            Self::NotAdmitted(_) | Self::DevelopmentNode => (403, "NotAdmitted"),
            Self::NodeIdTaken(_) => (409, "NodeIdTaken"),
            Self::RotationConflict => (409, "RotationConflict"),
            Self::RegistryFull => (503, "RegistryFull"),
        }
    }

    /// What gossip does with the message. Only what every honest node refuses alike is blamed on the forwarder; what
    /// depends on what this node has seen is not.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        match self {
            Self::Envelope(error) => error.verdict(),
            Self::DevelopmentNode => Verdict::Reject,
            Self::Own
            | Self::KeyRetired(_)
            | Self::StaleSequence { .. }
            | Self::RateLimited(_)
            | Self::NotAdmitted(_)
            | Self::NodeIdTaken(_)
            | Self::RotationConflict
            | Self::RegistryFull => Verdict::Ignore,
        }
    }
}
