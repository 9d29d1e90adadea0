//! The engine's network over the daemon's swarm. Votes, proposals and parts travel by gossip, on a topic of this ledger's
//! own; a message is passed on once its signature was checked and its signer is a validator. How far each node is, and
//! decided heights, travel on streams between two peers.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use angel_protocol::consensus::part::{self, Part};
use angel_protocol::consensus::{Address, Height, LedgerContext, ValidatorSet};
use async_trait::async_trait;
use futures::{AsyncReadExt, AsyncWriteExt};
use malachitebft_codec::Codec;
use malachitebft_core_consensus::{LivenessMsg, SignedConsensusMsg};
use malachitebft_core_types::SignedVote;
use malachitebft_engine::network::{
    Multiaddr, NetworkEvent, NetworkMsg, NetworkRef, PersistentPeerError, Status as EngineStatus,
};
use malachitebft_engine::util::output_port::OutputPort;
use malachitebft_engine::util::streaming::{StreamContent, StreamMessage};
use malachitebft_peer::PeerId as EnginePeer;
use malachitebft_sync::{OutboundFailureReason, OutboundRequestId, Request, Response};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::{mpsc, watch};

use super::codec::BorshCodec;
use super::engine::{SYNC_BYTES_MAX, SYNC_TIMEOUT};
use super::signer::Voice;
use crate::ledger::Shared;
use crate::network::{Acceptance, Gossip, Handle, PeerId, PublishError, Stopped, did_of};

/// Bytes of a gossip message: a part with its framing.
pub(crate) const GOSSIP_BYTES_MAX: usize = angel_protocol::limits::PART_BYTES_MAX + 4096;

/// Events that may wait for the engine: some rounds of a hundred validators, and the parts of a few full batches.
const EVENTS_MAX: usize = 1024;

/// How long telling a peer where we are may take.
const STATUS_TIMEOUT: Duration = Duration::from_secs(5);

type Ctx = LedgerContext;

/// Kinds of gossip, by their first byte.
const CONSENSUS: u8 = 0;
const LIVENESS: u8 = 1;
const PART: u8 = 2;

/// Kinds of streams, by their first byte.
pub(super) const VALUES: u8 = 0;
pub(super) const TIP: u8 = 1;

/// What was heard, for a height that waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// The latest height that a validator spoke of.
    pub(super) height: u64,
    /// The highest tip that a believed peer claims.
    pub(super) tip: u64,
}

/// What the engine's network consists of.
pub(super) struct Mesh {
    handle: Handle,
    topic: String,
    protocol: String,
    voice: Voice,
    shared: Arc<Shared>,
    port: OutputPort<NetworkEvent<Ctx>>,
    validators: RwLock<ValidatorSet>,
    tips: Mutex<Tips>,
    heard: watch::Sender<Heard>,
    requests: AtomicU64,
    nonce: AtomicU64,
}

#[derive(Default)]
struct Tips {
    claimed: BTreeMap<PeerId, u64>,
    /// Claimed what cannot be: believed again once it has come anew.
    liars: BTreeSet<PeerId>,
}

impl Mesh {
    pub(super) fn new(
        handle: Handle,
        topic: String,
        voice: Voice,
        shared: Arc<Shared>,
        validators: ValidatorSet,
    ) -> Arc<Self> {
        let (heard, _) = watch::channel(Heard::default());
        let short: String = shared.genesis[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        Arc::new(Self {
            handle,
            topic,
            protocol: format!("ledger/1/{short}"),
            voice,
            shared,
            port: OutputPort::with_capacity(EVENTS_MAX),
            validators: RwLock::new(validators),
            tips: Mutex::default(),
            heard,
            requests: AtomicU64::new(0),
            // What was published before a restart is not published again as the same message.
            nonce: AtomicU64::new(rand::random()),
        })
    }

    /// The streams' protocol.
    pub(super) fn protocol(&self) -> &str {
        &self.protocol
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// What was heard, to wait for.
    pub(super) fn heard(&self) -> watch::Receiver<Heard> {
        self.heard.subscribe()
    }

    /// The validators of the height being decided.
    pub(super) fn set_validators(&self, validators: ValidatorSet) {
        *self.validators.write().unwrap_or_else(PoisonError::into_inner) = validators;
    }

    fn is_validator(&self, address: &Address) -> bool {
        self.validators.read().unwrap_or_else(PoisonError::into_inner).position(address).is_some()
    }

    /// Peers that claim `height` or more.
    pub(super) fn claimants(&self, height: u64) -> Vec<PeerId> {
        let tips = self.tips.lock().unwrap_or_else(PoisonError::into_inner);
        tips.claimed.iter().filter(|(_, tip)| **tip >= height).map(|(peer, _)| *peer).collect()
    }

    /// These claimed a height that was only decided afterwards.
    pub(super) fn disbelieve(&self, peers: &[PeerId]) {
        let mut tips = self.tips.lock().unwrap_or_else(PoisonError::into_inner);
        for peer in peers {
            tracing::warn!(%peer, "the peer claimed a height of the ledger before it was decided");
            tips.claimed.remove(peer);
            tips.liars.insert(*peer);
        }
        let tip = tips.claimed.values().copied().max().unwrap_or(0);
        drop(tips);
        self.heard.send_if_modified(|heard| std::mem::replace(&mut heard.tip, tip) != tip);
    }

    /// A peer says how far it is.
    pub(super) fn peer_at(&self, peer: PeerId, tip: u64) {
        let mut tips = self.tips.lock().unwrap_or_else(PoisonError::into_inner);
        if tips.liars.contains(&peer) {
            return;
        }
        tips.claimed.insert(peer, tip);
        let highest = tips.claimed.values().copied().max().unwrap_or(0);
        drop(tips);
        self.heard.send_if_modified(|heard| std::mem::replace(&mut heard.tip, highest) != highest);
        if let Some(peer) = engine_peer(&peer) {
            let status = EngineStatus::new(Height(tip), Height(1));
            self.port.send(NetworkEvent::Status(peer, status));
        }
    }

    fn spoke_of(&self, height: u64) {
        self.heard.send_if_modified(|heard| {
            let later = height > heard.height;
            heard.height = heard.height.max(height);
            later
        });
    }

    async fn publish(&self, kind: u8, payload: &[u8]) {
        let mut message = Vec::with_capacity(payload.len() + 9);
        message.push(kind);
        // What is said again is a new message, or peers that missed the first would never hear it.
        let nonce = if kind == LIVENESS { self.nonce.fetch_add(1, Ordering::Relaxed) } else { 0 };
        message.extend_from_slice(&nonce.to_be_bytes());
        message.extend_from_slice(payload);
        match self.handle.publish(&self.topic, message).await {
            Ok(_) | Err(PublishError::Stopped) => {}
            Err(error) => tracing::warn!(%error, "a message of consensus was not published"),
        }
    }

    /// Reads gossip until the network ends.
    pub(super) async fn listen(self: Arc<Self>, mut gossip: mpsc::Receiver<Gossip>) {
        while let Some(message) = gossip.recv().await {
            let acceptance = self.hear(&message);
            let reported = self.handle.report(message.message_id, message.propagation_source, acceptance).await;
            if reported == Err(Stopped) {
                return;
            }
        }
    }

    /// Checks one message and hands it to the engine.
    fn hear(&self, gossip: &Gossip) -> Acceptance {
        let Some((head, payload)) = gossip.bytes.split_first_chunk::<9>() else { return Acceptance::Reject };
        let Some(from) = engine_peer(&gossip.propagation_source) else { return Acceptance::Ignore };
        let payload = bytes::Bytes::copy_from_slice(payload);
        match head[0] {
            CONSENSUS => match Codec::<SignedConsensusMsg<Ctx>>::decode(&BorshCodec, payload) {
                Ok(SignedConsensusMsg::Vote(vote)) => self.hear_vote(from, vote),
                Ok(SignedConsensusMsg::Proposal(proposal)) => {
                    if !self.is_validator(&proposal.proposer) {
                        return Acceptance::Ignore;
                    }
                    if !self.voice.proposal_holds(&proposal.message, &proposal.signature) {
                        return Acceptance::Reject;
                    }
                    self.spoke_of(proposal.height.0);
                    self.port.send(NetworkEvent::Proposal(from, proposal));
                    Acceptance::Accept
                }
                Err(_) => Acceptance::Reject,
            },
            LIVENESS => match Codec::<LivenessMsg<Ctx>>::decode(&BorshCodec, payload) {
                Ok(LivenessMsg::Vote(vote)) => self.hear_vote(from, vote),
                Ok(LivenessMsg::PolkaCertificate(certificate)) => {
                    let verdict = self.judge_votes(certificate.votes(&LedgerContext));
                    if verdict == Acceptance::Accept {
                        self.port.send(NetworkEvent::PolkaCertificate(from, certificate));
                    }
                    verdict
                }
                Ok(LivenessMsg::SkipRoundCertificate(certificate)) => {
                    let verdict = self.judge_votes(certificate.votes(&LedgerContext));
                    if verdict == Acceptance::Accept {
                        self.port.send(NetworkEvent::RoundCertificate(from, certificate));
                    }
                    verdict
                }
                Err(_) => Acceptance::Reject,
            },
            PART => self.hear_part(from, gossip, payload),
            _ => Acceptance::Reject,
        }
    }

    fn hear_vote(&self, from: EnginePeer, vote: SignedVote<Ctx>) -> Acceptance {
        let verdict = self.judge_votes(std::iter::once(&vote));
        if verdict == Acceptance::Accept {
            self.spoke_of(vote.height.0);
            self.port.send(NetworkEvent::Vote(from, vote));
        }
        verdict
    }

    /// Whether votes are those of validators, up to the first that is not.
    fn judge_votes(&self, votes: impl Iterator<Item = impl Borrow<SignedVote<Ctx>>>) -> Acceptance {
        for vote in votes {
            let vote = vote.borrow();
            if !self.is_validator(&vote.validator) {
                return Acceptance::Ignore;
            }
            if !self.voice.vote_holds(&vote.message, &vote.signature) {
                return Acceptance::Reject;
            }
        }
        Acceptance::Accept
    }

    /// Parts come from validators alone; a head is checked before it costs anything.
    fn hear_part(&self, from: EnginePeer, gossip: &Gossip, payload: bytes::Bytes) -> Acceptance {
        let publisher = did_of(&gossip.source).map(Address);
        if !publisher.is_some_and(|publisher| self.is_validator(&publisher)) {
            return Acceptance::Ignore;
        }
        let Ok(message) = Codec::<StreamMessage<Part>>::decode(&BorshCodec, payload) else { return Acceptance::Reject };
        if let StreamContent::Data(Part::Head { head, signature }) = &message.content {
            if part::check(head, signature, &self.shared.network).is_err() {
                return Acceptance::Reject;
            }
            if self.is_validator(&head.sender) {
                self.spoke_of(head.height.0);
            }
        }
        self.port.send(NetworkEvent::ProposalPart(from, engine_peer(&gossip.source), message));
        Acceptance::Accept
    }

    /// Tells the engine who comes and goes, and newcomers how far this node is.
    pub(super) async fn watch_peers(self: Arc<Self>) {
        let mut view = self.handle.watch();
        let mut known = BTreeSet::new();
        loop {
            let connected: BTreeSet<PeerId> = view.borrow_and_update().peers.keys().copied().collect();
            for peer in connected.difference(&known).copied() {
                if let Some(engine) = engine_peer(&peer) {
                    self.port.send(NetworkEvent::PeerConnected(engine));
                }
                tokio::spawn(Arc::clone(&self).tell(peer));
            }
            for peer in known.difference(&connected) {
                let mut tips = self.tips.lock().unwrap_or_else(PoisonError::into_inner);
                tips.claimed.remove(peer);
                tips.liars.remove(peer);
                drop(tips);
                if let Some(peer) = engine_peer(peer) {
                    self.port.send(NetworkEvent::PeerDisconnected(peer));
                }
            }
            known = connected;
            if view.changed().await.is_err() {
                return;
            }
        }
    }

    /// Tells one peer how far this node is.
    async fn tell(self: Arc<Self>, peer: PeerId) {
        let height = self.shared.tip().height;
        let told = tokio::time::timeout(STATUS_TIMEOUT, async {
            let mut stream = self.handle.open_stream(peer, &self.protocol).await.map_err(std::io::Error::other)?;
            stream.write_all(&[&[TIP][..], &height.to_be_bytes()].concat()).await?;
            stream.close().await
        });
        // A peer of another ledger does not speak this protocol; one that is busy hears it the next time.
        if let Ok(Err(error)) = told.await {
            tracing::trace!(%peer, %error, "the peer was not told how far this node is");
        }
    }

    /// Asks a peer for decided heights.
    async fn fetch(self: Arc<Self>, id: OutboundRequestId, peer: PeerId, request: Request<Ctx>) {
        let Some(engine) = engine_peer(&peer) else { return };
        let asked = tokio::time::timeout(SYNC_TIMEOUT, self.ask(peer, &request)).await;
        let event = match asked {
            Ok(Ok(response)) => NetworkEvent::SyncResponse(id, engine, response),
            Ok(Err(error)) => {
                tracing::debug!(%peer, %error, "decided heights could not be fetched");
                NetworkEvent::SyncRequestFailed(id, engine, OutboundFailureReason::Io)
            }
            Err(_) => NetworkEvent::SyncRequestFailed(id, engine, OutboundFailureReason::Timeout),
        };
        self.port.send(event);
    }

    async fn ask(&self, peer: PeerId, request: &Request<Ctx>) -> std::io::Result<Option<Response<Ctx>>> {
        let question = BorshCodec.encode(request).map_err(std::io::Error::other)?;
        let mut stream = self.handle.open_stream(peer, &self.protocol).await.map_err(std::io::Error::other)?;
        stream.write_all(&[&[VALUES][..], &question].concat()).await?;
        stream.close().await?;
        let mut answer = Vec::new();
        let most = u64::try_from(SYNC_BYTES_MAX).unwrap_or(u64::MAX);
        stream.take(most).read_to_end(&mut answer).await?;
        // What cannot be read is the peer's fault, and the engine lets it pay.
        Ok(BorshCodec.decode(answer.into()).ok())
    }
}

/// The engine's form of a peer id: the same bytes.
fn engine_peer(peer: &PeerId) -> Option<EnginePeer> {
    EnginePeer::from_bytes(&peer.to_bytes()).ok()
}

fn daemon_peer(peer: &EnginePeer) -> Option<PeerId> {
    PeerId::from_bytes(&peer.to_bytes()).ok()
}

/// The actor that the engine speaks to.
struct MeshActor;

/// Starts it.
pub(super) async fn spawn(mesh: Arc<Mesh>) -> Result<NetworkRef<Ctx>, ractor::SpawnErr> {
    let (actor, _) = Actor::spawn(None, MeshActor, mesh).await?;
    Ok(actor)
}

#[async_trait]
impl Actor for MeshActor {
    type Msg = NetworkMsg<Ctx>;
    type State = Arc<Mesh>;
    type Arguments = Arc<Mesh>;

    async fn pre_start(&self, _: ActorRef<Self::Msg>, mesh: Arc<Mesh>) -> Result<Self::State, ActorProcessingErr> {
        Ok(mesh)
    }

    async fn handle(
        &self,
        _: ActorRef<Self::Msg>,
        message: Self::Msg,
        mesh: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            NetworkMsg::Subscribe(subscriber) => {
                // The engine begins once its network listens; the daemon's does before this actor starts.
                subscriber.send(NetworkEvent::Listening(Multiaddr::empty()));
                for peer in mesh.handle.connected_peers().keys().filter_map(engine_peer) {
                    subscriber.send(NetworkEvent::PeerConnected(peer));
                }
                subscriber.subscribe_to_port(&mesh.port);
            }
            NetworkMsg::PublishConsensusMsg(message) => mesh.publish(CONSENSUS, &BorshCodec.encode(&message)?).await,
            NetworkMsg::PublishLivenessMsg(message) => mesh.publish(LIVENESS, &BorshCodec.encode(&message)?).await,
            NetworkMsg::PublishProposalPart(message) => mesh.publish(PART, &BorshCodec.encode(&message)?).await,
            NetworkMsg::BroadcastStatus(_) => {
                for peer in mesh.handle.connected_peers().into_keys() {
                    tokio::spawn(Arc::clone(mesh).tell(peer));
                }
            }
            NetworkMsg::OutgoingRequest(peer, request, reply) => {
                let id = OutboundRequestId::new(mesh.requests.fetch_add(1, Ordering::Relaxed));
                // The engine gives up a request whose number it did not get.
                let _ = reply.send(id.clone());
                match daemon_peer(&peer) {
                    Some(peer) => drop(tokio::spawn(Arc::clone(mesh).fetch(id, peer, request))),
                    None => {
                        mesh.port.send(NetworkEvent::SyncRequestFailed(id, peer, OutboundFailureReason::DialFailure));
                    }
                }
            }
            NetworkMsg::DumpState(reply) => drop(reply.send(None)),
            NetworkMsg::UpdatePersistentPeers(_, reply) => {
                drop(reply.send(Err(PersistentPeerError::InternalError("peers are the daemon's".to_owned()))));
            }
            // Requests of peers are answered from storage and never reach the engine; a request of ours ends by itself;
            // the validators are told by the application, and a validator's peer id is its key.
            NetworkMsg::OutgoingResponse(..)
            | NetworkMsg::CancelInboundRequest(_)
            | NetworkMsg::CancelRequest(_)
            | NetworkMsg::UpdateValidatorSet(_)
            | NetworkMsg::ValidatorProofVerified { .. }
            | NetworkMsg::NewEvent(_) => {}
        }
        Ok(())
    }
}
