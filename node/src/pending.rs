//! What the last run left undone: accounts and handles whose operation the network was still to decide when the node
//! stopped. Each is finished at the start, or as soon as the validators decide.

use angel_protocol::ids::Did;
use angel_protocol::plc::PlcOperation;
use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use crate::blocking;
use crate::directory::DirectoryError;
use crate::handles::{HandleError, Handles};
use crate::lifecycle::{Lifecycle, LifecycleError};
use crate::tasks::TaskResult;

/// How many are waited for at once.
const TOGETHER: usize = 32;

/// Whoever finishes what is pending.
pub(crate) struct Pending {
    pub(crate) lifecycle: Lifecycle,
    pub(crate) handles: Handles,
}

#[derive(Debug, thiserror::Error)]
enum PendingError {
    #[error(transparent)]
    Lifecycle(#[from] LifecycleError),
    #[error(transparent)]
    Handle(#[from] HandleError),
}

impl Pending {
    /// Finishes what there is, and waits to be stopped.
    pub(crate) async fn run(self, stop: CancellationToken) -> TaskResult {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            finished = self.finish_all() => finished?,
        }
        stop.cancelled().await;
        Ok(())
    }

    /// Finishes what there is. Cut short, it leaves the rest to the next start.
    pub(crate) async fn finish_all(&self) -> Result<(), DirectoryError> {
        let mut after: Option<Did> = None;
        loop {
            let (directory, from) = (self.lifecycle.identities.directory().clone(), after.clone());
            let page = blocking::run(move || directory.pending_blocking(from.as_ref())).await?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            futures::stream::iter(page)
                .for_each_concurrent(TOGETHER, |(did, operation)| async move {
                    match self.finish(did.clone(), operation).await {
                        Ok(()) => tracing::info!(%did, "what was pending of an identity is finished"),
                        Err(error) => tracing::warn!(%did, %error, "what was pending of an identity came to nothing"),
                    }
                })
                .await;
        }
    }

    async fn finish(&self, did: Did, operation: PlcOperation) -> Result<(), PendingError> {
        let account = self.lifecycle.accounts.by_did(&did).await.map_err(LifecycleError::from)?;
        match account {
            None => self.lifecycle.forget_pending(did).await?,
            Some(account) if operation.creates().is_some() => {
                drop(self.lifecycle.open(account.id(), did, operation, None).await?);
            }
            Some(account) => self.handles.follow(account.id(), did, operation).await?,
        }
        Ok(())
    }
}
