use super::*;

#[tokio::test]
async fn a_peer_of_another_network_is_turned_away() {
    let mut a = Node::start(config(1));
    let other = Config { network: "other-dev".parse().expect("a network id"), ..config(2) };
    let mut b = Node::start(Config { persistent: a.addresses("quic").await, ..other });
    // Whichever of the two hears first what the other is closes the connection, and the other may never hear it.
    let names = [(b.peer(), "/angel/other-dev/1"), (a.peer(), "/angel/test-dev/1")];
    let refusal = |event| match event {
        Event::PeerRefused { peer, reason } => Some((peer, reason)),
        Event::PeerConnected { .. } => panic!("a stranger was reported as connected"),
        _ => None,
    };
    let (found, name, by) = tokio::select! {
        found = a.event("a refusal", refusal) => (found, &names[0], &a),
        found = b.event("a refusal", refusal) => (found, &names[1], &b),
    };
    assert_eq!(found, (name.0, RefusalReason::OtherNetwork { version: name.1.to_owned() }));
    assert!(by.handle.stats().peers_other_network >= 1);
    assert!(a.handle.connected_peers().is_empty());
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_blocked_peer_is_disconnected_and_stays_out() {
    let (mut a, b) = pair("quic").await;
    a.handle.block(b.peer()).await.expect("it runs");
    let gone = b.peer();
    let disconnected = a.event("the disconnect", |event| match event {
        Event::PeerDisconnected { peer } => Some(peer),
        _ => None,
    });
    assert_eq!(disconnected.await, gone);
    let refused = async {
        while a.handle.stats().connections_refused == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, refused).await.expect("it tries again and is refused");
    assert!(a.handle.connected_peers().is_empty());
    a.handle.unblock(b.peer()).await.expect("it runs");
    a.until_connected(&b).await;
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn with_an_allow_list_nobody_else_enters() {
    let a = Node::start(Config { allow: [peer(2)].into(), ..config(1) });
    let addresses = a.addresses("quic").await;
    let b = Node::start(Config { persistent: addresses.clone(), ..config(2) });
    let c = Node::start(Config { persistent: addresses, ..config(3) });
    a.until_connected(&b).await;
    let refused = async {
        while a.handle.stats().connections_refused == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, refused).await.expect("a refused connection");
    assert!(!a.handle.connected_peers().contains_key(&c.peer()));
    a.handle.allow(c.peer()).await.expect("it runs");
    a.until_connected(&c).await;
    a.handle.disallow(b.peer()).await.expect("it runs");
    a.until("disconnecting", |view| !view.peers.contains_key(&b.peer())).await;
    for node in [a, b, c] {
        node.stop().await;
    }
}

#[tokio::test]
async fn a_full_node_refuses_the_next_one_and_still_takes_who_is_persistent() {
    assert_eq!(Limits::default().connections_max, 128, "the network specification, section 9");
    let limits = Limits { connections_max: 2, inbound_max: 2, outbound_max: 2, ..Limits::default() };
    // Persistent, although it never answers at that address: it comes by itself.
    let wanted: Multiaddr = format!("/ip4/127.0.0.1/tcp/1/p2p/{}", peer(5)).parse().expect("a multiaddress");
    let a = Node::start(Config { limits, persistent: vec![wanted], ..config(1) });
    let addresses = a.addresses("quic").await;
    let quiet = Limits { peers_wanted: 0, ..Limits::default() };
    let first = Node::start(Config { persistent: addresses.clone(), limits: quiet, ..config(2) });
    let second = Node::start(Config { persistent: addresses.clone(), limits: quiet, ..config(3) });
    a.until("two peers", |view| view.peers.len() == 2).await;
    let third = Node::start(Config { persistent: addresses.clone(), limits: quiet, ..config(4) });
    let refused = async {
        while a.handle.stats().connections_refused == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, refused).await.expect("a refused connection");
    assert!(!a.handle.connected_peers().contains_key(&third.peer()));
    let persistent = Node::start(Config { persistent: addresses, limits: quiet, ..config(5) });
    a.until_connected(&persistent).await;
    first.stop().await;
    second.stop().await;
    a.until_connected(&third).await;
    for node in [a, third, persistent] {
        node.stop().await;
    }
}

#[tokio::test]
async fn a_persistent_peer_is_awaited_and_found_again() {
    // A port that is free now and will be taken by the peer that comes late.
    let listen = free_tcp_address();
    let late = listen.clone().with_p2p(peer(2)).expect("no other peer in it");
    let a = Node::start(Config { persistent: vec![late], ..config(1) });
    for _ in 0..2 {
        let before = a.handle.stats().dials_failed_transport;
        let failures = async {
            while a.handle.stats().dials_failed_transport < before + 2 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(3 * DEADLINE, failures).await.expect("it is tried again and again");
        let b = Node::start_again(Config { listen: vec![listen.clone()], ..config(2) }).await;
        a.until_connected(&b).await;
        b.stop().await;
        a.until("noticing that it is gone", |view| view.peers.is_empty()).await;
    }
    a.stop().await;
}

#[tokio::test]
async fn quic_is_preferred_to_tcp() {
    let (a, b) = pair("").await;
    let stats = b.handle.stats();
    assert_eq!((stats.connections_outbound_quic, stats.connections_outbound_tcp), (1, 0));
    assert_eq!(a.handle.stats().connections_inbound_quic, 1);
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_stop_says_goodbye() {
    let (mut a, b) = pair("quic").await;
    let gone = b.peer();
    b.stop().await;
    // QUIC alone would notice after ten seconds.
    let goodbye = a.event("the goodbye", |event| match event {
        Event::PeerDisconnected { peer } => Some(peer),
        _ => None,
    });
    assert_eq!(tokio::time::timeout(Duration::from_secs(3), goodbye).await, Ok(gone), "at once");
    a.stop().await;
}

#[tokio::test]
async fn the_task_ends_when_nobody_reads_events() {
    let Node { handle, events, task, cancel: _cancel } = Node::start(config(1));
    drop(events);
    let ended = tokio::time::timeout(DEADLINE, task).await.expect("it ends");
    assert_eq!(ended.expect("without a panic"), Err(ReaderGone));
    assert_eq!(handle.block(peer(2)).await, Err(Stopped));
}

#[tokio::test]
async fn what_cannot_be_listened_on_is_named() {
    let a = Node::start(config(1));
    for kind in ["quic", "/tcp/"] {
        let (taken, _) = address::split_peer(&a.addresses(kind).await[0]);
        let error = start(Config { listen: vec![taken.clone()], ..config(2) }).err();
        assert!(matches!(&error, Some(StartError::AddressInUse { address }) if *address == taken), "{error:?}");
    }
    let odd: Multiaddr = "/ip4/127.0.0.1/sctp/1".parse().expect("a multiaddress");
    let error = start(Config { listen: vec![odd], ..config(2) }).err();
    assert!(matches!(error, Some(StartError::UnsupportedAddress { .. })), "{error:?}");
    let nobody: Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().expect("a multiaddress");
    let error = start(Config { persistent: vec![nobody], ..config(2) }).err();
    assert!(matches!(error, Some(StartError::NoPeerId { .. })), "{error:?}");
    a.stop().await;
}

#[tokio::test]
async fn pings_tell_the_round_trip() {
    let (mut a, b) = pair("quic").await;
    let (peer, rtt) = a
        .event("a ping", |event| match event {
            Event::Ping { peer, rtt } => Some((peer, rtt)),
            _ => None,
        })
        .await;
    assert_eq!(peer, b.peer());
    assert!(rtt < Duration::from_secs(5), "{rtt:?} on loopback");
    a.stop().await;
    b.stop().await;
}

/// Where nobody listens, for now. TCP says so at once; QUIC would wait for ten seconds.
fn free_tcp_address() -> Multiaddr {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    format!("/ip4/127.0.0.1/tcp/{}", socket.local_addr().expect("bound").port()).parse().expect("a multiaddress")
}

#[tokio::test]
async fn a_crowded_node_makes_room_but_keeps_whom_it_wants() {
    let limits = Limits { peers_high: 3, peers_wanted: 1, grace: Duration::ZERO, peers_min: 0, ..Limits::default() };
    // Without topics there is no mesh whose members would be spared.
    let crowded = Config { limits, topics: Vec::new(), ..config(1) };
    let wanted = Node::start(Config { topics: Vec::new(), ..config(2) });
    let a = Node::start(Config { persistent: wanted.addresses("quic").await, ..crowded });
    a.until_connected(&wanted).await;
    let quiet = Limits { peers_wanted: 0, peers_min: 9, ..Limits::default() };
    let mut others = Vec::new();
    for n in 3..=5 {
        let bootstrap = a.addresses("quic").await;
        others.push(Node::start(Config { bootstrap, limits: quiet, topics: Vec::new(), ..config(n) }));
    }
    let trimmed = async {
        while a.handle.stats().peers_trimmed == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, trimmed).await.expect("somebody has to go");
    a.until("fewer peers", |view| view.peers.len() <= 3).await;
    assert!(a.handle.connected_peers().contains_key(&wanted.peer()), "a persistent peer stays");
    for node in others.into_iter().chain([a, wanted]) {
        node.stop().await;
    }
}

#[tokio::test]
async fn streams_carry_bulk_data() {
    use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};

    let (a, b) = pair("quic").await;
    let mut incoming = a.handle.accept_streams("replicate/1").expect("nobody else accepts it");
    assert!(matches!(a.handle.accept_streams("replicate/1"), Err(StreamError::Taken { .. })));
    let serving = tokio::spawn(async move {
        let (peer, mut stream) = incoming.next().await.expect("a stream");
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.expect("all of it");
        (peer, bytes)
    });
    let mut stream = b.handle.open_stream(a.peer(), "replicate/1").await.expect("a stream");
    let bytes: Vec<u8> = (0..3_000_000u32).map(|n| n.to_le_bytes()[0]).collect();
    stream.write_all(&bytes).await.expect("the other side reads");
    stream.close().await.expect("the other side reads");
    let served = tokio::time::timeout(DEADLINE, serving).await.expect("in time").expect("without a panic");
    assert_eq!(served.0, b.peer());
    assert!(served.1 == bytes, "{} bytes arrived", served.1.len());
    let unknown = b.handle.open_stream(a.peer(), "unknown/1").await;
    assert!(matches!(unknown, Err(StreamError::Unsupported { .. })), "{:?}", unknown.err());
    a.stop().await;
    b.stop().await;
}
