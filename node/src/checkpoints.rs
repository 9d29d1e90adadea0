//! Checkpoints in public: the ledger's roots that are due, as records of the node's own account where it has one, under
//! this validator's signature. Whoever kept one can tell later whether history was rewritten. Says nothing while nothing is
//! decided, and makes no account.

use std::sync::Arc;
use std::time::Duration;

use angel_protocol::crypto::NodeKey;
use angel_protocol::data::{Value, record_from_json};
use angel_protocol::ids::{RepoPath, Tid};
use angel_protocol::ledger::Checkpoint;
use angel_protocol::ledger::checkpoint::CHECKPOINT;
use angel_storage::ledger::{Decision, StoredCheckpoint};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::http::ledger::hex;
use crate::ledger::{Ledger, LedgerError};
use crate::service_account::{ServiceAccount, ServiceAccountError};
use crate::tasks::TaskResult;

/// The collection of checkpoints.
const COLLECTION: &str = "co.kendev.network.checkpoint";

/// A busy ledger has a checkpoint every few heights. After one was published, the next is the newest after this time.
const PAUSE: Duration = Duration::from_secs(60);

/// Publishes checkpoints.
pub(crate) struct Checkpoints {
    pub(crate) ledger: Ledger,
    pub(crate) key: Arc<NodeKey>,
    pub(crate) account: ServiceAccount,
}

/// Why a checkpoint was not published. The next one is tried again.
#[derive(Debug, thiserror::Error)]
enum NotPublished {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Account(#[from] ServiceAccountError),
}

impl Checkpoints {
    /// Publishes each newest checkpoint until told to stop.
    pub(crate) async fn run(self, stop: CancellationToken) -> TaskResult {
        let mut tip = self.ledger.watch();
        let mut published = 0;
        loop {
            tip.mark_unchanged();
            let pause = match self.publish(published).await {
                Ok(None) => Duration::ZERO,
                Ok(Some(height)) => {
                    published = height;
                    PAUSE
                }
                Err(error) => {
                    tracing::warn!(%error, "a checkpoint of the ledger was not published; the next one is tried again");
                    PAUSE
                }
            };
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(pause) => {}
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                // A ledger that has ended takes the node with it.
                changed = tip.changed() => if changed.is_err() { return Ok(()) },
            }
        }
    }

    /// Publishes the newest checkpoint if it is above `published`, and answers its height. Only those who decided it
    /// have something to sign.
    async fn publish(&self, published: u64) -> Result<Option<u64>, NotPublished> {
        let Some((checkpoint, decision)) = self.ledger.latest_checkpoint().await? else { return Ok(None) };
        let height = decision.header.height;
        if height <= published {
            return Ok(None);
        }
        let validators = self.ledger.validators(height).await?.unwrap_or_default();
        if !validators.contains(self.ledger.own()) {
            return Ok(Some(height));
        }
        // The account is made by publishing the lexicons, once the node has a public name: it is an identity for good.
        if !self.account.exists().await? {
            return Ok(None);
        }
        let (path, record) = self.record(&checkpoint, &decision);
        self.account.publish(vec![(path, record)], clock::now()).await?;
        Ok(Some(height))
    }

    /// The record of a checkpoint. It follows from what was decided, so that publishing it again changes nothing.
    fn record(&self, stored: &StoredCheckpoint, decision: &Decision) -> (RepoPath, Value) {
        let header = &decision.header;
        let signature = self.key.sign(CHECKPOINT, &statement(stored, decision).sign_bytes());
        let mut json = json!({
            "$type": COLLECTION,
            "height": header.height,
            "ledgerRoot": hex(&stored.root),
            "transactionCount": stored.transactions,
            "signatures": [{
                "validator": self.key.did(),
                "signature": { "$bytes": STANDARD_NO_PAD.encode(signature) },
            }],
            "createdAt": header.time.to_string(),
        });
        if stored.previous != [0; 32] {
            json["previous"] = hex(&stored.previous).into();
        }
        let key = Tid::new(header.time.as_millis().saturating_mul(1000), 0);
        let path = format!("{COLLECTION}/{key}").parse().expect("a TID is a record key");
        (path, record_from_json(&json).expect("a checkpoint holds texts, whole numbers and bytes"))
    }
}

/// What a validator signs of a checkpoint.
pub(crate) fn statement(stored: &StoredCheckpoint, decision: &Decision) -> Checkpoint {
    Checkpoint {
        network: decision.header.network.clone(),
        height: decision.header.height,
        root: stored.root,
        transactions: stored.transactions,
        previous: stored.previous,
    }
}
