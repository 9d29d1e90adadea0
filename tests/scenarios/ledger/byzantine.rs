//! One validator of four that lies: a peer in this process with a validator's key and none of its manners.

use std::time::Duration;

use angel_harness::binary::verb;
use angel_harness::impostor::Impostor;
use angel_harness::validators::{GRANT, Validators};
use angel_harness::wait::until;
use angel_node::network::{PublishError, Published};
use angel_protocol::consensus::part::{Part, PartHead, split};
use angel_protocol::consensus::proposal::PROPOSAL;
use angel_protocol::consensus::{Address, Height, LedgerContext, Proposal, ValidatorSet, ValueId, Vote};
use angel_protocol::crypto::NodeKey;
use angel_protocol::ids::NetworkId;
use angel_protocol::ledger;
use angel_protocol::ledger::certificate::VOTE;
use angel_protocol::wire::gossip::Topic;
use anyhow::{Context, Result, ensure};
use malachitebft_core_consensus::{LivenessMsg, SignedConsensusMsg};
use malachitebft_core_types::{
    NilOrVal, PolkaCertificate, PolkaSignature, Round, SignedMessage, Validator as _, ValidatorSet as _, VoteType,
};
use malachitebft_engine::util::streaming::{StreamContent, StreamId, StreamMessage};

const SEED: [u8; 32] = [0xbd; 32];

/// How long the others may take to find it out, on a machine that does much else.
const PATIENCE: Duration = Duration::from_mins(2);

/// Kinds of gossip, by their first byte.
const CONSENSUS: u8 = 0;
const LIVENESS: u8 = 1;
const PART: u8 = 2;

/// The liar's peer.
struct Liar {
    peer: Impostor,
    topic: String,
    network: NetworkId,
}

impl Liar {
    fn join(validators: &Validators) -> Result<Self> {
        let network = validators.network();
        let topic = Topic::Consensus.of_ledger(&network, validators.genesis());
        Ok(Self { peer: Impostor::join(validators, NodeKey::from_seed(&SEED))?, topic, network })
    }

    fn address(&self) -> Address {
        Address(self.peer.key().did())
    }

    async fn publish(&self, kind: u8, payload: &impl borsh::BorshSerialize) -> Result<()> {
        let message = [&[kind][..], &[0; 8], &borsh::to_vec(payload)?].concat();
        until("somebody listens", PATIENCE, async || {
            match self.peer.handle().publish(&self.topic, message.clone()).await {
                Ok(Published::Sent(_) | Published::Duplicate) => Ok(Some(())),
                Ok(Published::Alone) => Ok(None),
                Err(PublishError::Stopped) => anyhow::bail!("the peer has stopped"),
                Err(_) => Ok(None),
            }
        })
        .await?;
        Ok(())
    }

    async fn vote(&self, height: u64, step: VoteType, value: NilOrVal<ValueId>) -> Result<()> {
        let vote = Vote { height: Height(height), round: Round::new(0), step, value, validator: self.address() };
        let statement = vote.in_ledger(&self.network).context("within a round")?;
        let signature = self.peer.key().sign(VOTE, &statement.sign_bytes());
        self.publish(CONSENSUS, &SignedConsensusMsg::<LedgerContext>::Vote(SignedMessage::new(vote, signature))).await
    }

    async fn propose(&self, height: u64, value: u8) -> Result<()> {
        let (height, round) = (Height(height), Round::new(0));
        let value = ValueId([value; 32]);
        let proposal = Proposal { height, round, value, pol_round: Round::Nil, proposer: self.address() };
        let signature = self.peer.key().sign(PROPOSAL, &proposal.sign_bytes(&self.network));
        let proposal = SignedMessage::new(proposal, signature);
        self.publish(CONSENSUS, &SignedConsensusMsg::<LedgerContext>::Proposal(proposal)).await
    }

    /// The parts of a batch that is none; without the last one if it is withheld.
    async fn hand_out(&self, height: u64, value: u8, withheld: bool) -> Result<()> {
        let body = vec![0xee; 100_000];
        let head = PartHead {
            height: Height(height),
            round: Round::new(0),
            pol_round: Round::Nil,
            value: ValueId([value; 32]),
            proposer: self.address(),
            sender: self.address(),
            bytes: u32::try_from(body.len())?,
        };
        let mut parts = vec![Part::head(head, &self.network, self.peer.key())];
        parts.extend(split(&body));
        if withheld {
            parts.pop();
        }
        let stream = StreamId::new([&height.to_be_bytes()[..], &[value]].concat().into());
        for (sequence, part) in (0..).zip(parts) {
            let message = StreamMessage::new(stream.clone(), sequence, StreamContent::Data(part));
            self.publish(PART, &message).await?;
        }
        Ok(())
    }

    /// All are said to have prevoted for something.
    async fn forge_a_certificate(&self, height: u64, others: &ValidatorSet) -> Result<()> {
        let (height, round) = (Height(height), Round::new(0));
        let signatures = others.iter().map(|validator| PolkaSignature::new(validator.address().clone(), [7; 64]));
        let certificate = PolkaCertificate::<LedgerContext> {
            height,
            round,
            value_id: ValueId([0x66; 32]),
            polka_signatures: signatures.collect(),
        };
        self.publish(LIVENESS, &LivenessMsg::<LedgerContext>::PolkaCertificate(certificate)).await
    }
}

/// What it does when it is its turn.
#[derive(Clone, Copy)]
enum Lie {
    /// Proposes what is no batch.
    Nonsense,
    /// Keeps the end of its batch to itself.
    Withheld,
    /// Proposes two values.
    Both,
    /// Says nothing.
    Silence,
}

/// Three who are honest, and the one who is not.
struct Story {
    three: Validators,
    liar: Liar,
    set: ValidatorSet,
    paid: u64,
}

impl Story {
    async fn begin() -> Result<Self> {
        let lying = NodeKey::from_seed(&SEED).did();
        let mut three = Validators::found_beside(3, 2, std::slice::from_ref(&lying))?;
        three.set("ANGEL_CONSENSUS_PROPOSE_TIMEOUT", "1s");
        for index in 0..3 {
            three.start(index)?;
        }
        let liar = Liar::join(&three)?;
        let set = deciding(&three, 0).await?;
        ensure!(set.len() == 4 && set.contains(&lying.to_string()), "{set:?}");
        let set = set.iter().map(|did| did.parse()).collect::<Result<Vec<_>, _>>()?;
        let set = ValidatorSet::new(&ledger::ValidatorSet::new(set));
        Ok(Self { three, liar, set, paid: 0 })
    }

    /// A payment that somebody honest takes, and that is confirmed whatever the liar does. Answers height and round.
    async fn pay(&mut self) -> Result<(u64, u64)> {
        let payment = self.three.payment(0, 1, self.paid, 1_000);
        let (status, answer) = self.three.hand_in(usize::try_from(self.paid % 3)?, &payment).await?;
        ensure!(status == 202, "{status} {answer:#}");
        self.paid += 1;
        let decided = self.three.decided(0, &payment).await?;
        ensure!(decided["status"] == "confirmed", "{decided:#}");
        let certificate = &decided["certificate"];
        let height = certificate["height"].as_u64().context("a height")?;
        Ok((height, certificate["round"].as_u64().context("a round")?))
    }

    /// Goes on until the liar had its turn, and did this with it.
    async fn turn(&mut self, lie: Lie) -> Result<()> {
        loop {
            let next = self.three.height(0).await? + 1;
            let turn = self.set.proposer(next, 0).address() == &self.liar.address();
            if turn {
                match lie {
                    Lie::Nonsense => {
                        self.liar.hand_out(next, 0x5a, false).await?;
                        self.liar.propose(next, 0x5a).await?;
                    }
                    Lie::Withheld => {
                        self.liar.hand_out(next, 0x5b, true).await?;
                        self.liar.propose(next, 0x5b).await?;
                    }
                    Lie::Both => {
                        self.liar.propose(next, 0x5c).await?;
                        self.liar.propose(next, 0x5d).await?;
                    }
                    Lie::Silence => {}
                }
            }
            let (height, round) = self.pay().await?;
            if turn && height == next {
                ensure!(round > 0, "what it proposed was decided at {height}");
                return Ok(());
            }
        }
    }

    /// What the others can prove: of whom, and what he signed twice.
    async fn proofs(&self) -> Result<Vec<(String, String)>> {
        let mut proofs = Vec::new();
        for index in self.three.running() {
            let told = self.three.get(index, "/api/federation/ledger/evidence").await?;
            let text = |it: &serde_json::Value, name: &str| it[name].as_str().unwrap_or_default().to_owned();
            let told = told["evidence"].as_array().context("a list")?;
            proofs.extend(told.iter().map(|it| (text(it, "validator"), text(it, "kind"))));
        }
        Ok(proofs)
    }

    fn somebody_logged(&self, words: &str) -> bool {
        self.three.running().any(|index| self.three.daemon(index).log().iter().any(|line| line.contains(words)))
    }
}

async fn deciding(validators: &Validators, index: usize) -> Result<Vec<String>> {
    let told = validators.get(index, "/xrpc/co.kendev.network.listValidators").await?;
    let listed = told["validators"].as_array().context("a list")?;
    Ok(listed.iter().filter_map(|it| it["did"].as_str()).map(ToOwned::to_owned).collect())
}

#[tokio::test]
async fn a_validator_that_lies_stops_nobody_and_is_removed_once_it_votes_twice() -> Result<()> {
    let mut story = Story::begin().await?;
    let lying = story.liar.address().to_string();
    while !story.somebody_logged("a proposal gets no vote") {
        story.turn(Lie::Nonsense).await?;
    }
    story.turn(Lie::Withheld).await?;
    story.turn(Lie::Silence).await?;
    let next = story.three.height(0).await? + 1;
    story.liar.forge_a_certificate(next, &story.set).await?;
    story.pay().await?;
    // Two proposals are proved, but not punished: only two votes can break an agreement.
    let twice = |kind: &str| (lying.clone(), kind.to_owned());
    while !story.proofs().await?.contains(&twice("proposal")) {
        story.turn(Lie::Both).await?;
    }
    ensure!(deciding(&story.three, 0).await?.contains(&lying));

    // It says yes and no in one breath, until somebody has heard both.
    let began = tokio::time::Instant::now();
    while deciding(&story.three, 0).await?.contains(&lying) {
        ensure!(began.elapsed() < PATIENCE, "two votes in one step were not found out: {:?}", story.proofs().await?);
        let next = story.three.height(0).await? + 1;
        story.liar.vote(next, VoteType::Prevote, NilOrVal::Nil).await?;
        story.liar.vote(next, VoteType::Prevote, NilOrVal::Val(ValueId([0x77; 32]))).await?;
        story.pay().await?;
    }
    let proofs = story.proofs().await?;
    ensure!(proofs.contains(&twice("vote")), "{proofs:?}");
    ensure!(proofs.iter().all(|(validator, _)| *validator == lying), "nobody honest is blamed: {proofs:?}");
    let mut shown = String::new();
    for index in story.three.running() {
        let said = verb(&story.three.dir(index), &["ledger", "evidence"])?;
        shown.push_str(&String::from_utf8(said.stdout)?);
    }
    ensure!(shown.contains(&format!("{lying} signed two votes")), "{shown}");

    // Without it the three go on, with one history.
    for _ in 0..3 {
        ensure!(story.pay().await?.1 == 0, "nobody waits for it any more");
    }
    story.three.agree().await?;
    for index in story.three.running() {
        ensure!(story.three.balance(index, 1).await? == GRANT + 1_000 * story.paid);
    }
    Ok(())
}
