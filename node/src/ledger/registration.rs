//! This node's entry among the nodes of its network: made when it is missing, so that the node can host tenants and be
//! paid. A node of the genesis has one from the beginning.

use std::time::Duration;

use angel_protocol::ledger::action::RegisterNode;
use angel_protocol::ledger::{Action, Outcome};
use tokio_util::sync::CancellationToken;

use super::wallet::{NodeWallet, WalletError};
use crate::tasks::TaskResult;

/// How long to wait before asking again: validators may be out of reach, or the ledger still on its way.
const AGAIN_AFTER: Duration = Duration::from_secs(15);

/// What the node says of itself, and its wallet.
pub(crate) struct Registration {
    pub(crate) wallet: NodeWallet,
    pub(crate) entry: RegisterNode,
}

impl Registration {
    /// Registers the node unless it is, and waits to be stopped.
    pub(crate) async fn run(self, stop: CancellationToken) -> TaskResult {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            registered = self.register() => registered?,
        }
        stop.cancelled().await;
        Ok(())
    }

    async fn register(&self) -> Result<(), WalletError> {
        loop {
            let node = self.wallet.ledger().node(self.wallet.did()).await?;
            if node.is_some_and(|node| !node.retired) {
                return Ok(());
            }
            match self.wallet.act(Action::RegisterNode(self.entry.clone())).await {
                Ok(_) => {
                    tracing::info!(name = %self.entry.name, "this node is registered on the ledger");
                    return Ok(());
                }
                Err(WalletError::Outcome(
                    outcome @ (Outcome::NameTaken | Outcome::NotInvited | Outcome::NotPermitted),
                )) => {
                    tracing::warn!(%outcome, "this node is not registered on the ledger: it hosts no tenants of the network");
                    return Ok(());
                }
                Err(error) => tracing::debug!(%error, "this node is not registered on the ledger yet"),
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }
}
