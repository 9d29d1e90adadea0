//! Who is on the network, who is alive, and what each says about itself (`network.md` sections 1 to 3).
//!
//! One state machine, [`State`]: inputs go in with the time, effects come out, and [`State::next_deadline`] says when
//! it wants to be called again. It never opens a connection, reads a clock or draws a random number of its own; it
//! never speaks for another node, and what it concludes about others holds for this observer alone.
//!
//! # How a driver feeds it
//!
//! A heartbeat is checked in three steps, cheap ones first, and only the last needs the processor:
//!
//! ```
//! # use angel_protocol::{crypto::NodeKey, ids::NetworkId, time::Timestamp};
//! # use angel_protocol::membership::*;
//! # use std::sync::Arc;
//! fn on_gossip(state: &mut State, now: Timestamp, network: &NetworkId, bytes: &[u8]) -> Result<Vec<Effect>, Refusal> {
//!     let opened = OpenedHeartbeat::from_cbor(bytes, network)?; // size, form, version, network, issuer
//!     state.precheck(now, opened.head())?; // clock, sequence, rate, lists
//!     let heartbeat = Arc::new(VerifiedHeartbeat::verify(opened)?); // body and signature, on any thread
//!     let mut effects = Vec::new();
//!     state.handle(now, Input::HeartbeatReceived { heartbeat, source: Source::Gossip }, &mut effects);
//!     Ok(effects) // a `Refused` among them says that it changed nothing, and why
//! }
//! ```
//!
//! [`Refusal::verdict`] is the answer to gossipsub, [`Refusal::xrpc`] the one to an HTTP caller.
//!
//! # Map
//!
//! | module | what it answers |
//! |---|---|
//! | `state` | what happens on each input |
//! | `input`, `effect`, `refusal` | the words between machine and driver |
//! | `heartbeat`, `declared`, `record` | what a node says about itself |
//! | `admission`, `rotation` | who may join; how a node changes its key |
//! | `registry` | what is kept of each node, and who leaves when it is full |
//! | `failure_detector`, `uptime`, `isolation` | who is alive; how reliably; am I the one who is cut off? |
//! | `exchange`, `fetches`, `sequence` | catching up with a peer; records to fetch; numbers that never fall |
//! | `view`, `topology` | what is shown to people and other modules |

mod admission;
mod config;
mod declared;
mod due;
mod effect;
mod exchange;
mod failure_detector;
mod fetches;
mod heartbeat;
mod input;
mod isolation;
mod record;
mod refusal;
mod registry;
mod rotation;
mod sequence;
mod state;
mod stored;
mod topology;
mod uptime;
mod view;

#[cfg(test)]
mod tests;

pub use admission::{Admission, AdmittedBy, InvalidInvite, Invite, InviteTerms};
pub use config::Config;
pub use declared::{
    Capability, DeclaredStatus, InvalidKnownValue, LOAD_SCORE_FULL, NodeType, Profile, Region, Resources, ScalingModel,
};
pub use effect::{Effect, NodeEvent, NodeEventKind};
pub use exchange::{SiftedPage, VerifiedPage};
pub use failure_detector::{Observed, Status};
pub use heartbeat::{Heartbeat, Leases, LedgerHead, PeerReport, VerifiedHeartbeat};
pub use input::{Input, Source};
pub use record::{COLLECTION, NodeRecord, RecordError, RecordResources, RecordStatus};
pub use refusal::{NotAdmitted, Refusal};
pub use rotation::{OVERLAP, OVERLAP_MAX, Rotation, RotationStatement};
pub use state::{LocalNode, State};
pub use stored::{FormerKey, StoredEntry};
pub use topology::{LinkView, TopologyNode, TopologyView};
pub use uptime::Uptime;
pub use view::{KnownAddresses, Measured, NodeView};

/// A heartbeat whose form is right and whose signature has not been looked at.
pub type OpenedHeartbeat = crate::wire::envelope::Opened<Heartbeat>;
