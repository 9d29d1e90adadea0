//! Who is on the network: the driver of `angel_protocol::membership`, and the handle by which the rest of the node
//! asks it.
//!
//! The machine decides; here its effects are performed. One task owns the machine, so there is nothing to lock. What
//! waits for it is bounded, and it waits for nobody but the network's inbox.

mod driver;
mod profile;
mod saver;

use std::sync::Arc;
use std::time::Duration;

use angel_protocol::crypto::NodeKey;
use angel_protocol::ids::Did;
use angel_protocol::membership::{
    self, DeclaredStatus, Invite, NodeView, OpenedHeartbeat, Refusal, Rotation, StoredEntry, TopologyView,
};
use angel_storage::codec::{self, Cbor};
use angel_storage::reader::ReadError;
use angel_storage::{Reader, Writer, peers};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot, watch};

use crate::events::Events;
use crate::health::Service;
use crate::machine::Load;
use crate::network;
use crate::placement::HostedCount;

pub(crate) use driver::Driver;
pub use driver::DriverError;
pub use profile::OwnNode;
pub use saver::SaveError;
pub(crate) use saver::{NODE_EVENT, NodeEventRow};

/// Questions and orders that may wait for the driver.
const INBOX_MAX: usize = 256;

/// Nodes named in the answer to a heartbeat over HTTP (`network.md` 3.3).
pub(crate) const KNOWN_NODES_MAX: usize = 64;

/// Asks the membership of this node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    inbox: mpsc::Sender<Command>,
}

/// The membership task has ended: the node is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the membership of this node has stopped")]
pub struct Stopped;

/// What a node answers to a heartbeat over HTTP.
#[derive(Clone, Debug, Serialize)]
pub struct HeartbeatAnswer {
    /// This node.
    pub did: Did,
    /// Its own newest heartbeat; nothing before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<serde_json::Value>,
    /// Nodes it knows, those heard of late first.
    pub nodes: Vec<KnownNode>,
    /// This node's clock.
    pub time: String,
}

/// A node as others are told of it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KnownNode {
    /// Who.
    pub did: Did,
    /// Where its HTTP is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Arc<str>>,
    /// Where it stands.
    pub region: membership::Region,
    /// How this node sees it.
    pub status: membership::Status,
    /// Where it may be dialled, as it says itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Arc<str>>,
}

/// Everything this node knows of the others.
#[derive(Clone, Debug, Serialize)]
pub struct NodeList {
    /// Whose view this is.
    pub observer: Did,
    /// Whether the observer must assume that it is itself cut off (NET-08).
    pub isolated: bool,
    /// The others, by DID.
    pub nodes: Vec<ListedNode>,
}

/// A node and how this one is connected to it.
#[derive(Clone, Debug, Serialize)]
pub struct ListedNode {
    /// The node.
    #[serde(flatten)]
    pub view: NodeView,
    /// How this node reaches it, when it is connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<Connection>,
}

/// How a peer is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Connection {
    /// From machine to machine.
    Direct,
    /// Through a relay.
    Relayed,
}

/// What an invitation is to allow.
#[derive(Clone, Debug)]
pub struct InviteWish {
    /// For this node alone; otherwise for whoever brings it.
    pub invitee: Option<Did>,
    /// How many nodes may come in with it.
    pub uses: u16,
    /// How long it holds.
    pub valid_for: Duration,
}

/// What the driver is asked.
#[derive(Debug)]
pub(crate) enum Command {
    Heartbeat { opened: Box<OpenedHeartbeat>, answer: oneshot::Sender<Result<HeartbeatAnswer, Refusal>> },
    Nodes(oneshot::Sender<NodeList>),
    Topology(oneshot::Sender<TopologyView>),
    OwnHeartbeat(oneshot::Sender<Option<serde_json::Value>>),
    Invite { wish: InviteWish, answer: oneshot::Sender<Invite> },
    Declare { status: DeclaredStatus, answer: oneshot::Sender<()> },
    AcceptAbsence(oneshot::Sender<()>),
    Remove { did: Did, answer: oneshot::Sender<bool> },
    HealthMeasured { did: Did, took: Duration },
    Learned { did: Did, addresses: Vec<network::Multiaddr> },
}

/// What the driver is made of.
pub(crate) struct Parts {
    pub(crate) config: membership::Config,
    pub(crate) own: OwnNode,
    pub(crate) scope: network::Scope,
    /// How many addresses the network is to listen on.
    pub(crate) listeners: usize,
    pub(crate) key: Arc<NodeKey>,
    pub(crate) invite: Option<Invite>,
    pub(crate) rotation: Option<Rotation>,
    pub(crate) seed: [u8; 32],
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
    pub(crate) network: network::Handle,
    pub(crate) network_events: mpsc::Receiver<network::Event>,
    pub(crate) load: watch::Receiver<Load>,
    /// How many tenants this node hosts.
    pub(crate) hosted: HostedCount,
    pub(crate) events: Events,
    pub(crate) service: Service,
}

impl Handle {
    /// The handle and the place where the driver listens.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Command>) {
        let (inbox, commands) = mpsc::channel(INBOX_MAX);
        (Self { inbox }, commands)
    }

    /// A heartbeat that came over HTTP. The answer says who else is there.
    ///
    /// # Errors
    /// [`Stopped`]; inside, the [`Refusal`] by name.
    pub async fn heartbeat(&self, opened: OpenedHeartbeat) -> Result<Result<HeartbeatAnswer, Refusal>, Stopped> {
        self.ask(|answer| Command::Heartbeat { opened: Box::new(opened), answer }).await
    }

    /// All nodes this one knows.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn nodes(&self) -> Result<NodeList, Stopped> {
        self.ask(Command::Nodes).await
    }

    /// The map of the network (NET-07).
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn topology(&self) -> Result<TopologyView, Stopped> {
        self.ask(Command::Topology).await
    }

    /// This node's newest heartbeat as JSON; nothing before the first.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn own_heartbeat(&self) -> Result<Option<serde_json::Value>, Stopped> {
        self.ask(Command::OwnHeartbeat).await
    }

    /// Signs an invitation to this network.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn invite(&self, wish: InviteWish) -> Result<Invite, Stopped> {
        self.ask(|answer| Command::Invite { wish, answer }).await
    }

    /// Declares a status, for example maintenance.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn declare(&self, status: DeclaredStatus) -> Result<(), Stopped> {
        self.ask(|answer| Command::Declare { status, answer }).await
    }

    /// The operator says that the nodes not seen now are gone for good, so that this one need not think itself cut off.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn accept_absence(&self) -> Result<(), Stopped> {
        self.ask(Command::AcceptAbsence).await
    }

    /// Forgets a node, and says whether it was known. It may come back if the network admits it.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn remove(&self, did: Did) -> Result<bool, Stopped> {
        self.ask(|answer| Command::Remove { did, answer }).await
    }

    /// A health request over HTTP was answered (NET-04).
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn health_measured(&self, did: Did, took: Duration) -> Result<(), Stopped> {
        self.inbox.send(Command::HealthMeasured { did, took }).await.map_err(|_| Stopped)
    }

    /// Another node told where this one may be found.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn learned(&self, did: Did, addresses: Vec<network::Multiaddr>) -> Result<(), Stopped> {
        self.inbox.send(Command::Learned { did, addresses }).await.map_err(|_| Stopped)
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Stopped> {
        let (answer, outcome) = oneshot::channel();
        self.inbox.send(command(answer)).await.map_err(|_| Stopped)?;
        outcome.await.map_err(|_| Stopped)
    }
}

/// What earlier runs knew of the others. An entry that cannot be read any more is left out and told of: the node
/// introduces itself again.
///
/// # Errors
/// The store fails.
pub(crate) fn stored_entries(reader: &Reader) -> Result<Vec<StoredEntry>, ReadError> {
    let mut entries = vec![];
    for (did, bytes) in peers::all(reader)? {
        match codec::decode::<Cbor<StoredEntry>>(&bytes) {
            Ok(Cbor(entry)) => entries.push(entry),
            Err(error) => tracing::warn!(peer = %did, %error, "what was known of this peer cannot be read"),
        }
    }
    Ok(entries)
}
