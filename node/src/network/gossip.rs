//! How gossip is set up: what a message id is, how large the mesh is, and what misbehaviour costs.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use angel_protocol::ids::NetworkId;
use libp2p::PeerId;
use libp2p::gossipsub::{
    self, ConfigBuilder, IdentTopic, IdentityTransform, MaxCountSubscriptionFilter, Message, MessageAuthenticity,
    MessageId, PeerScoreParams, PeerScoreThresholds, TopicHash, TopicScoreParams, ValidationMode, Version,
    WhitelistSubscriptionFilter, score_parameter_decay,
};
use libp2p::identity::Keypair;
use sha2::{Digest, Sha256};

use super::admission::Rate;
use super::config::{Limits, Topic};

/// Gossip that accepts subscriptions to this network's topics only.
pub(super) type Behaviour =
    gossipsub::Behaviour<IdentityTransform, MaxCountSubscriptionFilter<WhitelistSubscriptionFilter>>;

/// What signature, key, topic and framing add to a message, generously.
const ENVELOPE_BYTES_MAX: usize = 1024;

/// What may have been read of the next message when one is judged: the codec measures its whole buffer against the
/// largest message, and reads 8 KiB at a time. Without this room, messages near the bound that follow each other closely
/// are taken for too large, and after five of them the peer hears no more gossip from us.
const READ_AHEAD_BYTES: usize = 16 * 1024;

/// Messages waiting for one slow peer. With the largest message that is 8 MiB per peer and kind.
const QUEUE_MAX: usize = 128;

/// Below this score a peer is ignored, disconnected and refused for a while. Four messages that were rejected within a
/// few minutes lead there, or [`super::Handle::penalise`].
pub(super) const GRAYLIST_SCORE: f64 = -80.0;

/// Gossip is signed by its publisher and validated strictly; nothing is passed on before the application has accepted
/// it.
pub(super) fn build(network: &NetworkId, keys: &Keypair, topics: &[Topic]) -> Result<Behaviour, String> {
    let mut config = ConfigBuilder::default();
    config
        .protocol_id(format!("/angel/{network}/meshsub/1.1.0"), Version::V1_1)
        .validation_mode(ValidationMode::Strict)
        .validate_messages()
        .message_id_fn(message_id)
        // Heartbeats are unique by their sequence; two minutes cover the slowest path and the clock tolerance.
        .duplicate_cache_time(Duration::from_mins(2))
        // A publisher sends to every subscriber it is connected to: a network of two or three works at once, and a new
        // node is not at the mercy of its first mesh neighbours.
        .flood_publish(true)
        .heartbeat_initial_delay(Duration::from_millis(100))
        .heartbeat_interval(Duration::from_millis(700))
        // Each message arrives about once per neighbour in the mesh, and each copy costs a signature check.
        .mesh_n(6)
        .mesh_n_low(5)
        .mesh_n_high(9)
        .mesh_outbound_min(2)
        .gossip_lazy(6)
        .history_length(12)
        .history_gossip(3)
        .max_transmit_size(
            topics.iter().map(|topic| topic.bytes_max).max().unwrap_or(0) + ENVELOPE_BYTES_MAX + READ_AHEAD_BYTES,
        )
        .connection_handler_queue_len(QUEUE_MAX)
        .max_ihave_messages_heartbeat(10);
    for topic in topics {
        config.max_transmit_size_for_topic(topic.bytes_max + ENVELOPE_BYTES_MAX, topic_hash(&topic.name));
    }
    let config = config.build().map_err(|error| error.to_string())?;

    let hashes: HashSet<TopicHash> = topics.iter().map(|topic| topic_hash(&topic.name)).collect();
    let filter = MaxCountSubscriptionFilter {
        max_subscribed_topics: hashes.len(),
        max_subscriptions_per_request: hashes.len() * 2,
        filter: WhitelistSubscriptionFilter(hashes.clone()),
    };
    let mut gossip: Behaviour =
        gossipsub::Behaviour::new_with_subscription_filter(MessageAuthenticity::Signed(keys.clone()), config, filter)?;
    gossip.with_peer_score(scores(hashes), thresholds())?;
    for topic in topics {
        gossip.subscribe(&IdentTopic::new(&topic.name)).map_err(|error| error.to_string())?;
    }
    Ok(gossip)
}

/// The topic's identifier on the wire: its name.
pub(super) fn topic_hash(name: &str) -> TopicHash {
    IdentTopic::new(name).hash()
}

/// The topics by identifier, with their bounds.
pub(super) fn bounds(topics: &[Topic]) -> BTreeMap<TopicHash, Topic> {
    topics.iter().map(|topic| (topic_hash(&topic.name), topic.clone())).collect()
}

/// How much of each topic one peer may hand us.
pub(super) fn rates(topics: &[Topic], limits: &Limits) -> BTreeMap<TopicHash, Rate<PeerId>> {
    let rate = |topic: &Topic| Rate::per_second(topic.per_second.unwrap_or(limits.gossip_per_second));
    topics.iter().map(|topic| (topic_hash(&topic.name), rate(topic))).collect()
}

/// The same content on the same topic is the same message, whoever publishes it and however often.
fn message_id(message: &Message) -> MessageId {
    let mut hash = Sha256::new();
    hash.update((message.topic.as_str().len() as u64).to_be_bytes());
    hash.update(message.topic.as_str());
    hash.update(&message.data);
    MessageId::new(&hash.finalize()[..20])
}

fn thresholds() -> PeerScoreThresholds {
    PeerScoreThresholds {
        gossip_threshold: -10.0,
        publish_threshold: -40.0,
        graylist_threshold: GRAYLIST_SCORE,
        accept_px_threshold: 10.0,
        opportunistic_graft_threshold: 2.0,
    }
}

fn scores(topics: HashSet<TopicHash>) -> PeerScoreParams {
    let topic = TopicScoreParams {
        topic_weight: 1.0,
        // A little credit for staying and for being first, too little to pay for a rejected message.
        time_in_mesh_weight: 0.01,
        time_in_mesh_quantum: Duration::from_secs(1),
        time_in_mesh_cap: 300.0,
        first_message_deliveries_weight: 0.1,
        first_message_deliveries_decay: score_parameter_decay(Duration::from_mins(5)),
        first_message_deliveries_cap: 20.0,
        // Topics are quiet here, so a mesh peer that delivers little is no fault: no deficit penalties.
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        // The square counts: 1, 2, 3, 4 rejected messages cost 6, 24, 54, 96.
        invalid_message_deliveries_weight: -6.0,
        invalid_message_deliveries_decay: score_parameter_decay(Duration::from_mins(30)),
        ..TopicScoreParams::default()
    };
    PeerScoreParams {
        topics: topics.into_iter().map(|hash| (hash, topic.clone())).collect(),
        topic_score_cap: 10.0,
        app_specific_weight: 1.0,
        // Nodes behind one router, or reached through one relay, share an address; `admission` bounds those.
        ip_colocation_factor_weight: 0.0,
        behaviour_penalty_weight: -5.0,
        behaviour_penalty_threshold: 6.0,
        behaviour_penalty_decay: score_parameter_decay(Duration::from_mins(10)),
        retain_score: Duration::from_hours(1),
        ..PeerScoreParams::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(topic: &str, data: &[u8]) -> Message {
        Message { source: None, data: data.to_vec(), sequence_number: None, topic: topic_hash(topic) }
    }

    #[test]
    fn a_message_is_its_topic_and_content() {
        let id = message_id(&message("a", b"x"));
        let again = Message { sequence_number: Some(7), ..message("a", b"x") };
        assert_eq!(id, message_id(&again));
        assert_ne!(id, message_id(&message("b", b"x")));
        assert_ne!(message_id(&message("ab", b"c")), message_id(&message("a", b"bc")));
    }

    #[test]
    fn the_figures_are_consistent() {
        let topics = [Topic::new("angel/home-dev/heartbeat/1".into(), 65536)];
        scores(bounds(&topics).into_keys().collect()).validate().expect("valid scores");
        thresholds().validate().expect("valid thresholds");
        let keys = Keypair::generate_ed25519();
        build(&"home-dev".parse().expect("a network id"), &keys, &topics).expect("a valid configuration");
        build(&"home-dev".parse().expect("a network id"), &keys, &[]).expect("no topic is fine");
    }

    #[test]
    fn four_rejected_messages_outweigh_all_credit() {
        let scores = scores(bounds(&[Topic::new("a".into(), 1)]).into_keys().collect());
        let topic = scores.topics.values().next().expect("one topic");
        let four = topic.invalid_message_deliveries_weight * 16.0;
        assert!(scores.topic_score_cap + four < GRAYLIST_SCORE);
        let two = topic.invalid_message_deliveries_weight * 4.0;
        assert!(two > GRAYLIST_SCORE, "two may happen to an honest peer of another version");
    }
}
