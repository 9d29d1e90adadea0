//! One validator of four that lies: a peer in this process with a validator's key and none of its manners.

use angel_harness::binary::PATIENCE;
use angel_harness::validators::{GRANT, Validators};
use angel_harness::wait::until;
use angel_node::network::{self, Handle, PublishError, Published};
use angel_protocol::consensus::part::{Part, PartHead, split};
use angel_protocol::consensus::proposal::PROPOSAL;
use angel_protocol::consensus::{Address, Height, LedgerContext, Proposal, ValidatorSet, ValueId, Vote};
use angel_protocol::crypto::NodeKey;
use angel_protocol::ids::NetworkId;
use angel_protocol::ledger;
use angel_protocol::ledger::certificate::VOTE;
use angel_protocol::wire::gossip::Topic;
use anyhow::{Context, Result, ensure};
use malachitebft_core_consensus::SignedConsensusMsg;
use malachitebft_core_types::{NilOrVal, Round, SignedMessage, Validator as _, VoteType};
use malachitebft_engine::util::streaming::{StreamContent, StreamId, StreamMessage};
use tokio_util::sync::CancellationToken;

const SEED: [u8; 32] = [0xbd; 32];

/// Kinds of gossip, by their first byte.
const CONSENSUS: u8 = 0;
const PART: u8 = 2;

struct Liar {
    key: NodeKey,
    handle: Handle,
    topic: String,
    network: NetworkId,
    stop: CancellationToken,
}

impl Liar {
    fn join(validators: &Validators) -> Result<Self> {
        let key = NodeKey::from_seed(&SEED);
        let network = validators.network();
        let topic = Topic::Consensus.of_ledger(&network, validators.genesis());
        let mut config = network::Config::new(network.clone(), key.seed());
        config.scope = network::Scope::Loopback;
        config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse()?];
        config.topics = vec![network::Topic::new(topic.clone(), 1 << 20)];
        for index in validators.running() {
            let addresses = validators.daemon(index).facts()["p2p"].as_array().context("addresses")?;
            config.bootstrap.extend(addresses.iter().filter_map(|it| it.as_str()?.parse().ok()));
        }
        let (handle, mut events, task) = network::start(config)?;
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        tokio::spawn(async move { task.run(stopping).await });
        tokio::spawn(async move { while events.recv().await.is_some() {} });
        Ok(Self { key, handle, topic, network, stop })
    }

    fn address(&self) -> Address {
        Address(self.key.did())
    }

    async fn publish(&self, kind: u8, payload: &impl borsh::BorshSerialize) -> Result<()> {
        let message = [&[kind][..], &[0; 8], &borsh::to_vec(payload)?].concat();
        until("somebody listens", PATIENCE, async || match self.handle.publish(&self.topic, message.clone()).await {
            Ok(Published::Sent(_) | Published::Duplicate) => Ok(Some(())),
            Ok(Published::Alone) => Ok(None),
            Err(PublishError::Stopped) => anyhow::bail!("the peer has stopped"),
            Err(_) => Ok(None),
        })
        .await?;
        Ok(())
    }

    async fn vote(&self, height: u64, step: VoteType, value: NilOrVal<ValueId>) -> Result<()> {
        let vote = Vote { height: Height(height), round: Round::new(0), step, value, validator: self.address() };
        let statement = vote.in_ledger(&self.network).context("within a round")?;
        let signature = self.key.sign(VOTE, &statement.sign_bytes());
        self.publish(CONSENSUS, &SignedConsensusMsg::<LedgerContext>::Vote(SignedMessage::new(vote, signature))).await
    }

    /// A proposal whose batch is no batch.
    async fn propose_nonsense(&self, height: u64) -> Result<()> {
        let value = ValueId([0x5a; 32]);
        let (height, round) = (Height(height), Round::new(0));
        let proposal = Proposal { height, round, value, pol_round: Round::Nil, proposer: self.address() };
        let signature = self.key.sign(PROPOSAL, &proposal.sign_bytes(&self.network));
        let body = vec![0xee; 1000];
        let head = PartHead {
            height,
            round,
            pol_round: Round::Nil,
            value,
            proposer: self.address(),
            sender: self.address(),
            bytes: 1000,
        };
        let parts = std::iter::once(Part::head(head, &self.network, &self.key)).chain(split(&body));
        let stream = StreamId::new(height.0.to_be_bytes().to_vec().into());
        for (sequence, part) in (0..).zip(parts) {
            let message = StreamMessage::new(stream.clone(), sequence, StreamContent::Data(part));
            self.publish(PART, &message).await?;
        }
        let proposal = SignedMessage::new(proposal, signature);
        self.publish(CONSENSUS, &SignedConsensusMsg::<LedgerContext>::Proposal(proposal)).await
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn pay(validators: &Validators, sequence: u64) -> Result<()> {
    let payment = validators.payment(0, 1, sequence, 1_000);
    validators.hand_in(usize::try_from(sequence % 3)?, &payment).await?;
    let decided = validators.decided(0, &payment).await?;
    ensure!(decided["status"] == "confirmed", "{decided:#}");
    Ok(())
}

async fn deciding(validators: &Validators, index: usize) -> Result<Vec<String>> {
    let told = validators.get(index, "/xrpc/co.kendev.network.listValidators").await?;
    let listed = told["validators"].as_array().context("a list")?;
    Ok(listed.iter().filter_map(|it| it["did"].as_str()).map(ToOwned::to_owned).collect())
}

#[tokio::test]
async fn a_validator_that_lies_stops_nobody_and_is_removed_once_it_votes_twice() -> Result<()> {
    let lying = NodeKey::from_seed(&SEED).did();
    let mut three = Validators::found_beside(3, 2, std::slice::from_ref(&lying))?;
    for index in 0..3 {
        three.start(index)?;
    }
    let liar = Liar::join(&three)?;
    let set = deciding(&three, 0).await?;
    let set = set.iter().map(|did| did.parse()).collect::<Result<Vec<_>, _>>()?;
    let set = ValidatorSet::new(&ledger::ValidatorSet::new(set));

    // Its turns: nonsense, then silence.
    let (mut sequence, mut turns) = (0, 0);
    while turns < 2 {
        let next = three.height(0).await? + 1;
        if set.proposer(next, 0).address() == &liar.address() {
            turns += 1;
            if turns == 1 {
                liar.propose_nonsense(next).await?;
            }
        }
        pay(&three, sequence).await?;
        sequence += 1;
    }

    // It says yes and no in one breath, until somebody has heard both.
    until("the others have the proof and have removed it", PATIENCE, async || {
        let next = three.height(0).await? + 1;
        liar.vote(next, VoteType::Prevote, NilOrVal::Nil).await?;
        liar.vote(next, VoteType::Prevote, NilOrVal::Val(ValueId([0x77; 32]))).await?;
        pay(&three, sequence).await?;
        sequence += 1;
        Ok((!deciding(&three, 0).await?.contains(&lying.to_string())).then_some(()))
    })
    .await?;
    let mut proofs = 0;
    for index in 0..3 {
        let told = three.get(index, "/api/federation/ledger/evidence").await?;
        let told = told["evidence"].as_array().context("a list")?;
        ensure!(told.iter().all(|it| it["validator"] == lying.to_string()), "{told:#?}");
        proofs += told.len();
    }
    ensure!(proofs > 0, "the proof is kept");
    for _ in 0..3 {
        pay(&three, sequence).await?;
        sequence += 1;
    }
    three.agree().await?;
    for index in 0..3 {
        ensure!(three.balance(index, 1).await? == GRANT + 1_000 * sequence);
    }
    Ok(())
}
