//! The mempool's driver: transactions come in from clients and peers, are judged, kept, gossiped, and handed to the
//! proposer. What is decided about them is decided by [`angel_protocol::mempool`].
//!
//! A client's transaction is durable before it is answered. A peer's is not stored: the node that took it has it. Peers'
//! transactions travel in bundles, so that a thousand of them cost one message's signature.

mod kept;
mod moved;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use angel_protocol::ids::Did;
use angel_protocol::ledger::{Action, Admission, ApplyError, Batch, Entry, Outcome, Signed, TransactionId, admit_each};
use angel_protocol::limits::{BATCH_BYTES_MAX, BATCH_TRANSACTIONS_MAX, ENVELOPE_BYTES_MAX};
use angel_protocol::mempool::{Config, Effect, Input, Origin, Refusal, Slot, State};
use angel_storage::ledger::waiting::{self, Waiting};
use angel_storage::reader::ReadError;
use angel_storage::writer::CommitError;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::blocking;
use crate::clock;
use crate::ledger::Shared;
use crate::network::{self, Acceptance, Gossip};
use crate::tasks::TaskResult;

use kept::Kept;
use moved::Moved;

/// Wishes that may wait for the driver.
const INBOX_MAX: usize = 4096;

/// Transactions judged together: enough to share the reading of what all need.
const JUDGED_TOGETHER_MAX: usize = 256;

/// Groups that are judged at once. More would only take threads from others.
const GROUPS_MAX: usize = 2;

/// Waiting transactions from which on a newcomer is not decided at once anyway, so that it may wait for others to be
/// judged, stored and sent with: each of the three costs less for many together.
const BUSY: usize = 64;

/// How long it may wait to be judged with others then, and how many are enough.
const GATHER_WAIT: Duration = Duration::from_millis(20);
const GATHERED_ENOUGH: usize = 128;

/// How long a transaction may wait for others to travel with. Part of the way to being decided, so short; longer where
/// many wait.
const BUNDLE_WAIT: Duration = Duration::from_millis(4);
const BUNDLE_WAIT_BUSY: Duration = Duration::from_millis(40);

/// Bytes of a bundle: what gossip carries in one message, less the framing.
const BUNDLE_BYTES_MAX: usize = ENVELOPE_BYTES_MAX - 1024;

/// Those who may wait for outcomes.
const WAITERS_MAX: usize = 65_536;

/// Bytes of a gossip message on the topic of transactions.
pub(crate) const GOSSIP_BYTES_MAX: usize = ENVELOPE_BYTES_MAX;

/// The way to the driver. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    inbox: mpsc::Sender<Command>,
    waiting: Arc<AtomicUsize>,
    ready: watch::Receiver<bool>,
}

/// Why a transaction was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The ledger would refuse it.
    #[error("{0}")]
    Outcome(Outcome),
    /// It has been decided.
    #[error("the transaction was decided before")]
    Decided,
    /// It may not wait here.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store failed.
    #[error("the transaction cannot be stored: {0}")]
    Storage(String),
    /// The node is stopping.
    #[error("this node is stopping")]
    Stopped,
}

#[derive(Debug)]
enum Command {
    Submit { signed: Signed, origin: Origin, answer: oneshot::Sender<Result<TransactionId, SubmitError>> },
    Waiting { id: TransactionId, answer: oneshot::Sender<Option<Signed>> },
    Slot { wallet: Did, next: u64, nonce: Option<[u8; 16]>, action: Box<Action>, answer: oneshot::Sender<Slot> },
    Outcome { id: TransactionId, answer: oneshot::Sender<Outcome> },
    Select { answer: oneshot::Sender<Vec<Signed>> },
    Decided { batch: Arc<Batch>, entries: Vec<Entry>, done: oneshot::Sender<()> },
    Unfit { entries: Vec<Entry> },
}

impl Handle {
    /// The handle and the place where the driver listens.
    pub(crate) fn new() -> (Self, Inbox) {
        let (inbox, commands) = mpsc::channel(INBOX_MAX);
        let (ready_sender, ready) = watch::channel(false);
        let waiting = Arc::new(AtomicUsize::new(0));
        let inbox_end = Inbox { commands, ready: ready_sender, waiting: Arc::clone(&waiting) };
        (Self { inbox, waiting, ready }, inbox_end)
    }

    /// See [`crate::ledger::Ledger::submit`].
    pub(crate) async fn submit(&self, signed: Signed) -> Result<TransactionId, SubmitError> {
        self.submit_from(signed, Origin::Local).await
    }

    /// The same for one that whoever submits it keeps through a restart: it is not stored here.
    pub(crate) async fn submit_kept(&self, signed: Signed) -> Result<TransactionId, SubmitError> {
        self.submit_from(signed, Origin::Kept).await
    }

    async fn submit_from(&self, signed: Signed, origin: Origin) -> Result<TransactionId, SubmitError> {
        let (answer, outcome) = oneshot::channel();
        self.inbox.send(Command::Submit { signed, origin, answer }).await.map_err(|_| SubmitError::Stopped)?;
        outcome.await.map_err(|_| SubmitError::Stopped)?
    }

    /// A transaction that waits here.
    pub(crate) async fn waiting(&self, id: TransactionId) -> Option<Signed> {
        let (answer, found) = oneshot::channel();
        self.inbox.send(Command::Waiting { id, answer }).await.ok()?;
        found.await.ok().flatten()
    }

    /// Where another transaction of `wallet` has its place: see [`State::slot`].
    pub(crate) async fn slot(
        &self,
        wallet: Did,
        next: u64,
        nonce: Option<[u8; 16]>,
        action: Action,
    ) -> Result<Slot, SubmitError> {
        let (answer, slot) = oneshot::channel();
        let command = Command::Slot { wallet, next, nonce, action: Box::new(action), answer };
        self.inbox.send(command).await.map_err(|_| SubmitError::Stopped)?;
        slot.await.map_err(|_| SubmitError::Stopped)
    }

    /// The outcome of a transaction that is decided from now on. Asking has begun when this returns; the answer ends
    /// without one when the node stops before, or when too many wait already.
    pub(crate) async fn ask_outcome(&self, id: TransactionId) -> Result<oneshot::Receiver<Outcome>, SubmitError> {
        let (answer, outcome) = oneshot::channel();
        self.inbox.send(Command::Outcome { id, answer }).await.map_err(|_| SubmitError::Stopped)?;
        Ok(outcome)
    }

    /// What can be decided now, for a proposal.
    pub(crate) async fn select(&self) -> Vec<Signed> {
        let (answer, selected) = oneshot::channel();
        if self.inbox.send(Command::Select { answer }).await.is_err() {
            return Vec::new();
        }
        selected.await.unwrap_or_default()
    }

    /// A height is durable. When this returns, [`Self::ready`] speaks of what is left.
    pub(crate) async fn decided(&self, batch: Arc<Batch>, entries: Vec<Entry>) {
        let (done, is_done) = oneshot::channel();
        // A driver that has ended takes the node with it.
        if self.inbox.send(Command::Decided { batch, entries, done }).await.is_ok() {
            let _ = is_done.await;
        }
    }

    /// Assembling a batch found that these cannot be decided any more.
    pub(crate) async fn unfit(&self, entries: Vec<Entry>) {
        if !entries.is_empty() {
            // A driver that has ended takes the node with it.
            let _ = self.inbox.send(Command::Unfit { entries }).await;
        }
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Whether there is something to propose, to wait for.
    pub(crate) fn ready(&self) -> watch::Receiver<bool> {
        self.ready.clone()
    }
}

/// Where the driver listens.
pub(crate) struct Inbox {
    commands: mpsc::Receiver<Command>,
    ready: watch::Sender<bool>,
    waiting: Arc<AtomicUsize>,
}

/// Why the driver cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DriverError {
    #[error("waiting transactions cannot be read: {0}")]
    Read(#[from] ReadError),
    #[error("waiting transactions cannot be stored: {0}")]
    Commit(#[from] CommitError),
}

type Answer = oneshot::Sender<Result<TransactionId, SubmitError>>;
type Verdict = Result<Admission, Outcome>;

/// A group with what was found of each, and the height that was durable when judging began.
struct Judged {
    began: u64,
    group: Vec<(Signed, Candidate)>,
    verdicts: Result<Vec<Verdict>, ApplyError>,
}

/// What is known of one to be judged.
struct Candidate {
    origin: Origin,
    answer: Option<Answer>,
    /// It waits already, and is looked at again.
    again: bool,
}

/// The task that owns the machine.
pub(crate) struct Driver {
    state: State,
    shared: Arc<Shared>,
    inbox: Inbox,
    network: network::Handle,
    topic: String,
    gossip: mpsc::Receiver<Gossip>,
    candidates: Vec<(Signed, Candidate)>,
    judging: FuturesUnordered<BoxFuture<'static, Judged>>,
    moved: Moved,
    storing: FuturesUnordered<BoxFuture<'static, Result<Vec<u64>, CommitError>>>,
    answers: HashMap<TransactionId, Vec<Answer>>,
    outcomes: BTreeMap<TransactionId, Vec<oneshot::Sender<Outcome>>>,
    waiters: usize,
    kept: Kept,
    /// When the candidates are judged, however few.
    judge_at: Option<Instant>,
    bundle: Vec<Signed>,
    bundle_bytes: usize,
    bundle_at: Option<Instant>,
}

impl Driver {
    pub(crate) fn new(
        shared: Arc<Shared>,
        inbox: Inbox,
        network: network::Handle,
        topic: String,
        gossip: mpsc::Receiver<Gossip>,
    ) -> Self {
        Self {
            state: State::new(Config::default(), clock::now()),
            shared,
            inbox,
            network,
            topic,
            gossip,
            candidates: Vec::new(),
            judging: FuturesUnordered::new(),
            moved: Moved::default(),
            storing: FuturesUnordered::new(),
            answers: HashMap::new(),
            outcomes: BTreeMap::new(),
            waiters: 0,
            kept: Kept::default(),
            judge_at: None,
            bundle: Vec::new(),
            bundle_bytes: 0,
            bundle_at: None,
        }
    }

    /// Runs until told to stop.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> TaskResult {
        self.restore().await?;
        loop {
            self.judge();
            let deadline = self.state.next_deadline().since(clock::now()).min(Duration::from_secs(60));
            let (bundle_at, judge_at) = (self.bundle_at, self.judge_at);
            let may_judge = judge_at.is_some() && self.judging.len() < GROUPS_MAX;
            let has_room = self.candidates.len() < JUDGED_TOGETHER_MAX * GROUPS_MAX;
            tokio::select! {
                () = stop.cancelled() => break,
                Some(command) = self.inbox.commands.recv(), if has_room => self.command(command).await,
                Some(gossip) = self.gossip.recv(), if has_room => self.gossip(gossip).await,
                Some(judged) = self.judging.next(), if !self.judging.is_empty() => self.judged(judged).await,
                Some(stored) = self.storing.next(), if !self.storing.is_empty() => {
                    self.kept.written(&stored.map_err(DriverError::from)?);
                }
                () = until(bundle_at), if bundle_at.is_some() => self.send_bundle().await,
                () = until(judge_at), if may_judge => {}
                () = tokio::time::sleep(deadline) => self.feed(Input::Tick).await,
            }
        }
        while let Some(stored) = self.storing.next().await {
            stored.map_err(DriverError::from)?;
        }
        Ok(())
    }

    /// What waited when the node stopped waits again, in its order.
    async fn restore(&mut self) -> Result<(), DriverError> {
        let shared = Arc::clone(&self.shared);
        let stored = blocking::run(move || waiting::all(&shared.reader)).await?;
        for (place, Waiting { arrival, bytes }) in stored {
            // What an older version wrote and this one cannot read is lost to nobody: its sender has it.
            let signed = Signed::decode(&bytes).ok();
            self.kept.found(place, arrival, signed.as_ref().map(Signed::id));
            if let Some(signed) = signed {
                let origin = Origin::Stored { local: true };
                self.candidates.push((signed, Candidate { origin, answer: None, again: false }));
            }
        }
        self.kept.found_all();
        Ok(())
    }

    async fn command(&mut self, command: Command) {
        match command {
            Command::Submit { signed, origin, answer } => self.submit(signed, origin, answer),
            Command::Waiting { id, answer } => drop(answer.send(self.state.get(&id).cloned())),
            Command::Slot { wallet, next, nonce, action, answer } => {
                drop(answer.send(self.state.slot(&wallet, next, nonce, &action)));
            }
            Command::Outcome { id, answer } => self.wait(id, answer),
            Command::Select { answer } => {
                drop(answer.send(self.state.select(BATCH_TRANSACTIONS_MAX, BATCH_BYTES_MAX)));
            }
            Command::Decided { batch, entries, done } => {
                self.moved.decided(batch.height, &batch.transactions);
                self.feed(Input::Decided { batch, entries }).await;
                let _ = done.send(());
            }
            Command::Unfit { entries } => {
                for Entry { id, outcome, .. } in entries {
                    self.feed(Input::Unfit { id, outcome }).await;
                }
            }
        }
    }

    fn submit(&mut self, signed: Signed, origin: Origin, answer: Answer) {
        match self.state.precheck(clock::now(), &signed) {
            Ok(()) => self.candidates.push((signed, Candidate { origin, answer: Some(answer), again: false })),
            Err(refusal) => drop(answer.send(Err(refusal.into()))),
        }
    }

    fn wait(&mut self, id: TransactionId, answer: oneshot::Sender<Outcome>) {
        if self.waiters >= WAITERS_MAX {
            self.outcomes.retain(|_, waiters| {
                waiters.retain(|waiter| !waiter.is_closed());
                !waiters.is_empty()
            });
            self.waiters = self.outcomes.values().map(Vec::len).sum();
        }
        if self.waiters < WAITERS_MAX {
            self.waiters += 1;
            self.outcomes.entry(id).or_default().push(answer);
        }
    }

    /// A bundle of a peer. What it holds is judged here, so it is passed on when it could be read: whoever made one
    /// that cannot be pays.
    async fn gossip(&mut self, gossip: Gossip) {
        let transactions = unbundle(&gossip.bytes);
        let acceptance = if transactions.is_some() { Acceptance::Accept } else { Acceptance::Reject };
        // A network that has stopped ends the node.
        let _ = self.network.report(gossip.message_id, gossip.propagation_source, acceptance).await;
        let Some(peer) = network::did_of(&gossip.source) else { return };
        let now = clock::now();
        for signed in transactions.unwrap_or_default() {
            let known = self.state.get(&signed.id()).is_some();
            if !known && self.state.precheck(now, &signed).is_ok() {
                let origin = Origin::Peer(peer.clone());
                self.candidates.push((signed, Candidate { origin, answer: None, again: false }));
            }
        }
    }

    /// Starts judging what waits for it, a group at a time, where blocking is allowed.
    fn judge(&mut self) {
        if self.candidates.is_empty() {
            return;
        }
        if self.state.len() >= BUSY && self.candidates.len() < GATHERED_ENOUGH {
            let now = Instant::now();
            if now < *self.judge_at.get_or_insert(now + GATHER_WAIT) {
                return;
            }
        }
        while !self.candidates.is_empty() && self.judging.len() < GROUPS_MAX {
            let rest = self.candidates.split_off(self.candidates.len().min(JUDGED_TOGETHER_MAX));
            let group = std::mem::replace(&mut self.candidates, rest);
            let shared = Arc::clone(&self.shared);
            let began = shared.tip().height;
            self.moved.begin(began);
            let work = move || {
                let view = shared.view();
                let (transactions, candidates): (Vec<_>, Vec<_>) = group.into_iter().unzip();
                let verdicts = shared.verified.learn(&view, &transactions).map_err(ApplyError::from);
                let verdicts = verdicts.and_then(|()| admit_each(&view, clock::now(), &transactions, &shared.verified));
                Judged { began, group: transactions.into_iter().zip(candidates).collect(), verdicts }
            };
            self.judging.push(Box::pin(blocking::run(work)));
        }
        if self.candidates.is_empty() {
            self.judge_at = None;
        }
    }

    async fn judged(&mut self, Judged { began, group, verdicts }: Judged) {
        let verdicts = match verdicts {
            Ok(verdicts) => verdicts,
            Err(error) => {
                let error = SubmitError::Storage(error.to_string());
                self.moved.end(began);
                for answer in group.into_iter().filter_map(|(_, candidate)| candidate.answer) {
                    // A submitter that has gone away is no error of ours.
                    let _ = answer.send(Err(error.clone()));
                }
                return;
            }
        };
        let mut effects = Vec::new();
        let now = clock::now();
        for ((signed, Candidate { origin, answer, again }), verdict) in group.into_iter().zip(verdicts) {
            let id = signed.id();
            match verdict {
                Err(outcome) if again => self.state.handle(now, Input::Unfit { id, outcome }, &mut effects),
                _ if again => {}
                // What it was told of its wallet's next number is out of date.
                Ok(_) if self.moved.since(began, &signed.transaction().wallet) => {
                    self.candidates.push((signed, Candidate { origin, answer, again }));
                }
                Ok(admission) => {
                    if let Some(answer) = answer {
                        self.answers.entry(id).or_default().push(answer);
                    }
                    self.state.handle(now, Input::Submitted { signed, admission, origin }, &mut effects);
                }
                Err(outcome) => {
                    self.kept.forget(&id);
                    let error = match outcome {
                        Outcome::AlreadyDecided => SubmitError::Decided,
                        outcome => SubmitError::Outcome(outcome),
                    };
                    answer.map(|answer| answer.send(Err(error)));
                }
            }
        }
        self.moved.end(began);
        self.perform(effects).await;
    }

    async fn feed(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.state.handle(clock::now(), input, &mut effects);
        self.perform(effects).await;
    }

    async fn perform(&mut self, effects: Vec<Effect>) {
        let mut persist = Vec::new();
        let mut accepted = Vec::new();
        for effect in effects {
            match effect {
                Effect::Accepted(id) => accepted.push(id),
                Effect::Refused { id, refusal } => self.answer(id, &Err(refusal.into())),
                Effect::Gossip(signed) => self.bundle(signed).await,
                Effect::Persist { signed, local, arrival } => {
                    if local {
                        persist.push((signed, arrival));
                    }
                }
                Effect::Forget(id) => self.kept.forget(&id),
                Effect::Resolved { id, outcome } => self.resolved(id, outcome),
                Effect::Recheck(signed) => {
                    let origin = Origin::Stored { local: false };
                    self.candidates.push((signed, Candidate { origin, answer: None, again: true }));
                }
                Effect::Ready => {}
                Effect::DoubleSpend { wallet, waiting, refused } => tracing::warn!(
                    %wallet, waiting = %waiting.id(), refused = %refused.id(),
                    "a wallet signed two transactions with one sequence number; the first one stays"
                ),
            }
        }
        self.store(persist, accepted);
        self.inbox.waiting.store(self.state.len(), Ordering::Relaxed);
        self.inbox.ready.send_if_modified(|ready| std::mem::replace(ready, self.state.has_ready()) != *ready);
    }

    /// Stores what is new and drops what is decided in one batch, and answers once that is durable. Dropping alone is no
    /// reason to write: it waits for company.
    fn store(&mut self, persist: Vec<(Signed, u64)>, accepted: Vec<TransactionId>) {
        if persist.is_empty() && !self.kept.has_much_to_drop() {
            for id in accepted {
                self.answer(id, &Ok(id));
            }
            return;
        }
        let state = &self.state;
        // What had to make room for others of its group is not stored at all.
        let newcomers = persist.into_iter().filter(|(signed, _)| state.get(&signed.id()).is_some()).collect();
        let change = self.kept.change(newcomers, |id| state.get(id).cloned());
        let answers: Vec<_> = accepted.into_iter().filter_map(|id| Some((id, self.answers.remove(&id)?))).collect();
        let shared = Arc::clone(&self.shared);
        let work = move || {
            let mut batch = angel_storage::Batch::new();
            let stored = match change.write(&shared.reader, &mut batch) {
                Ok(()) => shared.writer.commit(batch).map(drop),
                Err(error) => {
                    tracing::error!(%error, "waiting transactions do not fit a batch of rows");
                    Ok(())
                }
            };
            let safe = stored.as_ref().map_err(ToString::to_string).copied();
            let written = change.groups();
            for (id, waiters) in answers {
                for waiter in waiters {
                    drop(waiter.send(safe.clone().map(|()| id).map_err(SubmitError::Storage)));
                }
            }
            stored.map(|()| written)
        };
        self.storing.push(Box::pin(blocking::run(work)));
    }

    fn answer(&mut self, id: TransactionId, answer: &Result<TransactionId, SubmitError>) {
        for waiter in self.answers.remove(&id).unwrap_or_default() {
            // A submitter that has gone away is no error of ours.
            drop(waiter.send(answer.clone()));
        }
    }

    fn resolved(&mut self, id: TransactionId, outcome: Outcome) {
        for waiter in self.outcomes.remove(&id).unwrap_or_default() {
            self.waiters = self.waiters.saturating_sub(1);
            // One that has gone away is no error of ours.
            let _ = waiter.send(outcome);
        }
    }

    async fn bundle(&mut self, signed: Signed) {
        let bytes = signed.bytes().len() + 8;
        if self.bundle_bytes + bytes > BUNDLE_BYTES_MAX {
            self.send_bundle().await;
        }
        self.bundle_bytes += bytes;
        self.bundle.push(signed);
        let wait = if self.state.len() < BUSY { BUNDLE_WAIT } else { BUNDLE_WAIT_BUSY };
        self.bundle_at.get_or_insert_with(|| Instant::now() + wait);
    }

    async fn send_bundle(&mut self) {
        self.bundle_at = None;
        self.bundle_bytes = 0;
        let transactions: Vec<&[u8]> = self.bundle.iter().map(Signed::bytes).collect();
        // The time tells a repeated bundle from the first one, which peers still remember.
        let content = borsh::to_vec(&(clock::now().as_millis(), transactions)).expect("memory takes every byte");
        self.bundle.clear();
        match self.network.publish(&self.topic, content).await {
            Ok(_) | Err(network::PublishError::Stopped) => {}
            Err(error) => tracing::debug!(%error, "transactions were not gossiped; they are again later"),
        }
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// The transactions of a bundle; nothing when it is none.
fn unbundle(bytes: &[u8]) -> Option<Vec<Signed>> {
    let (_, transactions): (u64, Vec<Vec<u8>>) = borsh::from_slice(bytes).ok()?;
    transactions.iter().map(|bytes| Signed::decode(bytes).ok()).collect()
}
