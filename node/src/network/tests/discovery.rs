use super::*;

/// Nodes that know only the first one, and their events. Measured at 64 by the ignored test below.
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
