//! The application: the engine's questions, one short answer each.
//!
//! A height begins when there is work: a transaction waits, a validator speaks of the height, or a peer is further. Until
//! then the engine is not told to begin it, so an idle network decides nothing, writes nothing and sends no votes.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use angel_protocol::consensus::{
    Address, Assembled, Assemblies, Height, LedgerContext, Timeouts, ValidatorSet, ValueId,
};
use angel_protocol::crypto::NodeKey;
use angel_protocol::ids::Did;
use angel_storage::ledger::undecided::{self, Evidence, Undecided};
use malachitebft_core_consensus::{LocallyProposedValue, MisbehaviorEvidence, ProposedValue};
use malachitebft_core_types::{CommitCertificate, LinearTimeouts, Round, Validator as _, ValidatorSet as _, Validity};
use malachitebft_engine::host::{HeightParams, HostMsg, Next, SyncedValueOutcome};
use malachitebft_engine::network::NetworkRef;
use malachitebft_engine::util::streaming::{StreamContent, StreamMessage};
use malachitebft_peer::PeerId as EnginePeer;
use ractor::RpcReplyPort;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::decide::{self, Candidate};
use super::engine::{self, Question};
use super::memory::{Memory, Silence};
use super::network::{self, Heard, Mesh};
use super::signer::Voice;
use super::{Parts, Timing, proposer, reports, serve};
use crate::blocking;
use crate::clock;
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

/// Why the engine is stopped, where nothing is wrong.
enum Pause {
    /// The node stops.
    Stopping,
    /// The others have decided what this node may not speak of: it votes from here on.
    MaySpeak,
}

pub(super) async fn run(parts: Parts, stop: CancellationToken) -> TaskResult {
    let Parts { timing, shared, mempool, wallet, key, dir, last_vote, network: handle, topic, gossip, service } = parts;
    let own = Address(key.did());
    let (memory, mut silence) = recollect(&shared, &own, engine::log_path(&dir), last_vote).await?;
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
            return Ok(());
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
        self.service.set(match &self.silence {
            None => ServiceState::Ok,
            Some(Silence { until, why }) => {
                ServiceState::Failing(format!("{why}: it does not vote until the others have decided height {until}"))
            }
        });
        loop {
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

    /// What was seen of this height already: kept through a restart, or come early.
    async fn started_round(&mut self, height: Height, round: Round) -> Result<Vec<ProposedValue<Ctx>>, AppError> {
        if round != Round::new(0) && !self.candidates.is_empty() {
            return Ok(Vec::new());
        }
        let mut values = self.restore(height).await?;
        let (now, later): (Vec<_>, Vec<_>) = self.early.drain(..).partition(|early| early.head.height <= height);
        self.early = later.into();
        for assembled in now {
            if assembled.head.height == height {
                values.extend(self.consider(assembled).await?);
            }
        }
        Ok(values)
    }

    async fn restore(&mut self, height: Height) -> Result<Vec<ProposedValue<Ctx>>, AppError> {
        let shared = Arc::clone(&self.shared);
        let restored = blocking::run(move || {
            let mut restored = Vec::new();
            for value in undecided::at(&shared.reader, height.0)? {
                let Some(kept) = undecided::get(&shared.reader, height.0, value)? else { continue };
                let Undecided { round, pol_round, proposer, body } = kept;
                // It was accepted when it was new.
                match decide::judge(&shared, ValueId(value), body, proposer, None) {
                    Ok(candidate) => restored.push((candidate, round, pol_round)),
                    Err(error) => {
                        tracing::warn!(%height, %error, "a proposal kept through a restart is not good any more");
                    }
                }
            }
            Ok::<_, LedgerError>(restored)
        });
        let mut values = Vec::new();
        for (candidate, round, pol_round) in restored.await? {
            values.push(proposed(&candidate, height, Round::new(round), pol_round.map_or(Round::Nil, Round::new)));
            self.candidates.insert(candidate.value, Arc::new(candidate));
        }
        Ok(values)
    }

    /// A batch of this node's own: what it proposed in this round before a restart, or a new one.
    async fn propose(&mut self, height: Height, round: Round) -> Result<Option<ValueId>, AppError> {
        if height.0 != self.shared.tip().height + 1 {
            return Ok(None);
        }
        let waiting = self.mempool.select().await;
        let claimants = self.mesh.claimants(height.0);
        let own: Did = self.own.0.clone();
        let shared = Arc::clone(&self.shared);
        let made = blocking::run(move || {
            for value in undecided::at(&shared.reader, height.0)? {
                let kept = undecided::get(&shared.reader, height.0, value)?;
                if kept.is_some_and(|kept| kept.proposer == own && Round::new(kept.round) == round) {
                    return Ok::<_, LedgerError>((ValueId(value), None, Vec::new()));
                }
            }
            let (candidate, unfit) = proposer::make(&shared, waiting, clock::now())?;
            proposer::keep(&shared, height.0, &candidate, round, Round::Nil)?;
            Ok((candidate.value, Some(candidate), unfit))
        });
        let (value, made, unfit) = made.await?;
        self.mempool.unfit(unfit).await;
        if let Some(made) = made {
            self.candidates.insert(value, Arc::new(made));
        }
        self.proposed = Some((value, claimants));
        let candidate = self.candidates.get(&value).cloned().ok_or(AppError::Unknown { height: height.0, value })?;
        self.hand_out(&candidate, height, round, Round::Nil);
        Ok(Some(value))
    }

    fn hand_out(&self, candidate: &Candidate, height: Height, round: Round, pol_round: Round) {
        for part in proposer::parts(candidate, height, round, pol_round, &self.shared.network, &self.key) {
            // An actor that is gone takes the engine with it.
            let _ = self.network.cast(part);
        }
    }

    /// One part of somebody's proposal; answers the value once it is whole.
    async fn received(
        &mut self,
        publisher: Option<EnginePeer>,
        message: StreamMessage<angel_protocol::consensus::Part>,
    ) -> Result<Option<ProposedValue<Ctx>>, AppError> {
        let StreamMessage { stream_id, sequence, content } = message;
        let (Some(publisher), StreamContent::Data(part)) = (publisher, content) else { return Ok(None) };
        let key = (publisher.to_bytes(), stream_id.to_bytes().to_vec());
        let assembled = match self.assemblies.add(key, sequence, part) {
            Ok(Some(assembled)) => assembled,
            Ok(None) => return Ok(None),
            Err(error) => {
                tracing::debug!(%publisher, %error, "a part of a proposal was refused");
                return Ok(None);
            }
        };
        let next = self.shared.tip().height + 1;
        match assembled.head.height.0.cmp(&next) {
            std::cmp::Ordering::Less => Ok(None),
            std::cmp::Ordering::Equal => self.consider(assembled).await,
            std::cmp::Ordering::Greater => {
                if self.early.len() >= EARLY_MAX {
                    self.early.pop_front();
                }
                self.early.push_back(assembled);
                Ok(None)
            }
        }
    }

    /// Judges a whole proposal of the height after the tip, and keeps it when it is good.
    async fn consider(&mut self, assembled: Assembled) -> Result<Option<ProposedValue<Ctx>>, AppError> {
        let Assembled { head, body } = assembled;
        let validators = validators(&self.shared).await?;
        let turn = head.round.as_u32().map(|round| validators.proposer(head.height.0, round).address().clone());
        if turn.as_ref() != Some(&head.sender) {
            tracing::debug!(sender = %head.sender, height = %head.height, "a proposal came from somebody whose turn it is not");
            return Ok(None);
        }
        if let Some(known) = self.candidates.get(&head.value) {
            return Ok(Some(proposed(known, head.height, head.round, head.pol_round)));
        }
        let fresh = head.pol_round == Round::Nil;
        let clock = fresh.then(clock::now);
        let shared = Arc::clone(&self.shared);
        let (value, proposer, height, round, pol_round) =
            (head.value, head.proposer.0.clone(), head.height.0, head.round, head.pol_round);
        let judged = blocking::run(move || {
            let candidate = match decide::judge(&shared, value, body, proposer, clock) {
                Ok(candidate) => candidate,
                Err(error) => return Ok::<_, LedgerError>(Err(error)),
            };
            proposer::keep(&shared, height, &candidate, round, pol_round)?;
            Ok(Ok(candidate))
        });
        match judged.await? {
            Ok(candidate) => {
                let value = proposed(&candidate, head.height, head.round, head.pol_round);
                self.candidates.insert(candidate.value, Arc::new(candidate));
                Ok(Some(value))
            }
            Err(error) => {
                tracing::warn!(proposer = %head.sender, height = %head.height, %error, "a proposal gets no vote");
                Ok(Some(ProposedValue {
                    height: head.height,
                    round: head.round,
                    valid_round: head.pol_round,
                    proposer: head.proposer,
                    value: head.value,
                    validity: Validity::Invalid,
                }))
            }
        }
    }

    /// A height that others decided: its certificate was checked by the engine, its batch is judged here.
    async fn synced(
        &mut self,
        height: Height,
        round: Round,
        proposer: Address,
        body: Vec<u8>,
    ) -> SyncedValueOutcome<Ctx> {
        if height.0 != self.shared.tip().height + 1 {
            return SyncedValueOutcome::LocalTransientError;
        }
        let shared = Arc::clone(&self.shared);
        let by = proposer.0.clone();
        let judged = blocking::run(move || {
            let batch = angel_protocol::ledger::Batch::decode(&body)?;
            let view = crate::ledger::Cached::new(angel_storage::ledger::LedgerView(&shared.reader));
            let applied = angel_protocol::ledger::apply(&view, &batch, &shared.verified)?;
            let value = ValueId::of(&applied.header);
            Ok::<_, decide::Unacceptable>(Candidate {
                value,
                batch: Arc::new(batch),
                encoded: body,
                applied,
                proposer: by,
            })
        });
        match judged.await {
            Ok(candidate) => {
                let value = proposed(&candidate, height, round, Round::Nil);
                self.candidates.insert(candidate.value, Arc::new(candidate));
                SyncedValueOutcome::Verdict(value)
            }
            Err(error) => {
                tracing::warn!(%height, %error, "a height that a peer sent is no good");
                SyncedValueOutcome::PeerFault
            }
        }
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

    async fn keep_evidence(&self, height: u64, evidence: MisbehaviorEvidence<Ctx>) -> Result<(), AppError> {
        if evidence.is_empty() {
            return Ok(());
        }
        let network = &self.shared.network;
        let votes = evidence.votes.iter().flat_map(|(address, pairs)| {
            pairs.iter().filter_map(move |(first, second)| {
                Some(Evidence {
                    validator: address.0.clone(),
                    kind: "vote".to_owned(),
                    first: first.message.in_ledger(network)?.sign_bytes(),
                    first_signature: first.signature.to_vec(),
                    second: second.message.in_ledger(network)?.sign_bytes(),
                    second_signature: second.signature.to_vec(),
                })
            })
        });
        let proposals = evidence.proposals.iter().flat_map(|(address, pairs)| {
            pairs.iter().map(move |(first, second)| Evidence {
                validator: address.0.clone(),
                kind: "proposal".to_owned(),
                first: first.message.sign_bytes(network),
                first_signature: first.signature.to_vec(),
                second: second.message.sign_bytes(network),
                second_signature: second.signature.to_vec(),
            })
        });
        let evidence: Vec<_> = votes.chain(proposals).collect();
        for it in &evidence {
            tracing::error!(validator = %it.validator, height, kind = it.kind, "a validator contradicted itself; the proof is kept");
        }
        let (shared, found) = (Arc::clone(&self.shared), evidence.clone());
        let kept = blocking::run(move || {
            let mut batch = angel_storage::Batch::new();
            match undecided::keep_evidence(&mut batch, height, evidence) {
                Ok(()) => shared.writer.commit(batch).map(drop),
                Err(error) => {
                    tracing::error!(%error, "the proof does not fit a batch of rows");
                    Ok(())
                }
            }
        });
        kept.await.map_err(LedgerError::from)?;
        for it in found {
            // With more at once than are taken, the next start reports what is left.
            let _ = self.found.try_send(it);
        }
        Ok(())
    }
}

fn proposed(candidate: &Candidate, height: Height, round: Round, valid_round: Round) -> ProposedValue<Ctx> {
    ProposedValue {
        height,
        round,
        valid_round,
        proposer: Address(candidate.proposer.clone()),
        value: candidate.value,
        validity: Validity::Valid,
    }
}

/// Answers the engine. It is gone only when the node stops.
fn reply<T>(port: RpcReplyPort<T>, answer: T) {
    let _ = port.send(answer);
}
