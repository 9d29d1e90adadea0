//! A peer in this process with the key of a node whose daemon has ended, and none of its manners: what the others know of
//! it, they know by that key.

use std::path::Path;
use std::time::Duration;

use angel_node::clock;
use angel_node::data_dir::Layout;
use angel_node::keys::Identity;
use angel_node::network::{self, Handle, IncomingStreams, Stream};
use angel_protocol::crypto::NodeKey;
use angel_protocol::ids::Did;
use angel_protocol::wire::gossip::Topic;
use anyhow::{Context, Result};
use futures::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;

use crate::validators::Validators;
use crate::wait::until;

/// How long the others may take to be reached and to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// No frame of a protocol between nodes is longer.
const FRAME_BYTES_MAX: usize = 64 << 20;

/// The peer. It ends when dropped.
pub struct Impostor {
    key: NodeKey,
    handle: Handle,
    stop: CancellationToken,
}

impl Impostor {
    /// Joins those that run under the key that lies in `dir`.
    ///
    /// # Errors
    /// There is no key, or no peer can be made.
    pub fn of_daemon(validators: &Validators, dir: &Path) -> Result<Self> {
        let identity = Identity::load(&Layout::new(dir), clock::now())?;
        Self::join(validators, NodeKey::from_seed(&identity.key().seed()))
    }

    /// Joins those that run under a key.
    ///
    /// # Errors
    /// No peer can be made.
    pub fn join(validators: &Validators, key: NodeKey) -> Result<Self> {
        let network = validators.network();
        let mut config = network::Config::new(network.clone(), key.seed());
        config.scope = network::Scope::Loopback;
        config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse()?, "/ip4/127.0.0.1/udp/0/quic-v1".parse()?];
        // All that the others have, or it could not read what they subscribe to.
        let of_ledger = |topic: Topic| topic.of_ledger(&network, validators.genesis());
        let topics = [Topic::Heartbeat.name(&network), of_ledger(Topic::Transactions), of_ledger(Topic::Consensus)];
        config.topics = topics.into_iter().map(|topic| network::Topic::new(topic, 1 << 20)).collect();
        for index in validators.running() {
            let addresses = validators.daemon(index).facts()["p2p"].as_array().context("addresses")?;
            config.bootstrap.extend(addresses.iter().filter_map(|it| it.as_str()?.parse().ok()));
        }
        let (handle, mut events, task) = network::start(config)?;
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        tokio::spawn(async move { task.run(stopping).await });
        tokio::spawn(async move { while events.recv().await.is_some() {} });
        Ok(Self { key, handle, stop })
    }

    /// The key that it speaks with.
    #[must_use]
    pub fn key(&self) -> &NodeKey {
        &self.key
    }

    /// Its way to the others.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Streams that others open under a protocol.
    ///
    /// # Errors
    /// They are accepted already.
    pub fn accept(&self, protocol: &str) -> Result<IncomingStreams> {
        Ok(self.handle.accept_streams(protocol)?)
    }

    /// Opens a stream to a node, as soon as it can be reached.
    ///
    /// # Errors
    /// It cannot.
    pub async fn open(&self, node: &Did, protocol: &str) -> Result<Stream> {
        let peer = network::peer_id_of(node)?;
        let opened =
            until("the node is reached", PATIENCE, async || Ok(Some(self.handle.open_stream(peer, protocol).await?)));
        Ok(opened.await?.0)
    }

    /// Asks a node one question in bytes. Answers the first frame that comes.
    ///
    /// # Errors
    /// The node cannot be reached, or does not answer.
    pub async fn ask(&self, node: &Did, protocol: &str, question: &[u8]) -> Result<Vec<u8>> {
        let mut io = self.open(node, protocol).await?;
        send(&mut io, question).await?;
        tokio::time::timeout(PATIENCE, receive(&mut io)).await.context("an answer in time")?
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Sends one frame.
///
/// # Errors
/// The other side has gone.
pub async fn send(io: &mut Stream, bytes: &[u8]) -> Result<()> {
    io.write_all(&u32::try_from(bytes.len())?.to_be_bytes()).await?;
    io.write_all(bytes).await?;
    Ok(io.flush().await?)
}

/// Receives one frame.
///
/// # Errors
/// The other side has gone.
pub async fn receive(io: &mut Stream) -> Result<Vec<u8>> {
    let mut length = [0; 4];
    io.read_exact(&mut length).await?;
    let length = usize::try_from(u32::from_be_bytes(length))?;
    anyhow::ensure!(length <= FRAME_BYTES_MAX, "a frame of {length} bytes");
    let mut bytes = vec![0; length];
    io.read_exact(&mut bytes).await?;
    Ok(bytes)
}
