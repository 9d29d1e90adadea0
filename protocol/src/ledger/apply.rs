//! Applying: from the rows of one height and a batch to the rows of the next.
//!
//! Pure. The same rows and the same batch give the same changes, outcomes and root, on every node, forever. Time is
//! the batch's. A transaction's checks come first, in the order of [`Outcome`]; after them nothing can fail.

use std::sync::Arc;

use super::action::{Action, Anomaly};
use super::batch::{Batch, Header};
use super::checkpoint::Checkpoint;
use super::kinds;
use super::outcome::{Checks, Outcome};
use super::rows::{self, CheckpointState, Head, Kind, Moved, Receipt, Wallet};
use super::signatures::Signatures;
use super::state::{State, node_key};
use super::transaction::{Signed, TransactionId};
use super::transfer::Posting;
use super::tree;
use super::validators::ValidatorSet;
use super::view::{Changes, View, ViewError};
use crate::ids::Did;
use crate::limits::{BATCH_BYTES_MAX, BATCH_TRANSACTIONS_MAX, TRANSACTION_LIFE_MAX};
use crate::time::Timestamp;

/// Milliseconds in an hour.
const HOUR: u64 = 3_600_000;

/// What applying a batch leaves behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The rows to write, in one atomic batch.
    pub changes: Changes,
    /// What became of each transaction, in the batch's order.
    pub entries: Vec<Entry>,
    /// The header of this height: its hash is what consensus decides.
    pub header: Header,
    /// The validators of the next height.
    pub validators: ValidatorSet,
    /// Due at this height, to be signed and published.
    pub checkpoint: Option<Checkpoint>,
    /// Every movement of a balance, for histories; not part of the state.
    pub postings: Vec<Posting>,
}

/// What became of one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The transaction.
    pub id: TransactionId,
    /// Its outcome.
    pub outcome: Outcome,
    /// Whether the batch may hold it. A refused transaction may, once it is known to be its wallet's next: then it
    /// has used up its sequence number, and its outcome is final. One that fails before that leaves no trace, and no
    /// honest validator votes for a batch that holds it.
    pub fit: bool,
}

impl Applied {
    /// Root of the state after the batch.
    #[must_use]
    pub fn root(&self) -> &tree::Hash {
        &self.header.root
    }

    /// Whether an honest validator may vote for the batch: see [`Entry::fit`].
    #[must_use]
    pub fn fit(&self) -> bool {
        self.entries.iter().all(|entry| entry.fit)
    }
}

/// Why a batch is not applied at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The height was applied before: there is nothing to do.
    #[error("height {0} was applied before")]
    AlreadyApplied(u64),
    /// Heights are missing in between.
    #[error("height {0} comes next")]
    Gap(u64),
    /// Its time is not after the batch before.
    #[error("the batch's time is not after that of the height before")]
    Time,
    /// More transactions or bytes than a batch may have.
    #[error("the batch is larger than batches may be")]
    TooLarge,
    /// There is no genesis.
    #[error("the ledger has no genesis; start with one")]
    NoGenesis,
    /// A row cannot be read.
    #[error(transparent)]
    View(#[from] ViewError),
}

/// Applies `batch` to the rows of `view`.
///
/// # Errors
/// [`ApplyError`]; nothing has changed then.
pub fn apply<V: View>(view: &V, batch: &Batch, signatures: &dyn Signatures) -> Result<Applied, ApplyError> {
    let bytes: usize = batch.transactions.iter().map(|signed| signed.bytes().len()).sum();
    if batch.transactions.len() > BATCH_TRANSACTIONS_MAX || bytes > BATCH_BYTES_MAX {
        return Err(ApplyError::TooLarge);
    }
    let mut run = Run::start(view, batch.height, batch.time)?;
    for signed in &batch.transactions {
        run.transact(signed, signatures)?;
    }
    run.finish(batch.hash())
}

/// Makes a batch out of `candidates`, in their order, leaving out what is not fit and what has no room. Returns it
/// with what applying it leaves behind, and with the outcomes of what was left out as unfit.
///
/// # Errors
/// [`ApplyError`], as [`apply`].
pub fn assemble<V: View>(
    view: &V,
    height: u64,
    time: Timestamp,
    candidates: impl IntoIterator<Item = Signed>,
    signatures: &dyn Signatures,
) -> Result<(Batch, Applied, Vec<Entry>), ApplyError> {
    let mut run = Run::start(view, height, time)?;
    let mut batch = Batch { height, time, transactions: Vec::new() };
    let mut bytes = 0;
    for signed in candidates {
        let size = signed.bytes().len();
        if batch.transactions.len() == BATCH_TRANSACTIONS_MAX || bytes + size > BATCH_BYTES_MAX {
            break;
        }
        if run.transact(&signed, signatures)?.fit {
            bytes += size;
            batch.transactions.push(signed);
        }
    }
    let unfit = run.entries.extract_if(.., |entry| !entry.fit).collect();
    let applied = run.finish(batch.hash())?;
    Ok((batch, applied, unfit))
}

/// What a node can say about a transaction before it is in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// The wallet's next sequence number; below the transaction's when others are missing. 0 for an operation on an
    /// identity, which has no place in a wallet's order.
    pub next_sequence: u64,
}

/// Whether `signed`, decided at `now` on top of `view`, could be posted: every check where it is the wallet's next,
/// and those that do not depend on earlier transactions where it is not.
///
/// # Errors
/// The outcome it would have, or a failure to read.
pub fn admit<V: View>(
    view: &V,
    now: Timestamp,
    signed: &Signed,
    signatures: &dyn Signatures,
) -> Result<Result<Admission, Outcome>, ApplyError> {
    let mut verdicts = admit_each(view, now, std::slice::from_ref(signed), signatures)?;
    Ok(verdicts.pop().expect("one verdict for one transaction"))
}

/// The same for many, each as if it came alone: what all have in common is read once.
///
/// # Errors
/// A failure to read.
pub fn admit_each<V: View>(
    view: &V,
    now: Timestamp,
    transactions: &[Signed],
    signatures: &dyn Signatures,
) -> Result<Vec<Result<Admission, Outcome>>, ApplyError> {
    let head = rows::head(view)?.ok_or(ApplyError::NoGenesis)?;
    let base = Run::start(view, head.height + 1, now.max(Timestamp::from_millis(head.time + 1)))?;
    let admit = |signed: &Signed| {
        let mut run = Run {
            state: base.state.again(),
            head: base.head.clone(),
            checkpoint: base.checkpoint.clone(),
            entries: Vec::new(),
            postings: Vec::new(),
            index: 0,
        };
        let next_sequence = match signed.operation() {
            Some(_) => 0,
            None => run.state.next_sequence(&signed.transaction().wallet)?,
        };
        let entry = run.transact(signed, signatures)?;
        Ok(match entry.outcome {
            Outcome::Posted | Outcome::SequenceAhead => Ok(Admission { next_sequence }),
            outcome => Err(outcome),
        })
    };
    transactions.iter().map(admit).collect()
}

/// The key that has to have signed `signed` on top of `view`, for checking many together beforehand. Nothing where no
/// wallet signs, where the wallet is unknown, or where the transaction would be refused before its signature is looked at.
///
/// # Errors
/// [`ViewError`] when a row cannot be read.
pub fn signing_key<V: View>(view: &V, signed: &Signed) -> Result<Option<[u8; 32]>, ViewError> {
    let signer = &signed.transaction().wallet;
    if signed.operation().is_some() || rows::receipt(view, signed.id())?.is_some() {
        return Ok(None);
    }
    Ok(match &signed.transaction().action {
        Action::RegisterWallet(it) => Some(it.key),
        action => match (rows::wallet(view, signer)?, action) {
            (Some(wallet), _) => Some(wallet.key),
            (None, Action::RegisterNode(_)) => node_key(signer),
            (None, _) => None,
        },
    })
}

/// A batch being applied.
struct Run<'v, V> {
    state: State<'v, V>,
    head: Head,
    checkpoint: CheckpointState,
    entries: Vec<Entry>,
    postings: Vec<Posting>,
    index: u32,
}

impl<'v, V: View> Run<'v, V> {
    fn start(view: &'v V, height: u64, time: Timestamp) -> Result<Self, ApplyError> {
        let head = rows::head(view)?.ok_or(ApplyError::NoGenesis)?;
        if height <= head.height {
            return Err(ApplyError::AlreadyApplied(height));
        }
        if height != head.height + 1 {
            return Err(ApplyError::Gap(head.height + 1));
        }
        if time.as_millis() <= head.time {
            return Err(ApplyError::Time);
        }
        let state = State::load(view, height, time)?;
        let root = tree::root(view)?;
        let mut checkpoint: CheckpointState = rows::read(view, &[])?.unwrap_or_default();
        if checkpoint.height == head.height {
            checkpoint.root = Some(root);
        }
        let before = Header {
            network: state.network.clone(),
            height: head.height,
            time: Timestamp::from_millis(head.time),
            previous: head.previous,
            batch: head.batch,
            root,
        };
        let head =
            Head { height, time: time.as_millis(), batch: [0; 32], previous: before.hash(), posted: head.posted };
        Ok(Self { state, head, checkpoint, entries: Vec::new(), postings: Vec::new(), index: 0 })
    }

    /// Judges one transaction and carries it out when it is good.
    fn transact(&mut self, signed: &Signed, signatures: &dyn Signatures) -> Result<Entry, ApplyError> {
        let mut tx = Tx {
            state: &mut self.state,
            signed,
            signatures,
            checks: Checks::new(),
            traceless: false,
            flags: Vec::new(),
            postings: Vec::new(),
        };
        let admitted = tx.admit();
        let (outcome, moved, fit) = match admitted {
            Err(Stop::Refused(outcome)) => (outcome, None, false),
            Err(Stop::Failed(error)) => return Err(error.into()),
            Ok(()) => {
                let writes = tx.state.writes;
                match kinds::carry_out(&mut tx) {
                    Ok(moved) => (Outcome::Posted, moved, true),
                    Err(Stop::Failed(error)) => return Err(error.into()),
                    Err(Stop::Refused(outcome)) => {
                        assert_eq!(writes, tx.state.writes, "{outcome:?}: checks come before the first write");
                        (outcome, None, !tx.traceless)
                    }
                }
            }
        };
        if fit {
            tx.conclude(outcome, moved, self.index)?;
            self.index += 1;
            let posted = u64::from(outcome.is_posted());
            self.head.posted += posted;
            self.checkpoint.posted += posted;
            self.postings.append(&mut tx.postings);
        }
        let entry = Entry { id: signed.id(), outcome, fit };
        self.entries.push(entry);
        Ok(entry)
    }

    fn finish(mut self, batch: tree::Hash) -> Result<Applied, ApplyError> {
        self.head.batch = batch;
        let time = Timestamp::from_millis(self.head.time);
        let previous = self.checkpoint.root;
        let count = self.checkpoint.posted;
        let parameters = &self.state.parameters;
        let aged = self.head.time.saturating_sub(self.checkpoint.time) >= parameters.checkpoint_interval;
        let due = count >= parameters.checkpoint_transactions || (count > 0 && aged);
        if due {
            self.checkpoint = CheckpointState { height: self.head.height, time: self.head.time, root: None, posted: 0 };
        }
        Arc::make_mut(&mut self.state.validators).advance(self.head.height + 1);
        let validators = self.state.validators.current().clone();
        let network = self.state.network.clone();
        self.state.put(&[], &self.head);
        self.state.put(&[], &self.checkpoint);
        let (changes, root) = self.state.finish()?;
        let checkpoint = due.then(|| Checkpoint {
            network: network.clone(),
            height: self.head.height,
            root,
            transactions: count,
            previous: previous.unwrap_or_default(),
        });
        let header = Header { network, height: self.head.height, time, previous: self.head.previous, batch, root };
        let Self { entries, postings, .. } = self;
        Ok(Applied { changes, entries, header, validators, checkpoint, postings })
    }
}

/// Why a transaction goes no further.
pub(crate) enum Stop {
    /// It is refused.
    Refused(Outcome),
    /// A row could not be read.
    Failed(ViewError),
}

impl From<Outcome> for Stop {
    fn from(outcome: Outcome) -> Self {
        Self::Refused(outcome)
    }
}

impl From<ViewError> for Stop {
    fn from(error: ViewError) -> Self {
        Self::Failed(error)
    }
}

/// One transaction being judged.
pub(crate) struct Tx<'t, 'v, V> {
    pub(crate) state: &'t mut State<'v, V>,
    pub(crate) signed: &'t Signed,
    pub(crate) signatures: &'t dyn Signatures,
    checks: Checks,
    /// Whether there is no sequence number to use up, so that a refusal leaves no trace: it opens the signer's wallet,
    /// or is an operation on an identity.
    traceless: bool,
    /// Raised even when the transaction is refused.
    pub(crate) flags: Vec<(Did, Anomaly)>,
    pub(crate) postings: Vec<Posting>,
}

impl<'t, V: View> Tx<'t, '_, V> {
    pub(crate) fn require(&mut self, condition: bool, otherwise: Outcome) -> Result<(), Stop> {
        Ok(self.checks.require(condition, otherwise)?)
    }

    pub(crate) fn some<T>(&mut self, value: Option<T>, otherwise: Outcome) -> Result<T, Stop> {
        Ok(self.checks.some(value, otherwise)?)
    }

    /// The account that signed.
    pub(crate) fn signer(&self) -> &'t Did {
        &self.signed.transaction().wallet
    }

    pub(crate) fn now(&self) -> u64 {
        self.state.now.as_millis()
    }

    /// Whether the transaction is for us, in time, new, and its wallet's next. Once it is, it counts.
    fn admit(&mut self) -> Result<(), Stop> {
        let transaction = self.signed.transaction();
        let now = self.state.now;
        self.require(transaction.network == self.state.network, Outcome::WrongNetwork)?;
        self.require(transaction.expires >= now, Outcome::Expired)?;
        let operation = self.signed.operation().is_some();
        self.require(operation || transaction.expires <= now + TRANSACTION_LIFE_MAX, Outcome::ExpiresTooLate)?;
        let known: Option<Receipt> = self.state.get(&[&self.signed.id().0])?;
        let same = known.as_ref().is_some_and(|receipt| receipt.digest == *self.signed.digest());
        self.require(!same, Outcome::AlreadyDecided)?;
        self.require(known.is_none(), Outcome::IdReused)?;
        if operation {
            // It has no place in a wallet's order, and who may sign it is in the identity's log.
            self.traceless = true;
            return Ok(());
        }

        let wallet = self.state.wallet(self.signer())?;
        let (registers, key) = match &transaction.action {
            Action::RegisterWallet(it) => (true, Some(it.key)),
            // Only a `did:key` of Ed25519 can sign here.
            Action::RegisterNode(_) if wallet.is_none() => (true, node_key(self.signer())),
            _ => (false, wallet.as_ref().map(|wallet| wallet.key)),
        };
        self.traceless = registers;
        self.require(wallet.is_some() || registers, Outcome::WalletUnknown)?;
        self.require(wallet.is_none() || !registers, Outcome::WalletExists)?;
        let next = wallet.as_ref().map_or(0, |wallet| wallet.sequence);
        let holds = key.is_some_and(|key| self.signatures.transaction_holds(&key, self.signed));
        self.require(holds, Outcome::BadSignature)?;
        self.require(transaction.sequence >= next, Outcome::SequencePassed)?;
        self.require(transaction.sequence <= next, Outcome::SequenceAhead)?;
        let Some(mut wallet) = wallet else { return Ok(()) };
        let counted = self.count_hour(&mut wallet);
        self.require(counted, Outcome::RateLimited)?;
        // It is the wallet's next transaction: whatever comes of it, its sequence number is used.
        wallet.sequence += 1;
        wallet.mature(now.as_millis());
        self.state.put_wallet(self.signer(), wallet);
        Ok(())
    }

    /// Counts one transaction in the wallet's hour, unless the hour is full.
    pub(crate) fn count_hour(&self, wallet: &mut Wallet) -> bool {
        let hour = self.now() / HOUR;
        if wallet.hour != hour {
            (wallet.hour, wallet.hour_count) = (hour, 0);
        }
        let limit = match wallet.kind {
            Kind::Node => self.state.parameters.node_transactions_per_hour,
            Kind::Person | Kind::Business | Kind::Agent(_) => self.state.parameters.transactions_per_hour,
        };
        let room = wallet.hour_count < limit;
        wallet.hour_count += u32::from(room);
        room
    }

    /// Leaves the receipt, and the flags that were raised.
    fn conclude(&mut self, outcome: Outcome, moved: Option<Moved>, index: u32) -> Result<(), ViewError> {
        let receipt = Receipt {
            digest: *self.signed.digest(),
            height: self.state.height,
            index,
            outcome,
            moved,
            reversed_by: None,
        };
        self.state.put(&[&self.signed.id().0], &receipt);
        if outcome.is_posted() && self.signed.operation().is_none() {
            self.state.change(self.signer(), |wallet| wallet.posted += 1)?;
        }
        for (account, anomaly) in std::mem::take(&mut self.flags) {
            self.state.change(&account, |wallet| wallet.flags.set(anomaly, true))?;
        }
        Ok(())
    }
}
