//! The engine's actors, put together: consensus, its log, value sync, and between them the application and the network,
//! which are ours.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use angel_protocol::consensus::{Address, LedgerContext};
use async_trait::async_trait;
use malachitebft_config::{ConsensusConfig, ValuePayload as ConfiguredPayload};
use malachitebft_core_consensus::ValuePayload;
use malachitebft_engine::consensus::{Consensus, ConsensusParams};
use malachitebft_engine::host::{HostMsg, HostRef};
use malachitebft_engine::network::NetworkRef;
use malachitebft_engine::node::{Node, NodeRef};
use malachitebft_engine::sync::{Params as SyncParams, Sync};
use malachitebft_engine::util::events::TxEvent;
use malachitebft_engine::util::output_port::OutputPort;
use malachitebft_engine::wal::Wal;
use malachitebft_metrics::{Metrics, Registry, SharedRegistry};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::codec::BorshCodec;
use super::signer::Voice;
use crate::blocking;
use crate::network::Stopped;

/// Questions of the engine that may wait for the application. It asks few at a time.
const QUESTIONS_MAX: usize = 256;

/// How often a node says how far it is, when nothing else tells.
pub(super) const STATUS_INTERVAL: Duration = Duration::from_secs(5);

/// How long a peer may take to send what was asked for.
pub(super) const SYNC_TIMEOUT: Duration = Duration::from_secs(10);

/// Largest answer with decided heights, in bytes: eight full batches.
pub(super) const SYNC_BYTES_MAX: usize = 10 * 1024 * 1024;

/// Heights asked for at once.
pub(super) const SYNC_HEIGHTS_MAX: usize = 64;

/// How often, and after how long, it is looked whether a stopped engine has let go of its log.
const LOG_TRIES: usize = 100;
const LOG_WAIT: Duration = Duration::from_millis(50);

/// A question of the engine with its way back.
pub(super) type Question = HostMsg<LedgerContext>;

/// Passes the engine's questions on as they come. It waits for no answer, so one that takes its time holds up no other.
struct Host;

#[async_trait]
impl Actor for Host {
    type Msg = Question;
    type State = mpsc::Sender<Question>;
    type Arguments = mpsc::Sender<Question>;

    async fn pre_start(
        &self,
        _: ActorRef<Question>,
        questions: mpsc::Sender<Question>,
    ) -> Result<Self::State, ActorProcessingErr> {
        Ok(questions)
    }

    async fn handle(
        &self,
        _: ActorRef<Question>,
        question: Question,
        questions: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        questions.send(question).await.map_err(|_| ActorProcessingErr::from(Stopped))
    }
}

/// The running engine.
pub(super) struct Engine {
    node: NodeRef,
    ended: JoinHandle<()>,
}

/// Why the engine did not start.
#[derive(Debug, thiserror::Error)]
pub(super) enum EngineError {
    /// An actor.
    #[error("the consensus engine does not start: {0}")]
    Spawn(#[from] ractor::SpawnErr),
    /// The directory of its log.
    #[error("the consensus log cannot be kept in {dir}: {source}")]
    Directory {
        /// The directory.
        dir: String,
        /// Why.
        source: std::io::Error,
    },
}

/// The file of the engine's log.
pub(super) fn log_path(dir: &Path) -> PathBuf {
    dir.join("log")
}

/// Waits until a stopped engine has let go of its log, which it does on a thread of its own. Should it not, starting
/// says why.
pub(super) async fn until_log_is_free(dir: &Path) {
    let log = log_path(dir);
    for _ in 0..LOG_TRIES {
        let path = log.clone();
        if blocking::run(move || malachitebft_wal::Log::open(path).is_ok()).await {
            return;
        }
        tokio::time::sleep(LOG_WAIT).await;
    }
}

/// Starts the engine and answers where its questions come. One that does not vote follows what the others decide.
pub(super) async fn start(
    own: Address,
    voice: &Voice,
    dir: &Path,
    network: NetworkRef<LedgerContext>,
    votes: bool,
) -> Result<(Engine, mpsc::Receiver<Question>), EngineError> {
    let shown = dir.display().to_string();
    tokio::fs::create_dir_all(dir).await.map_err(|source| EngineError::Directory { dir: shown, source })?;
    let span = tracing::Span::current();
    // Each engine has its own registry: several nodes live in one process.
    let registry = SharedRegistry::new(Registry::default(), None);
    let metrics = Metrics::register(&registry);
    let (node, ended) = Node::new(metrics.clone(), span.clone()).spawn().await?;
    network.link(node.get_cell());

    let log = log_path(dir);
    let wal = Wal::spawn(&LedgerContext, BorshCodec, log, registry.clone(), span.clone(), node.clone()).await?;
    wal.link(node.get_cell());

    let (sender, questions) = mpsc::channel(QUESTIONS_MAX);
    let (host, _): (HostRef<LedgerContext>, _) = Actor::spawn(None, Host, sender).await?;
    host.link(node.get_cell());

    let sync_port = Arc::new(OutputPort::new());
    let params = ConsensusParams {
        address: own,
        threshold_params: Default::default(),
        value_payload: ValuePayload::ProposalAndParts,
        enabled: votes,
    };
    let config = ConsensusConfig {
        value_payload: ConfiguredPayload::ProposalAndParts,
        // A round of a hundred validators has 199 messages; some rounds of the next height may come early.
        queue_capacity: 16,
        queue_per_height_capacity: 2048,
        ..ConsensusConfig::default()
    };
    let consensus = Consensus::spawn(
        LedgerContext,
        params,
        config,
        Box::new(voice.clone()),
        Some(Box::new(voice.clone())),
        network.clone(),
        host.clone(),
        wal,
        Arc::clone(&sync_port),
        metrics,
        TxEvent::new(),
        node.clone(),
        span.clone(),
    )
    .await?;
    consensus.link(node.get_cell());

    let sync_config = malachitebft_sync::Config::default()
        .with_request_timeout(SYNC_TIMEOUT)
        .with_max_response_size(SYNC_BYTES_MAX)
        .with_parallel_requests(4)
        .with_batch_size(SYNC_HEIGHTS_MAX);
    let params = SyncParams { status_update_interval: STATUS_INTERVAL, request_timeout: SYNC_TIMEOUT };
    let metrics = malachitebft_sync::Metrics::register(&registry, params.status_update_interval);
    let sync =
        Sync::spawn(LedgerContext, network, host, consensus, params, BorshCodec, sync_config, metrics, span).await?;
    sync.link(node.get_cell());
    {
        use malachitebft_engine::util::output_port::OutputPortSubscriberTrait;
        sync.subscribe_to_port(&sync_port);
    }
    Ok((Engine { node, ended }, questions))
}

impl Engine {
    /// Waits until the engine has ended. It does so unasked only when it fails.
    pub(super) async fn ended(&mut self) {
        // An aborted supervisor has ended too.
        let _ = (&mut self.ended).await;
    }

    /// Stops the actors, the supervisor last.
    pub(super) async fn stop(self) {
        let Self { node, ended } = self;
        node.get_cell().stop_children(Some("the node stops".to_owned()));
        node.stop(Some("the node stops".to_owned()));
        // One that has ended unasked was waited for already.
        if !ended.is_finished() {
            // An aborted supervisor has ended too.
            let _ = ended.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_engine_that_ended_unasked_is_stopped_all_the_same() {
        let metrics = Metrics::register(&SharedRegistry::new(Registry::default(), None));
        let (node, ended) = Node::new(metrics, tracing::Span::current()).spawn().await.expect("starts");
        let mut engine = Engine { node: node.clone(), ended };
        node.stop(None);
        engine.ended().await;
        engine.stop().await;
    }
}
