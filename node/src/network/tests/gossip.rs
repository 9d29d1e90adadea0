use super::*;

/// Publishes until somebody listens: subscriptions travel after the connection is made.
async fn publish(node: &Node, bytes: &[u8]) -> MessageId {
    let sent = async {
        loop {
            match node.handle.publish(TOPIC, bytes.to_vec()).await.expect("publishing is possible") {
                Published::Sent(id) => return id,
                Published::Alone => tokio::task::yield_now().await,
                Published::Duplicate => panic!("published twice"),
            }
        }
    };
    tokio::time::timeout(DEADLINE, sent).await.expect("a subscriber in time")
}

async fn gossip_goes_both_ways(kind: &str) {
    let (mut a, mut b) = pair(kind).await;
    let id = publish(&a, b"from a").await;
    let received = b.gossip().await;
    assert_eq!((received.message_id, received.bytes.as_slice()), (id, b"from a".as_slice()));
    assert_eq!((received.source, received.propagation_source), (a.peer(), a.peer()));
    assert_eq!(received.topic, TOPIC);
    publish(&b, b"from b").await;
    assert_eq!(a.gossip().await.bytes, b"from b");
    let again = a.handle.publish(TOPIC, b"from a".to_vec()).await;
    assert_eq!(again, Ok(Published::Duplicate));
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn gossip_goes_both_ways_over_quic() {
    gossip_goes_both_ways("quic-v1").await;
}

#[tokio::test]
async fn gossip_goes_both_ways_over_tcp() {
    gossip_goes_both_ways("/tcp/").await;
}

#[tokio::test]
async fn a_message_is_passed_on_only_when_it_was_accepted() {
    let mut middle = Node::start(config(1));
    let addresses = middle.addresses("quic").await;
    let limits = Limits { peers_wanted: 0, ..Limits::default() };
    let left = Node::start(Config { persistent: addresses.clone(), limits, block: [peer(3)].into(), ..config(2) });
    let mut right = Node::start(Config { persistent: addresses, limits, block: [peer(2)].into(), ..config(3) });
    middle.until("both ends", |view| view.peers.len() == 2).await;

    for (bytes, acceptance) in [("ignored", Acceptance::Ignore), ("accepted", Acceptance::Accept)] {
        publish(&left, bytes.as_bytes()).await;
        let gossip = middle.gossip().await;
        assert_eq!(gossip.bytes, bytes.as_bytes());
        middle.handle.report(gossip.message_id, gossip.propagation_source, acceptance).await.expect("it runs");
    }
    let passed_on = right.gossip().await;
    assert_eq!(passed_on.bytes, b"accepted", "the ignored one was published first and must not arrive");
    assert_eq!((passed_on.source, passed_on.propagation_source), (left.peer(), middle.peer()));
    for node in [left, middle, right] {
        node.stop().await;
    }
}

#[tokio::test]
async fn a_peer_that_sends_what_is_rejected_is_cut_off() {
    let (mut a, b) = pair("quic").await;
    let mut rejected = 0;
    let reason = loop {
        publish(&b, format!("invalid {rejected}").as_bytes()).await;
        let next = a
            .event("gossip or a refusal", |event| match event {
                Event::Gossip(gossip) => Some(Ok(gossip)),
                Event::PeerRefused { peer, reason } => Some(Err((peer, reason))),
                _ => None,
            })
            .await;
        match next {
            Ok(gossip) => {
                rejected += 1;
                assert!(rejected <= 4, "four are enough");
                a.handle.report(gossip.message_id, b.peer(), Acceptance::Reject).await.expect("it runs");
            }
            Err((peer, reason)) => {
                assert_eq!(peer, b.peer());
                break reason;
            }
        }
        if rejected == 4 {
            break a
                .event("a refusal", |event| match event {
                    Event::PeerRefused { reason, .. } => Some(reason),
                    _ => None,
                })
                .await;
        }
    };
    assert_eq!(reason, RefusalReason::Score);
    assert!(rejected > 2, "{rejected} rejected messages may happen to an honest peer");
    a.until("disconnecting", |view| view.peers.is_empty()).await;
    assert_eq!(a.handle.stats().peers_score_too_low, 1);
    // It keeps coming back and is refused at the door.
    let refused = async {
        while a.handle.stats().connections_refused == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, refused).await.expect("a refused connection");
    assert!(a.handle.connected_peers().is_empty());
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn penalties_of_the_node_count_as_well() {
    let (mut a, b) = pair("quic").await;
    a.handle.penalise(b.peer(), 50).await.expect("it runs");
    a.handle.penalise(b.peer(), 50).await.expect("it runs");
    let reason = a
        .event("a refusal", |event| match event {
            Event::PeerRefused { reason, .. } => Some(reason),
            _ => None,
        })
        .await;
    assert_eq!(reason, RefusalReason::Score);
    a.until("disconnecting", |view| view.peers.is_empty()).await;
    a.handle.unblock(b.peer()).await.expect("it runs");
    a.until_connected(&b).await;
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn what_is_too_large_or_not_of_this_network_is_not_published() {
    let node = Node::start(config(1));
    let exactly = node.handle.publish(TOPIC, vec![1; 64 << 10]).await;
    assert_eq!(exactly, Ok(Published::Alone), "alone is no error");
    let larger = node.handle.publish(TOPIC, vec![1; (64 << 10) + 1]).await;
    assert!(matches!(larger, Err(PublishError::TooLarge { .. })), "{larger:?}");
    let elsewhere = node.handle.publish("elsewhere", vec![1]).await;
    assert!(matches!(elsewhere, Err(PublishError::UnknownTopic { .. })), "{elsewhere:?}");
    node.stop().await;
}

#[tokio::test]
async fn the_largest_message_arrives() {
    let (a, mut b) = pair("quic").await;
    let bytes = vec![7; 64 << 10];
    publish(&a, &bytes).await;
    assert_eq!(b.gossip().await.bytes, bytes);
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_reader_that_lags_loses_gossip_and_no_peer() {
    let mut a = Node::start(Config { limits: Limits { events_max: 4, ..Limits::default() }, ..config(1) });
    let addresses = a.addresses("quic").await;
    let b = Node::start(Config { persistent: addresses.clone(), ..config(2) });
    a.until_connected(&b).await;
    for n in 0..20 {
        publish(&b, format!("message {n}").as_bytes()).await;
    }
    let c = Node::start(Config { persistent: addresses, ..config(3) });
    a.until_connected(&c).await;
    let dropped = async {
        while a.handle.stats().gossip_dropped == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, dropped).await.expect("dropped gossip is counted");
    let expected = c.peer();
    a.event("the late news of a peer", |event| match event {
        Event::PeerConnected { peer, .. } if peer == expected => Some(()),
        _ => None,
    })
    .await;
    for node in [a, b, c] {
        node.stop().await;
    }
}

#[tokio::test]
async fn a_peer_that_floods_is_slowed_down() {
    let limits = Limits { gossip_per_second: 5, ..Limits::default() };
    let mut a = Node::start(Config { limits, ..config(1) });
    let b = Node::start(Config { persistent: a.addresses("quic").await, ..config(2) });
    a.until_connected(&b).await;
    for n in 0..50 {
        publish(&b, format!("flood {n}").as_bytes()).await;
    }
    let limited = async {
        while a.handle.stats().gossip_received < 50 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, limited).await.expect("all of it arrives");
    let stats = a.handle.stats();
    let mut passed = 0;
    while let Ok(event) = a.events.try_recv() {
        passed += u64::from(matches!(event, Event::Gossip(_)));
    }
    assert!(passed >= 10, "twice the rate passes at once, {passed} did");
    assert_eq!(passed + stats.gossip_rate_limited, 50);
    assert!(stats.gossip_rate_limited >= 10, "{} were dropped", stats.gossip_rate_limited);
    a.stop().await;
    b.stop().await;
}
