//! A running node: watched, asked, and stopped in the reverse of the order in which it was started.

use std::sync::Arc;
use std::time::Duration;

use angel_storage::Store;
use angel_storage::store::CloseError;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{Instrument, Span};

use super::error::StopError;
use crate::control::{Control, Ended};
use crate::data_dir::DataDir;
use crate::facts::NodeFacts;
use crate::health::Health;
use crate::ledger::Ledger;
use crate::machine::Load;
use crate::tasks::Tasks;

/// How long an orderly stop may take in all.
pub(super) const STOP_LIMIT: Duration = Duration::from_secs(10);

/// Part of [`STOP_LIMIT`] that is kept for closing what the tasks used.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// A node that was built.
pub(super) struct Built {
    pub(super) data_dir: DataDir,
    pub(super) store: Store,
    pub(super) facts: Arc<NodeFacts>,
    pub(super) control: Control,
    pub(super) health: Health,
    pub(super) load: watch::Receiver<Load>,
    pub(super) ledger: Ledger,
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
    ledger: Ledger,
    supervisor: JoinHandle<Result<Ended, StopError>>,
}

impl NodeHandle {
    pub(super) fn supervise(built: Built, tasks: Tasks, span: Span) -> Self {
        let Built { data_dir, store, facts, control, health, load, ledger } = built;
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
        Self { facts, control, health, load, ledger, supervisor }
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

    /// Its ledger.
    #[must_use]
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
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
