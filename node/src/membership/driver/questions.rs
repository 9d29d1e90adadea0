//! What nodes ask each other: whom they know, and for the record of a node.

use angel_protocol::data::Cid;
use angel_protocol::ids::Did;
use angel_protocol::membership::Input;
use angel_protocol::wire::gossip::Verdict;
use angel_protocol::wire::registry::{RegistryPage, RegistryRequest};
use futures::FutureExt;
use rand::seq::IteratorRandom;

use super::{Driver, PENALTY};
use crate::clock;
use crate::events::HeartbeatWay;
use crate::network::{self, Protocol};

/// Questions of ours to peers that may be under way: the machine asks for few, and this holds it to that.
const QUESTIONS_MAX: usize = 64;

/// Peers that are asked, one after another, for the record of a node that is not connected.
const RECORD_ASKED_MAX: usize = 3;

/// Up to so many nodes, all may be connected to all.
const SMALL_NETWORK: usize = 8;

/// What a peer answered.
pub(super) enum Answered {
    Registry { peer: Did, answer: Result<RegistryPage, String> },
    Record { did: Did, answer: Result<Vec<u8>, String> },
}

impl Driver {
    /// Answers what a peer asks.
    pub(super) async fn request(&mut self, request: network::Request) {
        let network::Request { peer, protocol, bytes, reply } = request;
        match protocol {
            Protocol::Registry => {
                let (Some(did), Ok(request)) = (network::did_of(&peer), RegistryRequest::from_cbor(&bytes)) else {
                    let _stopped = self.network.penalise(peer, PENALTY).await;
                    return reply.send(Err(network::Refusal::Malformed));
                };
                let request_id = self.next_request_id;
                self.next_request_id += 1;
                self.replies.insert(request_id, reply);
                self.feed(Input::RegistryRequested { peer: did, request_id, request }).await;
                // Answered in the same step or not at all.
                self.replies.clear();
            }
            Protocol::Record => reply.send(self.record_asked_for(&bytes).ok_or(network::Refusal::NotFound)),
        }
    }

    /// This node's own record, or one it holds of another: the CID proves it to whoever asks.
    fn record_asked_for(&self, cid: &[u8]) -> Option<Vec<u8>> {
        let cid: Cid = std::str::from_utf8(cid).ok()?.parse().ok()?;
        if self.described.profile.record_cid == Some(cid) {
            return Some(self.described.record.to_vec());
        }
        self.state.record_named(&cid).map(|bytes| bytes.to_vec())
    }

    /// Asks a peer whom it knows.
    pub(super) fn ask_registry(&self, peer: Did, request: &RegistryRequest) {
        let (Ok(peer_id), true) = (network::peer_id_of(&peer), self.questions.len() < QUESTIONS_MAX) else { return };
        let (network, bytes) = (self.network.clone(), request.to_cbor());
        let question = async move {
            let answer = match network.request(peer_id, Protocol::Registry, bytes).await {
                Ok(bytes) => RegistryPage::from_cbor(&bytes).map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            Answered::Registry { peer, answer }
        };
        self.questions.push(question.boxed());
    }

    /// Asks the node itself while it is connected, and otherwise some peers: whoever learns of a node would else dial it
    /// for its record alone, and all would be connected to all. On a small network they are anyway.
    pub(super) fn ask_record(&self, did: Did, cid: &str) {
        let (Ok(peer_id), true) = (network::peer_id_of(&did), self.questions.len() < QUESTIONS_MAX) else { return };
        let connected = self.network.connected_peers();
        let mut asked = if connected.contains_key(&peer_id) {
            vec![]
        } else {
            connected.into_keys().sample(&mut rand::rng(), RECORD_ASKED_MAX)
        };
        if asked.is_empty() || self.state.len() <= SMALL_NETWORK {
            asked.push(peer_id);
        }
        let (network, bytes) = (self.network.clone(), cid.as_bytes().to_vec());
        let question = async move {
            let mut answer = Err("nobody was asked".to_owned());
            for peer in asked {
                answer =
                    network.request(peer, Protocol::Record, bytes.clone()).await.map_err(|error| error.to_string());
                if answer.is_ok() {
                    break;
                }
            }
            Answered::Record { did, answer }
        };
        self.questions.push(question.boxed());
    }

    /// Takes what came back, or that nothing did.
    pub(super) async fn answered(&mut self, answered: Answered) {
        match answered {
            Answered::Registry { peer, answer: Ok(page) } => {
                let sifted = self.state.sift(clock::now(), &page);
                // A page holds at most 256 heartbeats: some 10 ms of signature checks at the very worst.
                let verified = sifted.verify();
                if let Some(error) = verified.invalid() {
                    self.events.heartbeat_refused(HeartbeatWay::Registry, error.label());
                    if error.verdict() == Verdict::Reject
                        && let Ok(peer_id) = network::peer_id_of(&peer)
                    {
                        let _stopped = self.network.penalise(peer_id, PENALTY).await;
                    }
                }
                self.feed(Input::RegistryReceived { peer, page: verified }).await;
            }
            Answered::Registry { peer, answer: Err(error) } => {
                tracing::debug!(%peer, error, "a peer did not tell whom it knows");
                self.feed(Input::RegistryFailed { peer }).await;
            }
            Answered::Record { did, answer: Ok(bytes) } => {
                self.feed(Input::RecordReceived { did, bytes: bytes.into() }).await;
            }
            Answered::Record { did, answer: Err(error) } => {
                tracing::debug!(peer = %did, error, "its record could not be had");
                self.feed(Input::RecordFailed { did }).await;
            }
        }
    }
}
