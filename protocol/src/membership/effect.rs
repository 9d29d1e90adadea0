//! What the machine asks of the world. None of it is answered directly; where the world has an answer, it is a later
//! [`Input`](super::Input).

use std::sync::Arc;

use super::failure_detector::Status;
use super::input::Source;
use super::refusal::Refusal;
use super::stored::StoredEntry;
use crate::data::Cid;
use crate::ids::{Did, NodeName};
use crate::time::Timestamp;
use crate::wire::registry::{RegistryPage, RegistryRequest};

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Gossip this node's heartbeat. The same bytes may be asked for again while the mesh forms; a mesh that has them
    /// already may refuse.
    Publish(Arc<[u8]>),
    /// Make durable that numbers below this may be in use, then answer
    /// [`SequenceReserved`](super::Input::SequenceReserved). Until then no heartbeat leaves.
    ReserveSequence {
        /// The first number that is not to be reserved.
        up_to: u64,
    },
    /// Store the entry under its DID.
    Persist(Box<StoredEntry>),
    /// Forget the entry stored under this DID.
    Forget(Did),
    /// Write to the log of the network, and tell whoever cares.
    Event(NodeEvent),
    /// NET-08 changed its mind: an isolated node starts no failover.
    IsolationChanged {
        /// Whether this node must assume that it is cut off.
        isolated: bool,
    },
    /// Ask a connected peer for the heartbeats it holds.
    RequestRegistry {
        /// Whom.
        peer: Did,
        /// What.
        request: RegistryRequest,
    },
    /// Answer a peer's request.
    AnswerRegistry {
        /// The driver's name for the request.
        request_id: u64,
        /// The answer.
        page: RegistryPage,
    },
    /// Fetch a node's record, from the node itself or from any peer that has it: the CID proves it.
    FetchRecord {
        /// Whose.
        did: Did,
        /// Which.
        cid: Cid,
    },
    /// A node's record was verified: keep this copy.
    RecordVerified {
        /// Whose.
        did: Did,
        /// Which.
        cid: Cid,
        /// Its canonical bytes.
        bytes: Arc<[u8]>,
    },
    /// A node may be found there. It proved its key but its word is old, so this is a hint and no registration.
    Discovered {
        /// Who.
        did: Did,
        /// Where, as multiaddresses.
        addresses: Vec<Arc<str>>,
    },
    /// The heartbeat of this very input changed nothing: count it, and answer an HTTP caller with it.
    Refused {
        /// Whose it was.
        did: Did,
        /// How it came.
        source: Source,
        /// Why.
        refusal: Refusal,
    },
    /// A valid heartbeat of this node's own key carries a number that this process never used: an older copy of the
    /// data directory was restored, or a second process runs with the key. The sequence moves past it; a person
    /// should look.
    OwnKeySeenElsewhere {
        /// The number seen.
        sequence: u64,
    },
}

/// An entry of the network's log at this observer (`co.kendev.network.nodeEvent`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeEvent {
    /// When, by this node's clock.
    pub at: Timestamp,
    /// The node concerned.
    pub did: Did,
    /// Its name.
    pub node_id: NodeName,
    /// What happened.
    pub kind: NodeEventKind,
}

/// What can happen to a node in the eyes of an observer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeEventKind {
    /// First seen and admitted.
    Created,
    /// It says something new about itself.
    Updated,
    /// It follows the key of this DID from now on.
    KeyRotated {
        /// The DID that ends.
        old: Did,
    },
    /// What it will take on has changed.
    ResourceAdjustment,
    /// Its status changed, by its word or by its silence.
    StatusChange {
        /// Before.
        from: Status,
        /// Now.
        to: Status,
    },
    /// Dropped: silent for too long, removed, or evicted from a full registry.
    Removed,
}

impl NodeEventKind {
    /// The event's word in records: a change of key and a removal are updates there.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated | Self::KeyRotated { .. } | Self::Removed => "updated",
            Self::ResourceAdjustment => "resource_adjustment",
            Self::StatusChange { .. } => "status_change",
        }
    }
}
