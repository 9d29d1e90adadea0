use super::*;

/// A node that listens nowhere itself and asks `relay` to be reachable through it.
fn hidden(n: u8, relay: &[Multiaddr]) -> Config {
    Config { listen: Vec::new(), relays: relay.to_vec(), ..config(n) }
}

#[tokio::test]
async fn two_nodes_that_nobody_can_dial_meet_through_a_relay() {
    let relay = Node::start(Config { relay_server: Some(RelayLimits::default()), ..config(1) });
    let at = relay.addresses("quic").await;
    let quiet = Limits { peers_wanted: 0, ..Limits::default() };
    let b = Node::start(Config { limits: quiet, ..hidden(2, &at) });
    let view = b.until("a reservation", |view| view.reachability == Reachability::Relayed).await;
    assert!(view.external.iter().all(address::is_relayed), "{view:?}");
    let circuit = b.handle.external_addresses();
    let mut c = Node::start(Config { limits: quiet, persistent: circuit, ..hidden(3, &at) });
    c.until_connected(&b).await;
    b.until_connected(&c).await;
    assert!(c.handle.connected_peers()[&b.peer()].relayed);

    let (asking, to) = (c.handle.clone(), b.peer());
    let mut b = b;
    let asked = tokio::spawn(async move { asking.request(to, Protocol::Record, b"through".to_vec()).await });
    let request = b
        .event("a request", |event| match event {
            Event::Request(request) => Some(request),
            _ => None,
        })
        .await;
    request.reply.send(Ok(b"the relay".to_vec()));
    assert_eq!(asked.await.expect("without a panic"), Ok(b"the relay".to_vec()));
    assert!(relay.handle.stats().relay_circuits_carried >= 1);
    let relay_peer = relay.peer();
    relay.stop().await;
    c.event("the relay's end", |event| match event {
        Event::PeerDisconnected { peer } if peer == relay_peer => Some(()),
        _ => None,
    })
    .await;
    b.until("losing the relayed address", |view| view.external.is_empty()).await;
    b.stop().await;
    c.stop().await;
}

#[tokio::test]
async fn a_node_finds_a_relay_among_its_peers_and_asks_again_when_it_was_away() {
    let listen: Multiaddr = {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let port = socket.local_addr().expect("bound").port();
        format!("/ip4/127.0.0.1/udp/{port}/quic-v1").parse().expect("a multiaddress")
    };
    let serve = || Config { relay_server: Some(RelayLimits::default()), listen: vec![listen.clone()], ..config(1) };
    let relay = Node::start(serve());
    let at = listen.clone().with_p2p(relay.peer()).expect("no other peer in it");
    let b = Node::start(Config { persistent: vec![at], relays_learned_max: 1, ..hidden(2, &[]) });
    b.until("a reservation", |view| view.reachability == Reachability::Relayed).await;
    relay.stop().await;
    b.until("losing it", |view| view.reachability == Reachability::Unreachable).await;
    let relay = Node::start_again(serve()).await;
    b.until("a new reservation", |view| view.reachability == Reachability::Relayed).await;
    b.stop().await;
    relay.stop().await;
}

#[tokio::test]
async fn a_relayed_connection_becomes_a_direct_one() {
    let relay = Node::start(Config { relay_server: Some(RelayLimits::default()), ..config(1) });
    let at = relay.addresses("quic").await;
    let quiet = Limits { peers_wanted: 0, ..Limits::default() };
    let b = Node::start(Config { limits: quiet, relays: at.clone(), ..config(2) });
    let view = b.until("a reservation", |view| view.external.iter().any(address::is_relayed)).await;
    let circuit: Vec<Multiaddr> = view.external.into_iter().filter(address::is_relayed).collect();
    let circuit = circuit.into_iter().map(|address| address.with_p2p(b.peer()).expect("no other peer in it")).collect();
    // It is told the circuit only, and hears of the direct way through it.
    let mut c = Node::start(Config { limits: quiet, persistent: circuit, ..config(3) });
    let (to, mut relayed_first) = (b.peer(), false);
    let direct = c
        .event("a direct connection", |event| match event {
            Event::PeerConnected { peer, relayed, .. } if peer == to => {
                relayed_first = relayed;
                None
            }
            Event::PeerDirect { peer, address } if peer == to => Some(address),
            _ => None,
        })
        .await;
    assert!(relayed_first, "the relay came first");
    assert!(!address::is_relayed(&direct), "{direct}");
    let view = c.until("showing it", |view| view.peers.get(&to).is_some_and(|peer| !peer.relayed)).await;
    assert!(view.peers.contains_key(&to));
    for node in [relay, b, c] {
        node.stop().await;
    }
}
