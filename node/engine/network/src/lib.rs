//! The types of the consensus engine's own network, without the network.
//!
//! The engine's crates name these types in their signatures. Its traffic runs on the daemon's swarm through the
//! engine's seam for other networks, so [`spawn`] never succeeds and a [`handle::CtrlHandle`] cannot exist: what would
//! use it is code that can be seen not to run. See ADR 050.

#![forbid(unsafe_code)]

pub mod handle;
pub mod validator_proof {
    //! What the engine says about a validator's proof.

    /// Whether a proof holds.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum ProofVerificationResult {
        /// It does.
        Valid,
        /// It does not.
        Invalid,
    }
}

use std::collections::HashMap;
use std::fmt;

use bytes::Bytes;
use libp2p::request_response::{InboundRequestId, OutboundRequestId};
use malachitebft_metrics::SharedRegistry;
use serde::{Deserialize, Serialize};

pub use libp2p::Multiaddr;
pub use libp2p::identity::Keypair;
pub use malachitebft_peer::PeerId;

/// A kind of traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Channel {
    /// Votes and proposals.
    Consensus,
    /// What gets a stuck round going.
    Liveness,
    /// Values, in parts.
    ProposalParts,
    /// How far each node is.
    Sync,
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// Settings of a network that is not here: none.
#[derive(Clone, Copy, Debug)]
pub struct Config;

/// Who a node says it is.
#[derive(Clone, Debug)]
pub struct NetworkIdentity {
    /// Its name.
    pub moniker: String,
    /// Its transport key.
    pub keypair: Keypair,
}

/// A validator, as the network sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ValidatorInfo {
    /// Its address.
    pub address: String,
    /// Its key.
    pub public_key: Vec<u8>,
    /// Its share of votes.
    pub voting_power: u64,
}

/// What the network knows.
#[derive(Clone, Debug)]
pub struct NetworkStateDump {
    /// Peers by id, with their validator's address where there is one.
    pub peers: HashMap<PeerId, Option<String>>,
}

/// A wish about peers to stay connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PersistentPeersOp {
    /// One more.
    Add(Multiaddr),
    /// One less.
    Remove(Multiaddr),
}

/// Why the wish is not granted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PersistentPeerError {
    /// It is one already.
    #[error("the peer is a persistent one already")]
    AlreadyExists,
    /// It is none.
    #[error("the peer is no persistent one")]
    NotFound,
    /// The network is not up.
    #[error("the network is not started")]
    NetworkStopped,
    /// Something else.
    #[error("{0}")]
    InternalError(String),
}

/// What the engine's own network would report.
#[derive(Clone, Debug)]
pub enum Event {
    /// It listens.
    Listening(Multiaddr),
    /// A peer is there.
    PeerConnected(PeerId),
    /// A peer is gone.
    PeerDisconnected(PeerId),
    /// A peer wants a channel.
    PeerSubscribed(PeerId, Channel),
    /// A peer wants it no more.
    PeerUnsubscribed(PeerId, Channel),
    /// A message: from whom, published by whom.
    ConsensusMessage(Channel, PeerId, Option<PeerId>, Bytes),
    /// A message that gets a stuck round going.
    LivenessMessage(Channel, PeerId, Bytes),
    /// A request or response of value sync.
    Sync(malachitebft_sync::RawMessage),
    /// A request got no response.
    SyncRequestFailed {
        /// Which.
        request_id: OutboundRequestId,
        /// Of whom.
        peer: PeerId,
        /// Why.
        reason: malachitebft_sync::OutboundFailureReason,
    },
    /// A requester went away.
    SyncInboundRequestFailed {
        /// Which.
        request_id: InboundRequestId,
        /// Who.
        peer: PeerId,
    },
    /// A peer says it is a validator.
    ValidatorProofReceived {
        /// Who.
        peer_id: PeerId,
        /// Its proof.
        proof_bytes: Bytes,
    },
}

/// Always refuses: the daemon's swarm carries the engine's traffic.
///
/// # Errors
/// Always.
pub async fn spawn(_: NetworkIdentity, _: Config, _: SharedRegistry) -> Result<handle::Handle, eyre::Report> {
    Err(eyre::eyre!("the engine has no network of its own here; give it the daemon's"))
}
