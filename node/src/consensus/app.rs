//! The application: the engine's questions, one short answer each.
//!
//! A height begins when there is work: a transaction waits, a validator speaks of the height, or a peer is further. Until
//! then the engine is not told to begin it, so an idle network decides nothing, writes nothing and sends no votes.

mod proposals;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use angel_protocol::consensus::{
    Address, Assembled, Assemblies, Height, LedgerContext, Timeouts, ValidatorSet, ValueId,
};
use angel_protocol::crypto::NodeKey;
use angel_storage::ledger::undecided::{self, Evidence};
use malachitebft_core_consensus::{LocallyProposedValue, MisbehaviorEvidence};
use malachitebft_core_types::{CommitCertificate, LinearTimeouts, Validator as _, ValidatorSet as _};
use malachitebft_engine::host::{HeightParams, HostMsg, Next};
use malachitebft_engine::network::NetworkRef;
use ractor::RpcReplyPort;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::decide::{self, Candidate};
use super::engine::{self, Question};
use super::memory::{Memory, Silence};
use super::network::{self, Heard, Mesh};
use super::signer::Voice;
use super::{Parts, Timing, reports, serve};
use crate::backup::returning::Returning;
use crate::blocking;
use crate::health::{Service, ServiceState};
use crate::ledger::{LedgerError, Shared};
use crate::mempool;
use crate::network::{PeerId, StreamError};
use crate::tasks::TaskResult;

type Ctx = LedgerContext;

/// Whole proposals of heights to come that are kept. The others send theirs again.
const EARLY_MAX: usize = 8;

/// Heights without a word from a validator after which it seems absent.
const ABSENT_AFTER: u64 = 2;

/// Evidence that may wait to be reported.
const EVIDENCE_MAX: usize = 64;

/// Why deciding cannot go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum AppError {
    #[error(transparent)]
    Engine(#[from] engine::EngineError),
    #[error("the engine's network does not start: {0}")]
    Mesh(#[from] ractor::SpawnErr),
    #[error(transparent)]
    Streams(#[from] StreamError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("the consensus engine has stopped: its log could not be kept, or is damaged; see the log above")]
    EngineEnded,
    #[error("the memory of votes: {0}; see secrets/last-vote in the data directory")]
    Memory(std::io::Error),
    #[error("the ledger's network has ended")]
    NetworkEnded,
    #[error("height {height} decided {value}, whose batch this node does not have")]
    Unknown { height: u64, value: ValueId },
    #[error("height {0} has no validators")]
    NoValidators(u64),
}

/// A height that has not begun.
enum Waiting {
    First(RpcReplyPort<(Height, HeightParams<Ctx>)>),
    Next(RpcReplyPort<Next<Ctx>>),
}

struct App {
    own: Address,
    key: Arc<NodeKey>,
    timing: Timing,
    voice: Voice,
    shared: Arc<Shared>,
    mempool: mempool::Handle,
    mesh: Arc<Mesh>,
    network: NetworkRef<Ctx>,
    service: Service,
    /// Where evidence goes to be reported.
    found: mpsc::Sender<Evidence>,
    silence: Option<Silence>,
    returning: Returning,
    assemblies: Assemblies,
    /// What may be decided at the height after the tip.
    candidates: BTreeMap<ValueId, Arc<Candidate>>,
    early: VecDeque<Assembled>,
    waiting: Option<Waiting>,
    ready: watch::Receiver<bool>,
    heard: watch::Receiver<Heard>,
    /// What this node proposed at this height, and who claimed the height by then.
    proposed: Option<(ValueId, Vec<PeerId>)>,
    /// Heights decided since the start: before a few of them, nobody counts as absent.
    decided: u64,
}

/// Why a node that was put back does not vote.
const RESTORED: &str = "this node was restored from a backup";

/// What the node's health says of a silence.
fn silent(silence: &Silence) -> ServiceState {
    let Silence { until, why } = silence;
    ServiceState::Failing(if *until == u64::MAX {
        format!("{why}: it does not vote before it has heard from the others how far they are")
    } else {
        format!("{why}: it does not vote until the others have decided height {until}")
    })
}

/// Why the engine is stopped, where nothing is wrong.
enum Pause {
    /// The node stops.
    Stopping,
    /// The others have decided what this node may not speak of: it votes from here on.
    MaySpeak,
}

pub(super) async fn run(parts: Parts, stop: CancellationToken) -> TaskResult {
    let Parts {
        timing,
        shared,
        mempool,
        wallet,
        key,
        dir,
        last_vote,
        returning,
        network: handle,
        topic,
        gossip,
        service,
    } = parts;
    let own = Address(key.did());
    let (memory, mut silence) = recollect(&shared, &own, engine::log_path(&dir), last_vote).await?;
    if returning.is_pending() {
        silence = Some(Silence { until: u64::MAX, why: RESTORED.to_owned() });
    }
    let voice = Voice::new(shared.network.clone(), Arc::clone(&key), memory);
    let validators = validators(&shared).await?;
    let mesh = Mesh::new(handle.clone(), topic, voice.clone(), Arc::clone(&shared), validators);
    let incoming = handle.accept_streams(mesh.protocol()).map_err(AppError::from)?;
    let mut helpers = JoinSet::new();
    helpers.spawn(Arc::clone(&mesh).listen(gossip));
    helpers.spawn(Arc::clone(&mesh).watch_peers());
    helpers.spawn(serve::run(Arc::clone(&mesh), incoming));
    let (found, evidence) = mpsc::channel(EVIDENCE_MAX);
    helpers.spawn(reports::run(Arc::clone(&shared), wallet, evidence));
    loop {
        let network = network::spawn(Arc::clone(&mesh)).await.map_err(AppError::from)?;
        let votes = silence.is_none();
        let (mut engine, questions) =
            engine::start(own.clone(), &voice, &dir, network.clone(), votes).await.map_err(AppError::from)?;
        let mut app = App {
            own: own.clone(),
            key: Arc::clone(&key),
            timing,
            voice: voice.clone(),
            assemblies: Assemblies::new(shared.network.clone()),
            shared: Arc::clone(&shared),
            ready: mempool.ready(),
            mempool: mempool.clone(),
            heard: mesh.heard(),
            mesh: Arc::clone(&mesh),
            network,
            service: service.clone(),
            found: found.clone(),
            silence: silence.take(),
            returning: returning.clone(),
            candidates: BTreeMap::new(),
            early: VecDeque::new(),
            waiting: None,
            proposed: None,
            decided: 0,
        };
        let ended = tokio::select! {
            () = stop.cancelled() => Ok(Pause::Stopping),
            ended = app.answer_all(questions) => ended,
            () = engine.ended() => Err(AppError::EngineEnded),
            Some(_) = helpers.join_next() => Err(AppError::NetworkEnded),
        };
        if let Err(error) = &ended {
            app.service.set(ServiceState::Failing(error.to_string()));
        }
        // Whoever waits for an answer of the application must not keep the engine from stopping.
        drop(app);
        engine.stop().await;
        if let Pause::Stopping = ended? {
            let shared = Arc::clone(&shared);
            return Ok(blocking::run(move || shared.settle()).await.map_err(AppError::from)?);
        }
        if returning.is_pending() {
            let returning = returning.clone();
            blocking::run(move || returning.done()).await.map_err(AppError::Memory)?;
        }
        tracing::info!("the others have decided what this node had voted on: it votes again");
        engine::until_log_is_free(&dir).await;
    }
}

/// What this node remembers of its votes, and whether it has to keep silent. A validator alone has nobody to contradict.
async fn recollect(
    shared: &Arc<Shared>,
    own: &Address,
    log: PathBuf,
    last_vote: PathBuf,
) -> Result<(Memory, Option<Silence>), AppError> {
    let alone = validators(shared).await?.is_alone(own);
    let shared = Arc::clone(shared);
    let recollected = blocking::run(move || {
        let noted = undecided::voting(&shared.reader).map_err(LedgerError::from)?.unwrap_or(0);
        let memory = Memory::open(&last_vote, log, shared.genesis).map_err(AppError::Memory)?;
        let silence = memory.silence(shared.tip().height, noted).map_err(AppError::Memory)?;
        Ok::<_, AppError>((memory, silence))
    });
    let (memory, silence) = recollected.await?;
    if let Some(Silence { until, why }) = &silence {
        let words = if alone {
            "it is the only validator and goes on"
        } else {
            "it keeps silent until the others have decided that height"
        };
        tracing::warn!(until, "{why}: {words}");
    }
    Ok((memory, silence.filter(|_| !alone)))
}

/// The validators of the height after the tip.
async fn validators(shared: &Arc<Shared>) -> Result<ValidatorSet, AppError> {
    let next = shared.tip().height + 1;
    let reader = shared.reader.clone();
    let set = blocking::run(move || angel_storage::ledger::decided::validators(&reader, next)).await;
    let set = set.map_err(|error| AppError::Ledger(error.into()))?;
    set.map(|set| ValidatorSet::new(&set)).filter(|set| set.count() > 0).ok_or(AppError::NoValidators(next))
}

impl App {
    async fn answer_all(&mut self, mut questions: mpsc::Receiver<Question>) -> Result<Pause, AppError> {
        self.service.set(self.silence.as_ref().map_or(ServiceState::Ok, silent));
        loop {
            self.learn_how_far_others_are().await?;
            if self.silence.as_ref().is_some_and(|silence| self.shared.tip().height >= silence.until) {
                return Ok(Pause::MaySpeak);
            }
            tokio::select! {
                question = questions.recv() => match question {
                    Some(question) => self.answer(question).await?,
                    None => return Err(AppError::EngineEnded),
                },
                Ok(()) = self.ready.changed(), if self.waiting.is_some() => {}
                Ok(()) = self.heard.changed(), if self.waiting.is_some() => {}
            }
            self.begin_if_due().await?;
        }
    }

    /// A node that was put back learns from others on which heights it may have voted, and one that was off how far they are.
    async fn learn_how_far_others_are(&mut self) -> Result<(), AppError> {
        if self.returning.listens() {
            let (own, heard) = (self.shared.tip().height, self.heard.borrow().tip);
            if validators(&self.shared).await?.is_alone(&self.own) {
                self.returning.is_alone();
            } else {
                self.returning.heard(own, heard, false);
            }
        }
        let Some(silence) = self.silence.as_mut().filter(|silence| silence.until == u64::MAX) else { return Ok(()) };
        let is_alone = validators(&self.shared).await?.is_alone(&self.own);
        let (own, heard) = (self.shared.tip().height, self.heard.borrow().tip);
        // Only once it is where they are: until then they may go on to claim more.
        if let Some(until) = self.returning.heard(own, heard, is_alone).filter(|_| own >= heard) {
            silence.until = until;
            self.service.set(silent(silence));
        }
        Ok(())
    }

    async fn answer(&mut self, question: Question) -> Result<(), AppError> {
        match question {
            HostMsg::ConsensusReady { reply_to } => self.waiting = Some(Waiting::First(reply_to)),
            HostMsg::StartedRound { height, round, reply_to, .. } => {
                let values = self.started_round(height, round).await?;
                reply(reply_to, values);
            }
            HostMsg::GetValue { height, round, reply_to, .. } => {
                if let Some(value) = self.propose(height, round).await? {
                    reply(reply_to, LocallyProposedValue::new(height, round, value));
                }
            }
            HostMsg::RestreamValue { height, round, valid_round, value_id, .. } => {
                if let Some(candidate) = self.candidates.get(&value_id).cloned() {
                    self.hand_out(&candidate, height, round, valid_round);
                }
            }
            HostMsg::ReceivedProposalPart { published_by, part, reply_to, .. } => {
                if let Some(value) = self.received(published_by, part).await? {
                    reply(reply_to, value);
                }
            }
            HostMsg::Decided { certificate, reply_to, .. } => {
                self.decide(&certificate).await?;
                reply(reply_to, ());
            }
            HostMsg::Finalized { certificate, evidence, reply_to, .. } => {
                self.keep_evidence(certificate.height.0, evidence).await?;
                self.waiting = Some(Waiting::Next(reply_to));
            }
            HostMsg::ProcessSyncedValue { height, round, proposer, value_bytes, reply_to } => {
                let outcome = self.synced(height, round, proposer, value_bytes.to_vec()).await;
                reply(reply_to, outcome);
            }
            HostMsg::GetHistoryMinHeight { reply_to } => reply(reply_to, Height(1)),
            // Peers' requests are answered before they reach the engine.
            HostMsg::GetDecidedValues { reply_to, .. } => reply(reply_to, Vec::new()),
            // Votes are not extended.
            HostMsg::ExtendVote { reply_to, .. } => reply(reply_to, None),
            HostMsg::VerifyVoteExtensions { extensions, reply_to, .. } => {
                let refuse = |(address, ())| {
                    (address, Err(malachitebft_core_consensus::VoteExtensionError::InvalidVoteExtension))
                };
                reply(reply_to, extensions.into_iter().map(refuse).collect());
            }
        }
        Ok(())
    }

    /// Begins the height after the tip when there is a reason to.
    async fn begin_if_due(&mut self) -> Result<(), AppError> {
        if self.waiting.is_none() {
            return Ok(());
        }
        let next = self.shared.tip().height + 1;
        let validators = validators(&self.shared).await?;
        let heard = *self.heard.borrow_and_update();
        let ready = *self.ready.borrow_and_update();
        let alone = validators.is_alone(&self.own);
        let votes = validators.position(&self.own).is_some() && self.silence.is_none();
        let due = (ready && votes) || heard.height >= next || (!alone && heard.tip >= next);
        if !due {
            return Ok(());
        }
        self.mesh.set_validators(validators.clone());
        let params = HeightParams::new(validators.clone(), self.timeouts(next, &validators), None);
        match self.waiting.take() {
            Some(Waiting::First(port)) => reply(port, (Height(next), params)),
            Some(Waiting::Next(port)) => reply(port, Next::Start(Height(next), params)),
            None => {}
        }
        Ok(())
    }

    /// Waits less for validators that were not heard of for some heights.
    fn timeouts(&self, height: u64, validators: &ValidatorSet) -> Timeouts {
        let Timing { propose, propose_absent, vote } = self.timing;
        let linear = LinearTimeouts {
            propose,
            propose_delta: propose / 2,
            prevote: vote,
            prevote_delta: vote / 2,
            precommit: vote,
            precommit_delta: vote / 2,
            rebroadcast: propose + 2 * vote,
            max_timeout: Duration::from_secs(20),
        };
        let timeouts = Timeouts::new(linear, propose_absent, height, validators);
        if self.decided <= ABSENT_AFTER + 1 {
            return timeouts;
        }
        let absent: Vec<Address> = validators
            .iter()
            .map(|validator| validator.address())
            .filter(|address| **address != self.own && self.voice.latest(address) + ABSENT_AFTER < height)
            .cloned()
            .collect();
        timeouts.without(validators, &absent)
    }

    /// Writes a decided height, and tells whoever waits for it.
    async fn decide(&mut self, certificate: &CommitCertificate<Ctx>) -> Result<(), AppError> {
        let (height, value) = (certificate.height, certificate.value_id);
        if !self.candidates.contains_key(&value) {
            self.restore(height).await?;
        }
        let candidate = self.candidates.remove(&value).ok_or(AppError::Unknown { height: height.0, value })?;
        let shared = Arc::clone(&self.shared);
        let certificate = certificate.clone();
        let written = Arc::clone(&candidate);
        blocking::run(move || decide::write(&shared, &written, &certificate)).await?;
        self.decided += 1;
        self.candidates.clear();
        self.assemblies.forget_until(height.0);
        if let Some((proposed, claimants)) = self.proposed.take()
            && proposed == value
        {
            self.mesh.disbelieve(&claimants);
        }
        let entries = candidate.applied.entries.clone();
        tracing::debug!(%height, transactions = entries.len(), "decided");
        self.mempool.decided(Arc::clone(&candidate.batch), entries).await;
        Ok(())
    }

    /// Keeps the proofs of validators that contradicted themselves, and has them reported.
    async fn keep_evidence(&self, height: u64, found: MisbehaviorEvidence<Ctx>) -> Result<(), AppError> {
        if found.is_empty() {
            return Ok(());
        }
        let evidence = reports::evidence(&self.shared.network, &found);
        for it in &evidence {
            tracing::error!(validator = %it.validator, height, kind = it.kind, "a validator contradicted itself; the proof is kept");
        }
        reports::keep(&self.shared, height, evidence.clone()).await?;
        for it in evidence {
            // With more at once than are taken, the next start reports what is left.
            let _ = self.found.try_send(it);
        }
        Ok(())
    }
}

/// Answers the engine. It is gone only when the node stops.
fn reply<T>(port: RpcReplyPort<T>, answer: T) {
    let _ = port.send(answer);
}
