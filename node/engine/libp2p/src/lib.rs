//! The parts of libp2p 0.56 that the consensus engine names: types in its signatures, no transport, no gossip.
//!
//! The engine is written against libp2p 0.56 and can bring a network of its own. Here its traffic runs on the
//! daemon's swarm, which is libp2p 0.57, so the old transports, gossipsub and discovery are never used; this package
//! takes their place in the dependency tree, so that they are not compiled either. See ADR 050.

#![forbid(unsafe_code)]

pub use futures;
pub use libp2p_core as core;
pub use libp2p_identity as identity;
pub use libp2p_identity::PeerId;
pub use libp2p_request_response as request_response;
pub use libp2p_swarm as swarm;
pub use libp2p_swarm::StreamProtocol;
pub use multiaddr::{self, Multiaddr};
