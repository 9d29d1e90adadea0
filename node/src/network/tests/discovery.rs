use super::*;

/// Nodes that know only the first one.
async fn swarm_of(n: u8, peers_wanted: usize) -> Vec<Node> {
    let limits = Limits { peers_wanted, ..Limits::default() };
    let first = Node::start(Config { limits, ..config(1) });
    let bootstrap = first.addresses("quic").await;
    let mut nodes = vec![first];
    nodes.extend((2..=n).map(|n| Node::start(Config { limits, bootstrap: bootstrap.clone(), ..config(n) })));
    nodes
}

#[tokio::test]
async fn nodes_that_know_one_find_the_others() {
    let nodes = swarm_of(6, 5).await;
    for node in &nodes {
        node.until("knowing everybody", |view| view.peers.len() == 5).await;
    }
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test]
async fn addresses_told_by_others_are_dialed_within_the_scope_only() {
    let a = Node::start(config(1));
    let b = Node::start(Config { scope: Scope::Public, ..config(2) });
    let c = Node::start(config(3));
    let (loopback, _) = address::split_peer(&a.addresses("quic").await[0]);
    b.handle.add_known(a.peer(), vec![loopback.clone()]).await.expect("it runs");
    c.handle.add_known(a.peer(), vec![loopback.clone()]).await.expect("it runs");
    c.until_connected(&a).await;
    assert!(!b.handle.connected_peers().contains_key(&a.peer()), "a public node does not dial loopback");
    // What the operator asks for is dialed wherever it is.
    b.handle.dial(a.peer(), vec![loopback]).await.expect("it runs");
    b.until_connected(&a).await;
    assert!(b.handle.external_addresses().is_empty(), "a public node does not tell loopback addresses");
    for node in [a, b, c] {
        node.stop().await;
    }
}

/// Every node hears one message of each other node, 4,032 in all, within this time of the first start.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes both cores for some seconds; run it alone"]
async fn sixty_four_nodes_hear_each_other() {
    const NODES: u8 = 64;
    let started = Instant::now();
    let nodes = swarm_of(NODES, Limits::default().peers_wanted).await;
    let listening: Vec<JoinHandle<Duration>> = nodes
        .into_iter()
        .map(|mut node| {
            tokio::spawn(async move {
                let heartbeat = |n: u32| format!("{} {n}", node.handle.local_peer()).into_bytes();
                let mut heard = BTreeSet::new();
                let mut again = tokio::time::interval(Duration::from_secs(5));
                let mut beats = 0;
                let (mut all_heard, mut peers) = (None, 0);
                // Goes on for the others until all have heard all.
                while started.elapsed() < Duration::from_secs(30) {
                    tokio::select! {
                        _ = again.tick() => {
                            beats += 1;
                            node.handle.publish(TOPIC, heartbeat(beats)).await.expect("it runs");
                        }
                        event = node.events.recv() => match event.expect("it runs") {
                            // A node says hello to its first few peers, and then beats slowly.
                            Event::PeerConnected { .. } if beats <= 3 => again.reset_immediately(),
                            Event::Gossip(gossip) => {
                                heard.insert(gossip.source);
                                let (id, from) = (gossip.message_id, gossip.propagation_source);
                                node.handle.report(id, from, Acceptance::Accept).await.expect("it runs");
                                if heard.len() == usize::from(NODES) - 1 && all_heard.is_none() {
                                    all_heard = Some(started.elapsed());
                                    peers = node.handle.connected_peers().len();
                                }
                            }
                            _ => {}
                        },
                    }
                    if all_heard.is_some_and(|at| started.elapsed() > at + Duration::from_secs(6)) {
                        break;
                    }
                }
                let counted: Vec<_> = node.handle.stats().named().into_iter().filter(|(_, count)| *count > 0).collect();
                let heard = heard.len();
                assert!(all_heard.is_some(), "heard {heard} of {} with {peers} peers: {counted:?}", NODES - 1);
                node.stop().await;
                all_heard.expect("checked")
            })
        })
        .collect();
    let mut slowest = Duration::ZERO;
    for node in listening {
        slowest = slowest.max(node.await.expect("every node hears every other"));
    }
    println!("all {NODES} nodes had heard all others after {slowest:?}");
}
