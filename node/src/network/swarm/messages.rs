//! Gossip, and requests with their answers.

use libp2p::gossipsub::MessageId;
use libp2p::request_response::{Event as Exchange, InboundFailure, Message};

use super::super::event::{Acceptance, Gossip, Reply, Request};
use super::super::requests;
use super::*;

impl Network {
    pub(super) fn publish(&mut self, topic: &str, bytes: Vec<u8>) -> Result<Published, PublishError> {
        let hash = gossip::topic_hash(topic);
        let Some(Topic { bytes_max, .. }) = self.topics.get(&hash) else {
            return Err(PublishError::UnknownTopic { topic: topic.to_owned() });
        };
        if bytes.len() > *bytes_max {
            return Err(PublishError::TooLarge { topic: topic.to_owned(), max: *bytes_max, bytes: bytes.len() });
        }
        let size = bytes.len();
        match self.swarm.behaviour_mut().talk.gossip.publish(IdentTopic::new(topic), bytes) {
            Ok(id) => {
                self.counters.gossip_published.one();
                Ok(Published::Sent(id))
            }
            Err(gossipsub::PublishError::NoPeersSubscribedToTopic) => Ok(Published::Alone),
            Err(gossipsub::PublishError::Duplicate) => Ok(Published::Duplicate),
            Err(gossipsub::PublishError::AllQueuesFull(peers)) => Err(PublishError::QueuesFull { peers }),
            Err(gossipsub::PublishError::MessageTooLarge) => {
                Err(PublishError::TooLarge { topic: topic.to_owned(), max: *bytes_max, bytes: size })
            }
            Err(error) => Err(PublishError::Signing(error.to_string())),
        }
    }

    pub(super) fn on_gossip(&mut self, event: gossipsub::Event) {
        let gossipsub::Event::Message { propagation_source, message_id, message } = event else { return };
        self.counters.gossip_received.one();
        self.counters.gossip_received_bytes.add(message.data.len() as u64);
        let (Some(topic), Some(source)) = (self.topics.get(&message.topic), message.source) else {
            // The subscription filter and strict validation leave neither case.
            self.settle(&message_id, &propagation_source, Acceptance::Ignore);
            return;
        };
        if message.data.len() > topic.bytes_max {
            self.report(&message_id, &propagation_source, Acceptance::Reject);
            return;
        }
        if self.gossip_rates.get(&message.topic).is_some_and(|rate| !rate.admit(&propagation_source)) {
            self.counters.gossip_rate_limited.one();
            self.settle(&message_id, &propagation_source, Acceptance::Ignore);
            return;
        }
        let gossip = Gossip {
            topic: topic.name.clone(),
            message_id: message_id.clone(),
            source,
            propagation_source,
            bytes: message.data,
        };
        let taken = match &topic.reader {
            Some(reader) => reader.try_send(gossip).is_ok(),
            None => self.outbox.offer(Event::Gossip(gossip)),
        };
        if !taken {
            self.counters.gossip_dropped.one();
            self.settle(&message_id, &propagation_source, Acceptance::Ignore);
        }
    }

    pub(super) fn report(&mut self, message: &MessageId, propagation_source: &PeerId, acceptance: Acceptance) {
        let counter = match acceptance {
            Acceptance::Accept => &self.counters.gossip_accepted,
            Acceptance::Reject => &self.counters.gossip_rejected,
            Acceptance::Ignore => &self.counters.gossip_ignored,
        };
        counter.one();
        self.settle(message, propagation_source, acceptance);
        if acceptance == Acceptance::Reject {
            self.cut_off_if_misbehaving(*propagation_source);
        }
    }

    fn settle(&mut self, message: &MessageId, propagation_source: &PeerId, acceptance: Acceptance) {
        // False means that the message is no longer remembered: reported too late.
        self.swarm.behaviour_mut().talk.gossip.report_message_validation_result(
            message,
            propagation_source,
            acceptance.into(),
        );
    }

    pub(super) fn request(&mut self, peer: PeerId, protocol: Protocol, bytes: Vec<u8>, answer: requests::Asker) {
        if self.waiting.outbound_len() + self.seeks.waiters() >= self.limits.requests_outbound_max {
            let _ = answer.send(Err(RequestError::Busy { max: self.limits.requests_outbound_max }));
            return;
        }
        self.seek(peer, Some(Waiter::Request { protocol, bytes, answer }));
    }

    /// Asks a peer that is connected.
    pub(super) fn send_request(&mut self, peer: PeerId, protocol: Protocol, bytes: Vec<u8>, answer: requests::Asker) {
        self.counters.requests_sent.one();
        let id = self.swarm.behaviour_mut().exchange(protocol).send_request(&peer, bytes);
        self.waiting.asked(protocol, id, answer);
    }

    pub(super) fn on_exchange(&mut self, protocol: Protocol, event: requests::Message) {
        match event {
            Exchange::Message { peer, message: Message::Request { request, channel, .. }, .. } => {
                self.on_request(peer, protocol, request, channel);
            }
            Exchange::Message { message: Message::Response { request_id, response }, .. } => {
                if response.is_err() {
                    self.counters.requests_failed.one();
                }
                self.waiting.answered(protocol, request_id, response.map_err(RequestError::from));
            }
            Exchange::OutboundFailure { request_id, error, .. } => {
                self.counters.requests_failed.one();
                self.waiting.answered(protocol, request_id, Err(error.into()));
            }
            Exchange::InboundFailure { peer, error, .. } => match error {
                InboundFailure::ResponseOmission => {}
                error => tracing::debug!(%peer, ?protocol, %error, "an answer did not reach its peer"),
            },
            Exchange::ResponseSent { .. } => {}
        }
    }

    fn on_request(
        &mut self,
        peer: PeerId,
        protocol: Protocol,
        bytes: Vec<u8>,
        channel: ResponseChannel<Result<Vec<u8>, Refusal>>,
    ) {
        self.counters.requests_received.one();
        let limits = &self.limits;
        let admitted = self.request_rate.admit(&peer)
            && self.waiting.admit(peer, limits.requests_inbound_max, limits.requests_per_peer_max);
        if !admitted {
            self.refuse(protocol, channel);
            return;
        }
        let (answer, outcome) = oneshot::channel();
        let request = Request { peer, protocol, bytes, reply: Reply(answer) };
        if !self.outbox.offer(Event::Request(request)) {
            self.waiting.release(peer);
            self.refuse(protocol, channel);
            return;
        }
        self.answers.push(
            async move {
                let answer = tokio::time::timeout(protocol.answer_timeout(), outcome).await;
                let answer = answer.ok().and_then(Result::ok).unwrap_or(Err(Refusal::Unavailable));
                let too_large = answer.as_ref().is_ok_and(|bytes| bytes.len() > protocol.response_bytes_max());
                (peer, protocol, channel, if too_large { Err(Refusal::Unavailable) } else { answer })
            }
            .boxed(),
        );
    }

    fn refuse(&mut self, protocol: Protocol, channel: ResponseChannel<Result<Vec<u8>, Refusal>>) {
        self.counters.requests_refused.one();
        // An error means that the peer has gone.
        let _ = self.swarm.behaviour_mut().exchange(protocol).send_response(channel, Err(Refusal::Busy));
    }

    pub(super) fn on_answer(&mut self, (peer, protocol, channel, answer): Answer) {
        self.waiting.release(peer);
        // An error means that the peer has gone or has waited too long.
        let _ = self.swarm.behaviour_mut().exchange(protocol).send_response(channel, answer);
    }
}
