//! Deciding: this node's part in agreeing on one ledger.
//!
//! The engine counts votes, keeps time, logs what it signs and fetches what it missed. Here is what it needs: a value to
//! propose, a verdict on what others propose, a place for what was decided, and a network.
//!
//! # Map
//!
//! | where | what |
//! |---|---|
//! | `engine` | the engine's actors, put together and stopped |
//! | `app` | the engine's questions, one short answer each; when a height waits for work |
//! | `app/proposals` | what may be decided at a height: made here, come from others |
//! | `proposer` | making a batch, and handing it out in parts |
//! | `decide` | judging a batch, and writing a decided height |
//! | `network` | votes and parts by gossip, heights by streams, over the daemon's swarm |
//! | `serve` | decided heights for peers that catch up |
//! | `memory` | the last vote, kept apart from log and store; when this node keeps silent |
//! | `reports` | double votes, brought before the ledger |
//! | `signer` | signing with the node's key, and checking the others' |
//! | `codec` | the engine's messages as bytes |

mod app;
mod codec;
mod decide;
mod engine;
mod memory;
mod network;
mod proposer;
mod reports;
mod serve;
mod signer;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use angel_protocol::crypto::NodeKey;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::backup::returning::Returning;
use crate::health::Service;
use crate::ledger::{NodeWallet, Shared};
use crate::mempool;
use crate::network::{Gossip, Handle};
use crate::tasks::TaskResult;

pub(crate) use network::GOSSIP_BYTES_MAX;

/// How long rounds wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timing {
    /// For a proposal, from one who is there.
    pub(crate) propose: Duration,
    /// For a proposal, from one who seems absent.
    pub(crate) propose_absent: Duration,
    /// For votes that are still on their way.
    pub(crate) vote: Duration,
}

/// What deciding is made of.
pub(crate) struct Parts {
    pub(crate) timing: Timing,
    pub(crate) shared: Arc<Shared>,
    pub(crate) mempool: mempool::Handle,
    /// What reports double votes.
    pub(crate) wallet: NodeWallet,
    pub(crate) key: Arc<NodeKey>,
    /// Directory of the engine's log.
    pub(crate) dir: PathBuf,
    /// The file of the last vote, beside the key.
    pub(crate) last_vote: PathBuf,
    /// Whether this node was put back from a backup.
    pub(crate) returning: Returning,
    pub(crate) network: Handle,
    pub(crate) topic: String,
    pub(crate) gossip: mpsc::Receiver<Gossip>,
    pub(crate) service: Service,
}

/// Runs until told to stop.
///
/// # Errors
/// The engine failed, or what it was told could not be kept.
pub(crate) async fn run(parts: Parts, stop: CancellationToken) -> TaskResult {
    app::run(parts, stop).await
}
