//! The ledger as the rest of the node sees it: submitting, waiting for outcomes, reading balances, proofs and heights.
//!
//! Everything read here was decided and is durable. Deciding is `crate::consensus`'s; what waits is
//! [`crate::mempool`]'s.
//!
//! # Map
//!
//! | where | what |
//! |---|---|
//! | [`Ledger`] | the handle |
//! | `genesis` | height 0: given, or made by a node alone |
//! | [`wallet`] | what the node itself asks of the ledger |
//! | `registration` | this node's entry among the network's nodes |
//! | `verified` | signatures that were found good |
//! | `view` | the state on disk, read once per piece of work, and what of it is kept in memory |

#[cfg(test)]
pub(crate) mod alone;
pub(crate) mod custody;
pub mod genesis;
mod registration;
mod reopen;
#[cfg(test)]
pub(crate) mod samples;
mod verified;
mod view;
pub mod wallet;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use angel_protocol::ids::{Did, NetworkId};
use angel_protocol::ledger::proof::Subject;
use angel_protocol::ledger::rows::{self, Node, Receipt, Supply, Wallet};
use angel_protocol::ledger::view::ViewError;
use angel_protocol::ledger::{
    Action, ApplyError, Balance, Batch, LedgerProof, Outcome, Parameters, Rates, Signed, Transaction, TransactionId,
    ValidatorSet,
};
use angel_protocol::mempool::Slot;
use angel_protocol::time::Timestamp;
use angel_storage::ledger::decided::{self, Place};
use angel_storage::ledger::undecided::{self, Evidence};
use angel_storage::ledger::{self, DecideError, Decision, LedgerView, Movement, StoredCheckpoint};
use angel_storage::reader::ReadError;
use angel_storage::writer::CommitError;
use angel_storage::{Reader, Writer};
use tokio::sync::{broadcast, watch};

use crate::blocking;
use crate::mempool;

pub(crate) use registration::Registration;
pub(crate) use verified::Verified;
pub(crate) use view::{Cached, Kept, Over};
pub use wallet::NodeWallet;

/// How often a proof is tried again when a height is written meanwhile.
const PROOF_TRIES: usize = 8;

/// Proofs of double votes that are counted for the status.
const EVIDENCE_COUNTED: usize = 100;

/// Latest batches that are kept in memory, for those who follow height by height.
const RECENT_MAX: usize = 4;

/// Heights that a slow subscriber may lag behind before it has to read them from storage.
const HEIGHTS_KEPT: usize = 256;

/// How far the ledger has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tip {
    /// The latest height; 0 is genesis.
    pub height: u64,
    /// Its batch's time.
    pub time: Timestamp,
    /// Root of the state.
    pub root: [u8; 32],
}

/// What all parts of the ledger share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) network: NetworkId,
    pub(crate) genesis: [u8; 32],
    pub(crate) own: Did,
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
    pub(crate) verified: Verified,
    /// Rows of the state that heights keep asking for.
    pub(crate) kept: Kept,
    tip: watch::Sender<Tip>,
    height: watch::Sender<u64>,
    decided: broadcast::Sender<u64>,
    recent: Mutex<VecDeque<Arc<Batch>>>,
}

/// Why the ledger cannot answer.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The store.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store, while writing.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The store, while a height is written.
    #[error(transparent)]
    Decide(#[from] DecideError),
    /// A row.
    #[error(transparent)]
    View(#[from] ViewError),
    /// A batch does not apply although it was decided.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// A decided height is not in the store as a whole.
    #[error("height {0} of the ledger was decided, and its batch is not in the store: restore a backup of this node")]
    NoBatch(u64),
    /// A decided height leads elsewhere than was decided.
    #[error(
        "height {0} of the ledger leads elsewhere than was decided: the store is damaged; restore a backup of this node"
    )]
    Elsewhere(u64),
    /// Heights went by faster than a proof was made.
    #[error("the ledger changes too fast to prove a single height; try again")]
    Moving,
    /// Nothing was decided yet, so nobody signed anything.
    #[error("no height was decided yet, so there is no certificate to prove anything with")]
    Unproved,
}

impl Shared {
    /// The ledger that is in a store. Blocks.
    pub(crate) fn new(network: NetworkId, own: Did, reader: Reader, writer: Writer) -> Result<Self, LedgerError> {
        let tip = tip(&reader)?;
        let genesis = genesis::stored_hash(&reader)?;
        let height = watch::Sender::new(tip.height);
        let (tip, _) = watch::channel(tip);
        let (decided, _) = broadcast::channel(HEIGHTS_KEPT);
        let (verified, kept, recent) = (Verified::default(), Kept::default(), Mutex::default());
        let this = Self { network, genesis, own, reader, writer, verified, kept, tip, height, decided, recent };
        let tip = reopen::reopen(&this)?;
        this.tip.send_replace(tip);
        this.height.send_replace(tip.height);
        Ok(this)
    }

    /// How far the ledger has got.
    pub(crate) fn tip(&self) -> Tip {
        *self.tip.borrow()
    }

    /// The state after the latest height, for one piece of work of judging. It may show a height that is just being
    /// written in part, as every reader of the store does.
    pub(crate) fn view(&self) -> Cached<Over<'_, LedgerView<'_>>> {
        Cached::new(self.kept.over(LedgerView(&self.reader)))
    }

    pub(crate) fn watch_tip(&self) -> watch::Receiver<Tip> {
        self.tip.subscribe()
    }

    /// The latest height, to wait for more.
    pub(crate) fn watch_height(&self) -> watch::Receiver<u64> {
        self.height.subscribe()
    }

    /// Writes what follows from the latest heights, for an orderly stop. Blocks.
    ///
    /// # Errors
    /// The store fails.
    pub(crate) fn settle(&self) -> Result<(), LedgerError> {
        Ok(ledger::settle(&self.reader, &self.writer)?)
    }

    /// A height is durable.
    pub(crate) fn advance(&self, tip: Tip, batch: Arc<Batch>) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() >= RECENT_MAX {
            recent.pop_front();
        }
        recent.push_back(batch);
        drop(recent);
        self.tip.send_replace(tip);
        self.height.send_replace(tip.height);
        // Nobody may be listening.
        let _ = self.decided.send(tip.height);
    }

    /// The batch of a late height, as it was decided here.
    fn recent(&self, height: u64) -> Option<Arc<Batch>> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.iter().find(|batch| batch.height == height).cloned()
    }

    /// The batch of a decided height. Blocks.
    pub(crate) fn batch(&self, height: u64) -> Result<Option<Arc<Batch>>, ReadError> {
        match self.recent(height) {
            Some(batch) => Ok(Some(batch)),
            None => Ok(decided::batch(&self.reader, height)?.map(Arc::new)),
        }
    }

    /// One transaction of a decided height, by its receipt. Blocks.
    fn transaction(&self, id: TransactionId, receipt: &Receipt) -> Result<Option<Signed>, ReadError> {
        let index = usize::try_from(receipt.index).unwrap_or(usize::MAX);
        let signed = match self.recent(receipt.height) {
            Some(batch) => batch.transactions.get(index).cloned(),
            None => decided::transaction(&self.reader, receipt.height, index)?,
        };
        if signed.as_ref().is_some_and(|signed| signed.id() == id) {
            return Ok(signed);
        }
        // A receipt counts what is fit, and a batch that others decided may hold more.
        let batch = self.batch(receipt.height)?;
        Ok(batch.and_then(|batch| batch.transactions.iter().find(|signed| signed.id() == id).cloned()))
    }
}

fn tip(reader: &Reader) -> Result<Tip, LedgerError> {
    let view = LedgerView(reader);
    let head = rows::head(&view)?.ok_or(ApplyError::NoGenesis)?;
    let root = angel_protocol::ledger::tree::root(&view)?;
    Ok(Tip { height: head.height, time: Timestamp::from_millis(head.time), root })
}

/// The ledger's handle. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ledger {
    pub(crate) shared: Arc<Shared>,
    mempool: mempool::Handle,
}

/// What is known of a transaction.
#[derive(Clone, Debug)]
pub enum Known {
    /// It waits to be decided.
    Pending(Signed),
    /// It is decided.
    Decided(Box<DecidedTransaction>),
}

/// A decided transaction with everything that proves it.
#[derive(Clone, Debug)]
pub struct DecidedTransaction {
    /// What it asked for.
    pub transaction: Transaction,
    /// What became of it.
    pub receipt: Receipt,
    /// The height's header and certificate.
    pub decision: Decision,
}

/// How the ledger is.
#[derive(Clone, Debug)]
pub struct LedgerStatus {
    /// How far it has got.
    pub tip: Tip,
    /// The genesis it began with.
    pub genesis: [u8; 32],
    /// Who decides the next height.
    pub validators: ValidatorSet,
    /// Whether this node is one of them.
    pub is_validator: bool,
    /// Transactions that wait here.
    pub waiting: usize,
    /// How many tokens there are.
    pub supply: Supply,
    /// Proofs that this node has of validators which contradicted themselves, up to a hundred.
    pub evidence: usize,
}

impl Ledger {
    pub(crate) const fn new(shared: Arc<Shared>, mempool: mempool::Handle) -> Self {
        Self { shared, mempool }
    }

    /// The network whose ledger it is.
    #[must_use]
    pub fn network(&self) -> &NetworkId {
        &self.shared.network
    }

    /// The node whose handle this is.
    #[must_use]
    pub fn own(&self) -> &Did {
        &self.shared.own
    }

    /// Hands in a transaction. The answer comes when it is safe: it survives a restart then, and will be gossiped until it
    /// is decided. A repeated one gets the same answer and moves nothing twice.
    ///
    /// # Errors
    /// [`mempool::SubmitError`], by name.
    pub async fn submit(&self, signed: Signed) -> Result<TransactionId, mempool::SubmitError> {
        self.mempool.submit(signed).await
    }

    /// Hands in a transaction and waits until it is decided, at most for `limit`. Nothing when the time has passed: it
    /// may still be decided later.
    ///
    /// # Errors
    /// [`mempool::SubmitError`], by name.
    pub async fn submit_and_wait(
        &self,
        signed: Signed,
        limit: Duration,
    ) -> Result<Option<Outcome>, mempool::SubmitError> {
        // Asked first, so that no answer is missed.
        let outcome = self.mempool.ask_outcome(signed.id()).await?;
        self.mempool.submit(signed).await?;
        Ok(tokio::time::timeout(limit, outcome).await.ok().and_then(Result::ok))
    }

    /// Hands in a transaction that the caller keeps through a restart, and waits until it is decided. Nothing when too
    /// many wait for others already.
    ///
    /// # Errors
    /// [`mempool::SubmitError`], by name.
    pub(crate) async fn settle(&self, signed: Signed) -> Result<Option<Outcome>, mempool::SubmitError> {
        let outcome = self.mempool.ask_outcome(signed.id()).await?;
        self.mempool.submit_kept(signed).await?;
        Ok(outcome.await.ok())
    }

    /// Where another transaction of a wallet of this node has its place.
    pub(crate) async fn slot(
        &self,
        wallet: Did,
        next: u64,
        nonce: Option<[u8; 16]>,
        action: Action,
    ) -> Result<Slot, mempool::SubmitError> {
        self.mempool.slot(wallet, next, nonce, action).await
    }

    /// Whether a transaction could be posted as things stand now, and why not.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn admits(&self, signed: Signed) -> Result<Result<(), Outcome>, LedgerError> {
        self.read(move |shared| {
            let view = shared.view();
            let admitted = angel_protocol::ledger::admit(&view, crate::clock::now(), &signed, &shared.verified)?;
            Ok(admitted.map(drop))
        })
        .await
    }

    /// What became of a transaction.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn receipt(&self, id: TransactionId) -> Result<Option<Receipt>, LedgerError> {
        self.read(move |shared| Ok(rows::receipt(&LedgerView(&shared.reader), id)?)).await
    }

    /// What is known of a transaction; nothing if it was never heard of.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn transaction(&self, id: TransactionId) -> Result<Option<Known>, LedgerError> {
        if let Some(signed) = self.mempool.waiting(id).await {
            return Ok(Some(Known::Pending(signed)));
        }
        self.read(move |shared| {
            let Some(receipt) = rows::receipt(&LedgerView(&shared.reader), id)? else { return Ok(None) };
            let decision = decided::decision(&shared.reader, receipt.height)?;
            let signed = shared.transaction(id, &receipt)?;
            let (Some(signed), Some(decision)) = (signed, decision) else { return Ok(None) };
            let transaction = signed.transaction().clone();
            Ok(Some(Known::Decided(Box::new(DecidedTransaction { transaction, receipt, decision }))))
        })
        .await
    }

    /// A node as it is registered.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn node(&self, did: Did) -> Result<Option<Node>, LedgerError> {
        self.read(move |shared| Ok(rows::node(&LedgerView(&shared.reader), &did)?)).await
    }

    /// An account's wallet.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn wallet(&self, account: Did) -> Result<Option<Wallet>, LedgerError> {
        self.read(move |shared| Ok(rows::wallet(&LedgerView(&shared.reader), &account)?)).await
    }

    /// An account's balance in a scope; nothing where it has no wallet.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn balance(&self, account: Did, tenant: Option<Did>) -> Result<Option<Balance>, LedgerError> {
        self.read(move |shared| Ok(rows::balance(&LedgerView(&shared.reader), &account, tenant.as_ref())?)).await
    }

    /// Movements of an account's balances before `before`, the newest first.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn history(
        &self,
        account: Did,
        before: Option<Place>,
        limit: usize,
    ) -> Result<Vec<(Place, Movement)>, LedgerError> {
        self.read(move |shared| Ok(decided::history(&shared.reader, &account, before, limit)?)).await
    }

    /// A proof of the latest height.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn proof(&self, subject: Subject) -> Result<LedgerProof, LedgerError> {
        self.read(move |shared| {
            for _ in 0..PROOF_TRIES {
                let height = shared.tip().height;
                let decision = decided::decision(&shared.reader, height)?.ok_or(LedgerError::Unproved)?;
                let root = decision.header.root;
                let view = LedgerView(&shared.reader);
                let proof = LedgerProof::make(&view, &subject, decision.header, decision.certificate)?;
                // A height that is written while the path is read gives a path that leads elsewhere.
                let whole = proof.path.verify(&root, &subject.key(), proof.value.as_deref()).is_ok();
                if whole && shared.tip().height == height {
                    return Ok(proof);
                }
            }
            Err(LedgerError::Moving)
        })
        .await
    }

    /// How the ledger is.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn status(&self) -> Result<LedgerStatus, LedgerError> {
        let waiting = self.mempool.len();
        self.read(move |shared| {
            let tip = shared.tip();
            let view = LedgerView(&shared.reader);
            let validators = rows::validators(&view)?.unwrap_or_default();
            Ok(LedgerStatus {
                tip,
                genesis: shared.genesis,
                is_validator: validators.contains(&shared.own),
                validators,
                waiting,
                supply: rows::supply(&view)?.unwrap_or_default(),
                evidence: undecided::evidence(&shared.reader, EVIDENCE_COUNTED)?.len(),
            })
        })
        .await
    }

    /// A decided height with its batch.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn height(&self, height: u64) -> Result<Option<(Decision, Arc<Batch>)>, LedgerError> {
        self.read(move |shared| {
            let decision = decided::decision(&shared.reader, height)?;
            Ok(decision.zip(shared.batch(height)?))
        })
        .await
    }

    /// The validators that decide, or decided, a height.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn validators(&self, height: u64) -> Result<Option<ValidatorSet>, LedgerError> {
        self.read(move |shared| Ok(decided::validators(&shared.reader, height)?)).await
    }

    /// The newest checkpoint with the certificate of its height.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn latest_checkpoint(&self) -> Result<Option<(StoredCheckpoint, Decision)>, LedgerError> {
        self.read(move |shared| {
            let Some((height, checkpoint)) = decided::latest_checkpoint(&shared.reader)? else { return Ok(None) };
            Ok(decided::decision(&shared.reader, height)?.map(|decision| (checkpoint, decision)))
        })
        .await
    }

    /// The network's numbers and rates.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn parameters(&self) -> Result<(Parameters, Rates), LedgerError> {
        self.read(move |shared| {
            let view = LedgerView(&shared.reader);
            let parameters = rows::parameters(&view)?.ok_or(ApplyError::NoGenesis)?;
            Ok((parameters, rows::rates(&view)?.unwrap_or_default()))
        })
        .await
    }

    /// Evidence of validators that contradicted themselves, the newest first.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn evidence(&self, limit: usize) -> Result<Vec<(u64, Evidence)>, LedgerError> {
        self.read(move |shared| Ok(undecided::evidence(&shared.reader, limit)?)).await
    }

    /// Heights as they become durable, from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<u64> {
        self.shared.decided.subscribe()
    }

    /// How far the ledger has got, to wait for changes.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Tip> {
        self.shared.watch_tip()
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let shared = Arc::clone(&self.shared);
        blocking::run(move || work(&shared)).await
    }
}
