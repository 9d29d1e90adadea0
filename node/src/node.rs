//! The composition root: what a node is made of, started in one readable order and stopped in the reverse. The only
//! place that knows everyone, and it has no behaviour of its own.
//!
//! Nothing here is global: several nodes live in one process, each with its own data directory, ports, metrics
//! and span.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use angel_protocol::crypto::NodeKey;
use angel_protocol::ids::{Did, NetworkId, NodeName};
use angel_storage::Store;
use angel_storage::store::{CloseError, OpenError};
use prometheus_client::registry::Registry;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};
use tracing::{Instrument, Span, info_span};
use url::Url;

use crate::clock;
use crate::config::Config;
use crate::data_dir::{DataDir, DataDirError, Layout, write_atomically};
use crate::events::Events;
use crate::federation;
use crate::fetch::FetchError;
use crate::health::{Health, Importance, ServiceState};
use crate::http::admin::Admin;
use crate::http::federation::Federation;
use crate::http::router::{self, MetricsPage};
use crate::http::server::{self, BindError};
use crate::keys::Identity;
use crate::machine::{self, Load, ProcessCollector};
use crate::membership::{self, DriverError};
use crate::network::{self, Multiaddr, NetworkCollector, PeerId};
use crate::secrets::{AdminPassword, SecretError};
use crate::storage::{self, StorageCollector};
use crate::tasks::{TaskFailed, Tasks};
use crate::telemetry::LogControl;

mod parts;

/// The version of this software.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How long an orderly stop may take in all.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// Part of [`STOP_LIMIT`] that is kept for closing what the tasks used.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// Why a node did not start. Everything that was started is stopped again then.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// A key or password.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The HTTP port.
    #[error(transparent)]
    Http(#[from] BindError),
    /// The store.
    #[error(transparent)]
    Storage(#[from] OpenError),
    /// The peer-to-peer network.
    #[error(transparent)]
    Network(#[from] network::StartError),
    /// What is known of the network's nodes.
    #[error(transparent)]
    Membership(#[from] DriverError),
    /// Requests to other nodes cannot be made.
    #[error("the HTTP client does not start: {0}")]
    Fetch(#[from] FetchError),
    /// A step that blocks did not come to an end.
    #[error("starting was cut short: {0}")]
    Cut(#[from] JoinError),
}

/// Why a node did not end well.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// A task ended unasked, and took the node with it.
    #[error("{0}")]
    Task(TaskFailed),
    /// Tasks did not end in time.
    #[error("would not stop within {} s: {}", STOP_LIMIT.as_secs(), names.join(", "))]
    Stragglers {
        /// Their names.
        names: Vec<&'static str>,
    },
    /// The store could not be closed; what was acknowledged is safe.
    #[error("the store was not closed cleanly: {0}")]
    Storage(#[from] CloseError),
    /// The stopping itself broke.
    #[error("stopping was cut short: {0}")]
    Cut(#[from] JoinError),
}

/// Why a node ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to stop.
    Asked,
    /// It should be started again, under a new key.
    Restart,
}

/// What a running node is, for whoever wants to know.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeFacts {
    /// The node's DID.
    pub did: Did,
    /// Its libp2p peer id, of the same key.
    #[serde(serialize_with = "as_text")]
    pub peer_id: PeerId,
    /// Its id on the network.
    pub node_id: NodeName,
    /// Its name for people.
    pub name: String,
    /// The network it belongs to.
    pub network: NetworkId,
    /// Where the world reaches its HTTP.
    pub public_url: Option<Url>,
    /// How to reach its operator.
    pub operator_contact: Option<String>,
    /// The address its HTTP listens on, with the real port.
    pub http_addr: SocketAddr,
    /// The multiaddresses it listens on, with the real ports.
    pub p2p: Vec<Multiaddr>,
    /// Where the admin password lies, unless the environment gave it.
    pub admin_password_file: Option<PathBuf>,
    /// The version of the software.
    pub version: &'static str,
}

/// `DATA_DIR/run/node.json`: how to reach the daemon that runs there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunFile {
    /// The node's DID.
    pub did: String,
    /// Its libp2p peer id.
    pub peer_id: String,
    /// The process.
    pub pid: u32,
    /// Where its HTTP answers, from this machine.
    pub http_url: String,
    /// The multiaddresses it listens on.
    pub p2p: Vec<String>,
    /// Where the admin password lies; absent when the environment gave it.
    pub admin_password_file: Option<PathBuf>,
    /// The version of the software.
    pub version: String,
}

impl NodeFacts {
    /// The facts for `run/node.json`.
    #[must_use]
    pub fn run_file(&self) -> RunFile {
        RunFile {
            did: self.did.to_string(),
            peer_id: self.peer_id.to_string(),
            pid: std::process::id(),
            http_url: format!("http://{}", from_this_machine(self.http_addr)),
            p2p: self.p2p.iter().map(ToString::to_string).collect(),
            admin_password_file: self.admin_password_file.clone(),
            version: self.version.to_owned(),
        }
    }
}

fn as_text<S: serde::Serializer>(value: &impl std::fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// A listening address as one to connect to: "all addresses" is none.
fn from_this_machine(mut addr: SocketAddr) -> SocketAddr {
    match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => addr.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => addr.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    addr
}

/// Asks the node to end. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Control {
    wish: Arc<watch::Sender<Option<Ended>>>,
    preparing: Arc<AtomicBool>,
}

/// The right to prepare a restart, held by one at a time. Dropped unused, the node goes on as it is.
#[derive(Debug)]
pub(crate) struct Restart {
    control: Control,
}

impl Restart {
    /// End and start again.
    pub(crate) fn go(self) {
        self.control.ask(Ended::Restart);
    }
}

impl Drop for Restart {
    fn drop(&mut self) {
        self.control.preparing.store(false, Ordering::Release);
    }
}

impl Control {
    fn new() -> Self {
        Self { wish: Arc::new(watch::channel(None).0), preparing: Arc::default() }
    }

    /// Prepares a restart, as a rotation of the key does, unless another is being prepared or the node is ending.
    pub(crate) fn prepare_restart(&self) -> Option<Restart> {
        let taken = self.preparing.swap(true, Ordering::AcqRel);
        if taken {
            return None;
        }
        let restart = Restart { control: self.clone() };
        self.wish.borrow().is_none().then_some(restart)
    }

    /// The first wish counts.
    fn ask(&self, wanted: Ended) {
        self.wish.send_if_modified(|wish| wish.is_none() && wish.replace(wanted).is_none());
    }

    async fn asked(&self) -> Ended {
        let mut wish = self.wish.subscribe();
        let asked = *wish.wait_for(Option::is_some).await.expect("the sender lives as long as self");
        asked.expect("waited for a wish")
    }
}

/// Starts nodes.
#[derive(Debug)]
pub struct Node {
    config: Config,
    settings: serde_json::Value,
    genesis: Option<PathBuf>,
    log: Option<LogControl>,
    admin_password: Option<String>,
}

impl Node {
    /// A node with this configuration and nothing from its surroundings.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self { config, settings: serde_json::Value::Null, genesis: None, log: None, admin_password: None }
    }

    /// The settings with their origins, for the admin API to show.
    #[must_use]
    pub fn with_settings(self, settings: serde_json::Value) -> Self {
        Self { settings, ..self }
    }

    /// The genesis file of the network, kept in the data directory for the ledger.
    #[must_use]
    pub fn with_genesis(self, genesis: Option<PathBuf>) -> Self {
        Self { genesis, ..self }
    }

    /// The log of the process, for the admin API to change.
    #[must_use]
    pub fn with_log(self, log: LogControl) -> Self {
        Self { log: Some(log), ..self }
    }

    /// The admin password to use instead of the generated one.
    #[must_use]
    pub fn with_admin_password(self, admin_password: Option<String>) -> Self {
        Self { admin_password, ..self }
    }

    /// Starts a node with this configuration alone.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(config: Config) -> Result<NodeHandle, StartError> {
        Self::new(config).run().await
    }

    /// Starts the node and returns when it is ready.
    ///
    /// # Errors
    /// [`StartError`], by what stood in the way.
    pub async fn run(self) -> Result<NodeHandle, StartError> {
        let span = info_span!("node", data_dir = %self.config.data_dir().display());
        let tasks = Tasks::new(span.clone());
        match self.build(&tasks).instrument(span.clone()).await {
            Ok(built) => Ok(NodeHandle::supervise(built, tasks, span)),
            Err(error) => {
                tasks.stop(STOP_LIMIT).await;
                Err(error)
            }
        }
    }

    /// The order of construction.
    async fn build(self, tasks: &Tasks) -> Result<Built, StartError> {
        let Self { config, settings, genesis, log, admin_password } = self;
        let started = Instant::now();
        let spawner = tasks.spawner();

        // What is on disk: nothing else is touched before the lock is ours.
        let root = config.data_dir().to_owned();
        let disk = tokio::task::spawn_blocking(move || Disk::open(root, genesis, admin_password));
        let Disk { data_dir, password, identity, first_load } = disk.await??;
        let layout = data_dir.layout().clone();

        // The port, before anything costly: a taken one is the most common reason not to start.
        let http = server::bind(&config.http).await?;

        // What survives a restart.
        let storage_config = config.storage.clone();
        let storage_dir = layout.storage();
        let opening = tokio::task::spawn_blocking(move || storage::open(&storage_dir, &storage_config));
        let (store, storage_failure) = opening.await??;

        // What counts and what is watched.
        let mut registry = Registry::default();
        let events = Events::new(&mut registry);
        registry.register_collector(Box::new(ProcessCollector::new(started)));
        let health = Health::default();
        let _identity_health = health.register("identity", Importance::Vital, ServiceState::Ok);
        let storage_health = health.register("storage", Importance::Vital, ServiceState::Ok);
        registry.register_collector(Box::new(StorageCollector(store.writer().clone())));
        spawner.spawn("storage", |stop| storage::watch(storage_failure, storage_health, stop));
        let (load_sender, load) = watch::channel(first_load);
        spawner.spawn("machine", |stop| machine::run(layout.root().to_owned(), load_sender, stop));

        // Who the others are, and who is alive. The network stops first, and what it says last is still heard.
        let own = parts::own_node(&config, &identity);
        let (node_id, name) = (own.node_id.clone(), own.name.clone());
        let (network, network_events, network_task) = network::start(parts::network(&config, &identity))?;
        registry.register_collector(Box::new(NetworkCollector(network.clone())));
        let (membership, commands) = membership::Handle::new();
        let parts = membership::Parts {
            config: parts::membership(&config),
            own,
            scope: parts::scope(&config),
            listeners: config.network.listen.len(),
            key: Arc::new(NodeKey::from_seed(&identity.key().seed())),
            invite: config.network.invitation.clone(),
            rotation: identity.rotation_statement(&config.network.id),
            seed: rand::random(),
            reader: store.reader().clone(),
            writer: store.writer().clone(),
            network: network.clone(),
            network_events,
            load: load.clone(),
            events: events.clone(),
            service: health.register("federation", Importance::Helpful, ServiceState::Off("starting".to_owned())),
        };
        let driver = tokio::task::spawn_blocking(move || membership::Driver::new(parts, commands)).await??;
        spawner.spawn("membership", |stop| driver.run(stop));
        spawner.spawn("network", |stop| async move { Ok(network_task.run(stop).await?) });
        network.until_listening(config.network.listen.len()).await;
        let exchange = federation::Exchange::new(&config, parts::scope(&config), membership.clone())?;
        spawner.spawn("federation", |stop| exchange.run(stop));

        // What this node is.
        let facts = Arc::new(NodeFacts {
            did: identity.did().clone(),
            peer_id: identity.peer_id(),
            name,
            node_id,
            network: config.network.id.clone(),
            public_url: config.node.public_url.clone(),
            operator_contact: config.node.operator_contact.clone(),
            http_addr: http.addr(),
            p2p: network.listen_addresses(),
            admin_password_file: password.file().map(ToOwned::to_owned),
            version: VERSION,
        });
        let federation =
            Federation { network: config.network.id.clone(), membership: membership.clone(), events: events.clone() };

        // Who asks: last, when there is somebody to answer.
        let control = Control::new();
        let admin = Arc::new(Admin {
            membership,
            password,
            facts: Arc::clone(&facts),
            health: health.clone(),
            load: load.clone(),
            started,
            settings,
            log,
            control: control.clone(),
            layout: layout.clone(),
            rotation_overlap: config.identity.rotation_overlap,
        });
        let router = router::build(router::Parts {
            config: config.http.clone(),
            facts: Arc::clone(&facts),
            health: health.clone(),
            federation,
            events: events.clone(),
            metrics: MetricsPage {
                registry: Arc::new(registry),
                access: config.http.metrics,
                admin: Arc::clone(&admin),
            },
            admin,
        });
        spawner.spawn("http", |stop| http.serve(router, events, stop));

        write_run_file(&layout, &facts)?;
        tracing::info!(did = %facts.did, http = %facts.http_addr, took_ms = started.elapsed().as_millis(), "ready");
        Ok(Built { data_dir, store, facts, control, health, load })
    }
}

/// What lies in the data directory and is read before anything starts.
struct Disk {
    data_dir: DataDir,
    password: AdminPassword,
    identity: Identity,
    first_load: Load,
}

impl Disk {
    fn open(root: PathBuf, genesis: Option<PathBuf>, admin_password: Option<String>) -> Result<Self, StartError> {
        let data_dir = DataDir::open(&root)?;
        if let Some(path) = genesis {
            data_dir.take_genesis(&path)?;
        }
        let password = AdminPassword::load(data_dir.layout(), admin_password)?;
        let identity = Identity::load_or_create(data_dir.layout(), clock::now())?;
        Ok(Self { password, identity, first_load: machine::first_load(data_dir.layout().root()), data_dir })
    }
}

fn write_run_file(layout: &Layout, facts: &NodeFacts) -> Result<(), DataDirError> {
    let text = serde_json::to_string(&facts.run_file()).expect("strings and numbers make JSON");
    write_atomically(&layout.node_json(), format!("{text}\n").as_bytes(), 0o600)
}

/// A node that was built.
struct Built {
    data_dir: DataDir,
    store: Store,
    facts: Arc<NodeFacts>,
    control: Control,
    health: Health,
    load: watch::Receiver<Load>,
}

/// Closes what the tasks used, the lock last. Blocks.
fn close(store: Store, data_dir: DataDir) -> Result<(), CloseError> {
    let closed = store.close();
    drop(std::fs::remove_file(data_dir.layout().node_json()));
    closed
}

/// A running node. Dropping it asks the node to stop without waiting for it.
#[derive(Debug)]
pub struct NodeHandle {
    facts: Arc<NodeFacts>,
    control: Control,
    health: Health,
    load: watch::Receiver<Load>,
    supervisor: JoinHandle<Result<Ended, StopError>>,
}

impl NodeHandle {
    fn supervise(built: Built, tasks: Tasks, span: Span) -> Self {
        let Built { data_dir, store, facts, control, health, load } = built;
        let asking = control.clone();
        let supervisor = async move {
            let ended = tokio::select! {
                ended = asking.asked() => Ok(ended),
                failed = tasks.failed() => Err(StopError::Task(failed)),
            };
            let names = tasks.stop(STOP_LIMIT - CLOSE_LIMIT).await;
            if !names.is_empty() {
                tracing::error!(tasks = names.join(", "), "these would not stop");
            }
            let closing = tokio::task::spawn_blocking(move || close(store, data_dir));
            let Ok(closed) = tokio::time::timeout(CLOSE_LIMIT, closing).await else {
                tracing::error!("the store would not close in time; what was acknowledged is safe");
                return Err(StopError::Stragglers { names: vec!["store"] });
            };
            let closed = closed?;
            tracing::info!("stopped");
            // The first thing that went wrong is the cause of the others.
            let ended = ended?;
            if !names.is_empty() {
                return Err(StopError::Stragglers { names });
            }
            closed?;
            Ok(ended)
        };
        let supervisor = tokio::spawn(supervisor.instrument(span));
        Self { facts, control, health, load, supervisor }
    }

    /// What the node is.
    #[must_use]
    pub fn facts(&self) -> &NodeFacts {
        &self.facts
    }

    /// How its services are.
    #[must_use]
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// How busy its machine is.
    #[must_use]
    pub fn load(&self) -> Load {
        *self.load.borrow()
    }

    /// Waits until the node has ended, for whatever reason. Cancel-safe; call it again only while it has not returned.
    ///
    /// # Errors
    /// [`StopError`] when a task failed or would not stop.
    pub async fn join(&mut self) -> Result<Ended, StopError> {
        (&mut self.supervisor).await?
    }

    /// Asks the node to stop; [`Self::join`] tells when it has.
    pub fn stop(&self) {
        self.control.ask(Ended::Asked);
    }

    /// Stops the node and waits for it.
    ///
    /// # Errors
    /// As [`Self::join`].
    pub async fn shutdown(mut self) -> Result<(), StopError> {
        self.stop();
        self.join().await.map(drop)
    }
}

impl Drop for NodeHandle {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::{Control, Ended};

    #[tokio::test]
    async fn one_restart_is_prepared_at_a_time_and_the_first_wish_counts() {
        let control = Control::new();
        let restart = control.prepare_restart().expect("free");
        assert!(control.prepare_restart().is_none(), "one is being prepared");
        drop(restart);
        control.prepare_restart().expect("given up, so free again").go();
        assert!(control.prepare_restart().is_none(), "the node is ending");
        control.ask(Ended::Asked);
        assert_eq!(control.asked().await, Ended::Restart);
    }
}
