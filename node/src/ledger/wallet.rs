//! The node's own wallet: what the node itself asks of the ledger, under its own key. One after another, so that each finds
//! its number free; one that nobody has decided yet keeps its number and holds up nobody behind it.

use std::sync::Arc;
use std::time::Duration;

use angel_protocol::crypto::NodeKey;
use angel_protocol::ids::Did;
use angel_protocol::ledger::transaction::InvalidTransaction;
use angel_protocol::ledger::{Action, Outcome, Signed, Transaction, TransactionId};
use angel_protocol::mempool::{Refusal, Slot};
use tokio::sync::Semaphore;

use super::{Ledger, LedgerError};
use crate::clock;
use crate::mempool::SubmitError;

/// How long the node waits for a decision.
const WAIT: Duration = Duration::from_secs(30);

/// How long its transactions may wait to be decided.
const LIFE: Duration = Duration::from_hours(1);

/// How often another number is tried: another process may sign with the same key.
const TRIES: usize = 4;

/// The node's wallet. Cheap to clone; the clones take turns.
#[derive(Clone, Debug)]
pub struct NodeWallet {
    ledger: Ledger,
    key: Arc<NodeKey>,
    turn: Arc<Semaphore>,
}

/// Why the node's transaction came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum WalletError {
    /// The ledger refuses it, and so does every node.
    #[error("{0}")]
    Outcome(Outcome),
    /// It cannot be made.
    #[error(transparent)]
    Invalid(#[from] InvalidTransaction),
    /// It does not get as far as the ledger.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// The validators have not decided.
    #[error("the network has not decided yet; ask for the transaction {0} later")]
    Undecided(TransactionId),
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl NodeWallet {
    /// The wallet of the node whose key this is.
    #[must_use]
    pub fn new(ledger: Ledger, key: Arc<NodeKey>) -> Self {
        Self { ledger, key, turn: Arc::new(Semaphore::new(1)) }
    }

    /// Whose wallet it is.
    #[must_use]
    pub fn did(&self) -> Did {
        self.key.did()
    }

    /// The ledger that it is on.
    #[must_use]
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The key that signs.
    #[must_use]
    pub fn key(&self) -> &NodeKey {
        &self.key
    }

    /// Asks for `action` and waits until it is decided.
    ///
    /// # Errors
    /// [`WalletError`], by name: [`WalletError::Outcome`] where it was refused.
    pub async fn act(&self, action: Action) -> Result<TransactionId, WalletError> {
        self.settle(None, action).await
    }

    /// As [`Self::act`], under the id that follows from `nonce`: others may have signed something that names it. Asking
    /// again for what was posted is fine.
    ///
    /// # Errors
    /// As [`Self::act`].
    pub async fn act_as(&self, nonce: [u8; 16], action: Action) -> Result<TransactionId, WalletError> {
        self.settle(Some(nonce), action).await
    }

    /// Asking again for what waits already waits for that one.
    async fn settle(&self, nonce: Option<[u8; 16]>, action: Action) -> Result<TransactionId, WalletError> {
        // The permit is given back by the next line of whoever waits, and the semaphore is never closed.
        let _turn = self.turn.acquire().await.expect("nobody closes the queue of the node's wallet");
        let mut tries = 0;
        loop {
            tries += 1;
            let next = self.ledger.wallet(self.did()).await?.map_or(0, |wallet| wallet.sequence);
            let signed = match self.ledger.slot(self.did(), next, nonce, action.clone()).await? {
                Slot::Waits(signed) => signed,
                Slot::Free(sequence) => {
                    let transaction = Transaction {
                        network: self.ledger.network().clone(),
                        wallet: self.did(),
                        sequence,
                        nonce: nonce.unwrap_or_else(rand::random),
                        expires: clock::now() + LIFE,
                        action: action.clone(),
                    };
                    Signed::sign(&transaction, &self.key)?
                }
            };
            let id = signed.id();
            match self.ledger.submit_and_wait(signed, WAIT).await {
                Ok(Some(Outcome::Posted)) => return Ok(id),
                Ok(None) => return Err(WalletError::Undecided(id)),
                Err(SubmitError::Decided | SubmitError::Outcome(Outcome::IdReused)) => {
                    return match self.ledger.receipt(id).await?.map(|receipt| receipt.outcome) {
                        Some(Outcome::Posted) => Ok(id),
                        Some(outcome) => Err(WalletError::Outcome(outcome)),
                        None => Err(WalletError::Undecided(id)),
                    };
                }
                Ok(Some(Outcome::SequencePassed))
                | Err(
                    SubmitError::Outcome(Outcome::SequencePassed)
                    | SubmitError::Refused(Refusal::SequencePassed { .. } | Refusal::SequenceTaken),
                ) if tries < TRIES => {}
                Ok(Some(outcome)) | Err(SubmitError::Outcome(outcome)) => return Err(WalletError::Outcome(outcome)),
                Err(error) => return Err(error.into()),
            }
        }
    }
}
