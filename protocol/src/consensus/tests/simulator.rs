//! The engine's core, many validators in one thread: lost and late messages, crashes, log replay, one seed.
//!
//! A crash loses what was not flushed; a restarted validator would propose something else and vote anew, were it not for
//! its log. So the same runs without replay must show validators that contradict themselves, or the check is blind.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use malachitebft_core_consensus::{
    Effect, Error, Input, LivenessMsg, LocallyProposedValue, Params, ProposedValue, Resumable, Resume,
    SignedConsensusMsg, State, ValuePayload, process,
};
use malachitebft_core_types::{
    CommitCertificate, ExtendedCommitCertificate, Height as _, LinearTimeouts, NilOrVal, Round, SignedMessage, Timeout,
    Timeouts as _, Validator as _, ValidatorSet as _, Validity, ValueOrigin, ValueResponse, VoteExtensionPolicy,
    VoteExtensions, VoteType,
};
use malachitebft_metrics::Metrics;
use malachitebft_peer::PeerId;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

use super::super::{Address, Height, LedgerContext, Timeouts, ValidatorSet, ValueId};
use crate::crypto::{NodeKey, NodePublicKey};
use crate::ids::NetworkId;
use crate::ledger;

type Event = Input<LedgerContext>;

/// What a run found.
#[derive(Debug, Default)]
struct Found {
    decided: u64,
    crashes: u64,
    /// Two values decided at one height.
    forks: u64,
    /// Two votes or proposals of one validator for one step.
    contradictions: u64,
}

#[derive(Debug)]
enum Happening {
    Input { to: usize, life: u32, input: Box<Event> },
    Restart { node: usize },
    Sync { to: usize },
}

struct Node {
    state: State<LedgerContext>,
    metrics: Metrics,
    life: u32,
    alive: bool,
    height: u64,
    timers: BTreeSet<(i64, u8)>,
    /// Entries of the log: those flushed, and those a crash loses.
    log: Vec<Event>,
    flushed: usize,
    replaying: bool,
}

struct Simulation {
    rng: ChaCha8Rng,
    set: ValidatorSet,
    keys: Vec<NodePublicKey>,
    nodes: Vec<Node>,
    queue: BTreeMap<(u64, u64), Happening>,
    now: u64,
    count: u64,
    decided: BTreeMap<u64, (ValueId, CommitCertificate<LedgerContext>)>,
    said: BTreeMap<(usize, u64, i64, u8), Option<ValueId>>,
    replay: bool,
    found: Found,
}

const HEIGHT: u64 = 1;
const LOSS_PERCENT: u64 = 5;

fn kind(timeout: &Timeout) -> (i64, u8) {
    use malachitebft_core_types::TimeoutKind::{FinalizeHeight, Precommit, Prevote, Propose, Rebroadcast};
    let kind = match timeout.kind {
        Propose => 0,
        Prevote => 1,
        Precommit => 2,
        Rebroadcast => 3,
        FinalizeHeight(_) => 4,
    };
    (timeout.round.as_i64(), kind)
}

/// Stands for a signature: nobody in here forges one, and a run checks hundreds of thousands.
fn seal(key: NodePublicKey, message: &[u8]) -> [u8; 64] {
    let half: [u8; 32] = Sha256::new().chain_update(key.to_bytes()).chain_update(message).finalize().into();
    let mut seal = [0; 64];
    seal[..32].copy_from_slice(&half);
    seal
}

fn network() -> NetworkId {
    "home-dev".parse().expect("a network id")
}

fn vote_bytes(vote: &super::super::Vote) -> Vec<u8> {
    vote.in_ledger(&network()).expect("votes are cast in rounds").sign_bytes()
}

impl Simulation {
    fn new(seed: u64, validators: u8, replay: bool) -> Self {
        let mut keys: Vec<_> = (1..=validators).map(|seed| NodeKey::from_seed(&[seed; 32]).public()).collect();
        keys.sort_by_key(|key| key.did());
        let set = ValidatorSet::new(&ledger::ValidatorSet::new(keys.iter().map(|key| key.did()).collect()));
        let mut simulation = Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            set,
            keys,
            nodes: Vec::new(),
            queue: BTreeMap::new(),
            now: 0,
            count: 0,
            decided: BTreeMap::new(),
            said: BTreeMap::new(),
            replay,
            found: Found::default(),
        };
        for index in 0..usize::from(validators) {
            let state = simulation.fresh(index, HEIGHT);
            simulation.nodes.push(Node {
                state,
                metrics: Metrics::new(),
                life: 0,
                alive: true,
                height: HEIGHT,
                timers: BTreeSet::new(),
                log: Vec::new(),
                flushed: 0,
                replaying: false,
            });
        }
        for index in 0..usize::from(validators) {
            simulation.start_height(index, HEIGHT);
        }
        simulation
    }

    fn fresh(&self, index: usize, height: u64) -> State<LedgerContext> {
        let params = Params {
            address: Address(self.keys[index].did()),
            threshold_params: Default::default(),
            value_payload: ValuePayload::ProposalAndParts,
            enabled: true,
        };
        State::new(LedgerContext, Height(height), self.set.clone(), params, 10, 500)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.rng.next_u64() % bound
    }

    fn after(&mut self, millis: u64, happening: Happening) {
        self.count += 1;
        self.queue.insert((self.now + millis, self.count), happening);
    }

    fn post(&mut self, to: usize, millis: u64, input: Event) {
        let life = self.nodes[to].life;
        self.after(millis, Happening::Input { to, life, input: Box::new(input) });
    }

    /// To all others, each on its own way: late, or never.
    fn broadcast(&mut self, from: usize, input: &Event) {
        for to in 0..self.nodes.len() {
            if to != from && self.below(100) >= LOSS_PERCENT {
                let late = 1 + self.below(40) + if self.below(20) == 0 { self.below(3000) } else { 0 };
                // Messages outlive the receiver's crash: they are on their way.
                let life = u32::MAX;
                self.after(late, Happening::Input { to, life, input: Box::new(input.clone()) });
            }
        }
    }

    fn start_height(&mut self, index: usize, height: u64) {
        let node = &mut self.nodes[index];
        if node.height != height {
            node.height = height;
            node.log.clear();
            node.flushed = 0;
        }
        let input = Input::StartHeight(Height(height), self.set.clone(), false, None, VoteExtensionPolicy::Disabled);
        self.process(index, input);
    }

    fn crash(&mut self, index: usize) {
        self.found.crashes += 1;
        let node = &mut self.nodes[index];
        node.alive = false;
        node.life += 1;
        node.timers.clear();
        node.log.truncate(node.flushed);
        let down = 50 + self.below(4000);
        self.after(down, Happening::Restart { node: index });
    }

    fn restart(&mut self, index: usize) {
        let height = self.nodes[index].height;
        let state = self.fresh(index, height);
        let node = &mut self.nodes[index];
        node.state = state;
        node.metrics = Metrics::new();
        node.alive = true;
        let entries = if self.replay { node.log.clone() } else { Vec::new() };
        self.start_height(index, height);
        if entries.is_empty() {
            return;
        }
        self.nodes[index].state.index_wal_entries(entries.iter());
        self.nodes[index].replaying = true;
        for entry in entries {
            self.process(index, entry);
        }
        self.nodes[index].replaying = false;
        self.nodes[index].state.reset_entries_index();
    }

    fn step(&mut self) -> bool {
        let Some(((at, _), happening)) = self.queue.pop_first() else { return false };
        self.now = at;
        match happening {
            Happening::Restart { node } => self.restart(node),
            Happening::Sync { to } => self.sync(to),
            Happening::Input { to, life, input } => {
                let node = &mut self.nodes[to];
                if !node.alive || (life != u32::MAX && life != node.life) {
                    return true;
                }
                if let Input::TimeoutElapsed(timeout) = &*input
                    && !node.timers.remove(&kind(timeout))
                {
                    return true;
                }
                self.process(to, *input);
            }
        }
        true
    }

    /// A validator that is behind hears of a decided height.
    fn sync(&mut self, to: usize) {
        self.after(500, Happening::Sync { to });
        if !self.nodes[to].alive {
            return;
        }
        let height = self.nodes[to].height;
        if let Some((value, certificate)) = self.decided.get(&height).cloned() {
            let certificate = ExtendedCommitCertificate::from_commit_certificate_and_extensions(
                certificate,
                VoteExtensions::default(),
            );
            let peer = PeerId::from_bytes(&[&[0, 36, 8, 1, 18, 32][..], &[1; 32]].concat()).expect("a peer id");
            self.process(to, Input::SyncValueResponse(ValueResponse::new(peer, value.0.to_vec().into(), certificate)));
        }
    }

    fn process(&mut self, index: usize, input: Event) {
        let mut next = Vec::new();
        let empty = self.fresh(index, 1);
        let mut state = std::mem::replace(&mut self.nodes[index].state, empty);
        let metrics = self.nodes[index].metrics.clone();
        let outcome: Result<(), Error<LedgerContext>> = process!(
            input: input,
            state: &mut state,
            metrics: &metrics,
            with: effect => Ok::<_, Error<LedgerContext>>(self.perform(index, effect, &mut next))
        );
        outcome.expect("honest inputs are processed");
        self.nodes[index].state = state;
        for height in next {
            self.start_height(index, height);
        }
    }

    /// Notes what a validator says, and whether it has said otherwise.
    fn said(&mut self, index: usize, height: Height, round: Round, step: u8, value: Option<ValueId>) {
        let known = self.said.entry((index, height.0, round.as_i64(), step)).or_insert(value);
        if *known != value {
            self.found.contradictions += 1;
        }
    }

    fn holds(&self, vote: &super::super::Vote, signature: &[u8; 64]) -> bool {
        let key = self.set.get_by_address(&vote.validator).map(|validator| *validator.public_key());
        key.is_some_and(|key| seal(key, &vote_bytes(vote)) == *signature)
    }

    fn perform(&mut self, index: usize, effect: Effect<LedgerContext>, next: &mut Vec<u64>) -> Resume<LedgerContext> {
        let key = self.keys[index];
        match effect {
            Effect::CancelAllTimeouts(resume) => {
                self.nodes[index].timers.clear();
                resume.resume_with(())
            }
            Effect::CancelTimeout(timeout, resume) => {
                self.nodes[index].timers.remove(&kind(&timeout));
                resume.resume_with(())
            }
            Effect::ScheduleTimeout(timeout, resume) => {
                let timeouts = Timeouts::new(LinearTimeouts::default(), Duration::from_millis(100), 1, &self.set);
                let millis = u64::try_from(timeouts.duration_for(timeout).as_millis()).expect("short");
                self.nodes[index].timers.insert(kind(&timeout));
                self.post(index, millis, Input::TimeoutElapsed(timeout));
                resume.resume_with(())
            }
            Effect::StartRound(_, _, _, _, resume) => {
                self.flush(index);
                resume.resume_with(())
            }
            Effect::PublishConsensusMsg(message, resume) => {
                self.flush(index);
                let input = match message {
                    SignedConsensusMsg::Vote(vote) => {
                        let step = if vote.step == VoteType::Prevote { 1 } else { 2 };
                        let value = match vote.value {
                            NilOrVal::Nil => None,
                            NilOrVal::Val(value) => Some(value),
                        };
                        self.said(index, vote.height, vote.round, step, value);
                        Input::Vote(vote)
                    }
                    SignedConsensusMsg::Proposal(proposal) => {
                        self.said(index, proposal.height, proposal.round, 0, Some(proposal.value));
                        self.broadcast_value(
                            index,
                            proposal.height,
                            proposal.round,
                            proposal.pol_round,
                            proposal.value,
                        );
                        Input::Proposal(proposal)
                    }
                };
                self.broadcast(index, &input);
                resume.resume_with(())
            }
            Effect::PublishLivenessMsg(message, resume) => {
                let input = match message {
                    LivenessMsg::Vote(vote) => Input::Vote(vote),
                    LivenessMsg::PolkaCertificate(certificate) => Input::PolkaCertificate(certificate),
                    LivenessMsg::SkipRoundCertificate(certificate) => Input::RoundCertificate(certificate),
                };
                self.broadcast(index, &input);
                resume.resume_with(())
            }
            Effect::RepublishVote(vote, resume) => {
                self.broadcast(index, &Input::Vote(vote));
                resume.resume_with(())
            }
            Effect::RepublishRoundCertificate(certificate, resume) => {
                self.broadcast(index, &Input::RoundCertificate(certificate));
                resume.resume_with(())
            }
            Effect::GetValue(height, round, _, resume) => {
                // Different after every restart, as a mempool is.
                let life = self.nodes[index].life;
                let content = (height, round.as_i64(), index as u64, life);
                let value = ValueId(Sha256::digest(borsh::to_vec(&content).expect("memory takes every byte")).into());
                let late = 1 + self.below(30);
                self.post(index, late, Input::Propose(LocallyProposedValue::new(height, round, value)));
                resume.resume_with(())
            }
            Effect::RestreamProposal(height, round, valid_round, _, value, resume) => {
                self.broadcast_value(index, height, round, valid_round, value);
                resume.resume_with(())
            }
            Effect::CertVerifiedSyncValue(response, proposer, resume) => {
                let certificate = &response.certificate;
                let value = ProposedValue {
                    height: certificate.height,
                    round: certificate.round,
                    valid_round: Round::Nil,
                    proposer,
                    value: certificate.value_id,
                    validity: Validity::Valid,
                };
                self.post(index, 1, Input::ProposedValue(value, ValueOrigin::Sync));
                resume.resume_with(())
            }
            Effect::CertRejectedSyncValue(_, height, error, _) => {
                panic!("an honest certificate of {height}: {error:?}")
            }
            Effect::Decide(certificate, _, resume) => {
                self.flush(index);
                self.decide(certificate);
                resume.resume_with(())
            }
            Effect::Finalize(certificate, _, _, resume) => {
                next.push(certificate.height.increment().0);
                resume.resume_with(())
            }
            Effect::SignVote(vote, resume) => {
                let signature = seal(key, &vote_bytes(&vote));
                resume.resume_with(SignedMessage::new(vote, signature))
            }
            Effect::SignProposal(proposal, resume) => {
                let signature = seal(key, &proposal.sign_bytes(&network()));
                resume.resume_with(SignedMessage::new(proposal, signature))
            }
            Effect::VerifySignature(message, key, resume) => {
                use malachitebft_core_consensus::ConsensusMsg::{Proposal, Vote};
                let bytes = match &message.message {
                    Vote(vote) => vote_bytes(vote),
                    Proposal(proposal) => proposal.sign_bytes(&network()),
                };
                resume.resume_with(seal(key, &bytes) == message.signature)
            }
            Effect::VerifyCommitCertificate(certificate, _, _, resume) => {
                assert!(self.is_certificate(&certificate), "honest certificates hold");
                resume.resume_with(Ok(()))
            }
            Effect::VerifyExtendedCommitCertificate(certificate, _, _, _, resume) => {
                assert!(self.is_certificate(&certificate.trim_vote_extensions()), "honest certificates hold");
                resume.resume_with(Ok(()))
            }
            Effect::VerifyPolkaCertificate(certificate, _, _, resume) => {
                assert!(certificate.votes(&LedgerContext).all(|vote| self.holds(&vote.message, &vote.signature)));
                resume.resume_with(Ok(()))
            }
            Effect::VerifyRoundCertificate(_, _, _, resume) => resume.resume_with(Ok(())),
            Effect::WalAppend(_, input, resume) => {
                if !self.nodes[index].replaying {
                    self.nodes[index].log.push(input);
                }
                resume.resume_with(())
            }
            Effect::ExtendVote(..) | Effect::VerifyVoteExtension(..) => panic!("votes are not extended"),
        }
    }

    fn flush(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        if !node.replaying {
            node.flushed = node.log.len();
        }
    }

    fn broadcast_value(&mut self, from: usize, height: Height, round: Round, valid_round: Round, value: ValueId) {
        let proposer = Address(self.keys[from].did());
        let value = ProposedValue { height, round, valid_round, proposer, value, validity: Validity::Valid };
        self.broadcast(from, &Input::ProposedValue(value, ValueOrigin::Consensus));
    }

    fn is_certificate(&self, certificate: &CommitCertificate<LedgerContext>) -> bool {
        let signers: BTreeSet<_> = certificate.commit_signatures.iter().map(|entry| &entry.address).collect();
        let holds = certificate.commit_signatures.iter().all(|entry| {
            let vote = super::super::Vote {
                height: certificate.height,
                round: certificate.round,
                step: VoteType::Precommit,
                value: NilOrVal::Val(certificate.value_id),
                validator: entry.address.clone(),
            };
            self.holds(&vote, &entry.signature)
        });
        holds && signers.len() * 3 > self.set.count() * 2
    }

    fn decide(&mut self, certificate: CommitCertificate<LedgerContext>) {
        assert!(self.is_certificate(&certificate), "a decision has its certificate");
        let (height, value) = (certificate.height.0, certificate.value_id);
        let first = self.decided.entry(height).or_insert((value, certificate));
        if first.0 != value {
            self.found.forks += 1;
        }
        self.found.decided += 1;
    }

    /// Runs for `millis` of simulated time with crashes, then without any until everybody has decided something new.
    fn run(mut self, millis: u64) -> Found {
        for to in 0..self.nodes.len() {
            let late = 100 + self.below(500);
            self.after(late, Happening::Sync { to });
        }
        let mut next_crash = 20 + self.below(400);
        while self.now < millis && self.step() {
            if self.now >= next_crash {
                next_crash = self.now + 20 + self.below(400);
                let victim = usize::try_from(self.below(self.nodes.len() as u64)).expect("few");
                if self.nodes[victim].alive {
                    self.crash(victim);
                }
            }
        }
        if self.replay {
            let goal = self.nodes.iter().map(|node| node.height).max().expect("validators") + 2;
            let deadline = self.now + 600_000;
            while self.nodes.iter().any(|node| node.height < goal) {
                assert!(self.now < deadline, "with everybody back, heights go on: {:?}", self.found);
                assert!(self.step(), "there is always a timer");
            }
        }
        self.found
    }
}

/// Runs of each size; more in a campaign.
fn seeds() -> u64 {
    std::env::var("ANGEL_CONSENSUS_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(20)
}

#[test]
fn crashes_and_losses_never_make_two_histories() {
    for validators in [4, 7] {
        let (mut decided, mut crashes) = (0, 0);
        for seed in 0..seeds() {
            let found = Simulation::new(seed, validators, true).run(20_000);
            assert_eq!((found.forks, found.contradictions), (0, 0), "seed {seed}, {validators} validators: {found:?}");
            decided += found.decided;
            crashes += found.crashes;
        }
        println!("{} seeds of {validators} validators, {crashes} crashes, {decided} decisions", seeds());
        assert!(crashes > 0 && decided > 0);
    }
}

#[test]
fn without_the_log_validators_contradict_themselves() {
    let runs = 8;
    for validators in [4, 7] {
        let contradicts = |seed: &u64| Simulation::new(*seed, validators, false).run(20_000).contradictions > 0;
        let contradicting = (0..runs).filter(contradicts).count();
        println!("{contradicting} of {runs} runs of {validators} validators without the log show contradictions");
        assert!(contradicting > 0, "the check finds what it is for");
    }
}
