//! What the world tells the machine.

use std::sync::Arc;

use super::declared::{DeclaredStatus, Profile, Resources};
use super::exchange::VerifiedPage;
use super::heartbeat::{Leases, LedgerHead, VerifiedHeartbeat};
use crate::ids::Did;
use crate::wire::registry::RegistryRequest;

/// Something that happened. Time passing is [`Input::Tick`].
#[derive(Clone, Debug)]
pub enum Input {
    /// The deadline has passed. Harmless at any other time.
    Tick,
    /// The answer to [`Effect::ReserveSequence`](super::Effect::ReserveSequence): numbers below this are durably
    /// reserved.
    SequenceReserved {
        /// The first number that is not reserved.
        up_to: u64,
    },
    /// A heartbeat came in.
    HeartbeatReceived {
        /// What came.
        heartbeat: Arc<VerifiedHeartbeat>,
        /// How.
        source: Source,
    },
    /// A connection to another node stands. The transport has proved the DID.
    PeerConnected(Did),
    /// The last connection to another node is gone.
    PeerDisconnected(Did),
    /// A ping was answered (NET-04).
    PingMeasured {
        /// By whom.
        peer: Did,
        /// Round trip in milliseconds.
        rtt_ms: u32,
    },
    /// A health request over HTTP was answered (NET-04).
    HealthMeasured {
        /// By whom.
        peer: Did,
        /// How long it took, in milliseconds.
        response_ms: u32,
    },
    /// A peer asks for the heartbeats this node holds.
    RegistryRequested {
        /// Who asks.
        peer: Did,
        /// The driver's name for the request; comes back in the answer.
        request_id: u64,
        /// What it asks.
        request: RegistryRequest,
    },
    /// The answer to [`Effect::RequestRegistry`](super::Effect::RequestRegistry).
    RegistryReceived {
        /// Who answered.
        peer: Did,
        /// Its page, as [`State::sift`](super::State::sift) and
        /// [`SiftedPage::verify`](super::SiftedPage::verify) leave it.
        page: VerifiedPage,
    },
    /// The request failed.
    RegistryFailed {
        /// Who did not answer.
        peer: Did,
    },
    /// The answer to [`Effect::FetchRecord`](super::Effect::FetchRecord).
    RecordReceived {
        /// Whose record it should be.
        did: Did,
        /// The bytes.
        bytes: Arc<[u8]>,
    },
    /// The record could not be had.
    RecordFailed {
        /// Whose record it should have been.
        did: Did,
    },
    /// The operator changed what this node says about itself.
    ProfileChanged(Box<Profile>),
    /// The operator declared a status.
    StatusDeclared(DeclaredStatus),
    /// Fresh figures of this machine.
    ResourcesMeasured(Resources),
    /// The tenants this node is primary for have changed.
    LeasesChanged(Leases),
    /// The ledger moved; validators only.
    LedgerAdvanced(LedgerHead),
    /// The operator says that the nodes not seen now are gone for good: an isolated node may go on without them.
    AbsenceAccepted,
    /// The operator removes a node. It may come back if the network admits it.
    NodeRemoved(Did),
}

/// How a heartbeat came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// By gossip.
    Gossip,
    /// Over HTTP or XRPC.
    Http,
    /// In a registry page of this peer.
    Registry(Did),
}
