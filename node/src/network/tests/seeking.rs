use futures::StreamExt;

use super::*;

/// A node that is content with the one peer it is told of, and serves streams.
fn content(n: u8, bootstrap: Vec<Multiaddr>) -> Node {
    let limits = Limits { peers_min: 1, peers_wanted: 1, ..Limits::default() };
    let node = Node::start(Config { limits, bootstrap, ..config(n) });
    let mut incoming = node.handle.accept_streams("replicate/1").expect("nobody else accepts it");
    tokio::spawn(async move { while incoming.next().await.is_some() {} });
    node
}

async fn stream(from: &Node, to: PeerId) -> Result<Stream, StreamError> {
    tokio::time::timeout(DEADLINE, from.handle.open_stream(to, "replicate/1")).await.expect("an answer in time")
}

/// The restarted peer comes up again elsewhere, and only the third has heard of it.
#[tokio::test]
async fn a_peer_that_came_back_on_another_port_is_reached() {
    let third = content(1, vec![]);
    let a = content(2, third.addresses("quic").await);
    let b = content(3, third.addresses("quic").await);
    a.until_connected(&third).await;
    b.until_connected(&third).await;
    assert!(!a.handle.connected_peers().contains_key(&b.peer()), "they have not met");
    stream(&a, b.peer()).await.expect("a stream to whom only the third knows");
    let before = b.addresses("quic").await;
    b.stop().await;
    a.until("noticing that it is gone", |view| !view.peers.contains_key(&peer(3))).await;
    let b = content(3, third.addresses("quic").await);
    assert_ne!(b.addresses("quic").await, before);
    third.until_connected(&b).await;
    stream(&a, b.peer()).await.expect("a stream to where it is now");
    for node in [a, b, third] {
        node.stop().await;
    }
}

#[tokio::test]
async fn a_stream_reaches_whoever_is_somewhere_on_the_network() {
    const NODES: u8 = 9;
    let mut ring = vec![content(1, vec![])];
    for n in 2..=NODES {
        let bootstrap = ring.last().expect("the first").addresses("quic").await;
        ring.push(content(n, bootstrap));
        ring[usize::from(n) - 1].until_connected(&ring[usize::from(n) - 2]).await;
    }
    let far = ring[usize::from(NODES) - 1].peer();
    assert!(!ring[0].handle.connected_peers().contains_key(&far), "they have not met");
    stream(&ring[0], far).await.expect("a stream across the network");
    let answer = ring[1].handle.request(far, Protocol::Record, b"?".to_vec());
    let answer = tokio::time::timeout(DEADLINE, answer).await.expect("an answer in time");
    assert_eq!(answer, Err(RequestError::Refused(Refusal::Unavailable)), "it was asked");
    for node in ring {
        node.stop().await;
    }
}

#[tokio::test]
async fn whoever_is_nowhere_is_given_up_in_time() {
    let (a, b) = pair("quic").await;
    let nobody = stream(&a, peer(9)).await;
    assert!(matches!(nobody, Err(StreamError::Unreachable(Unreachable::NotFound))), "{:?}", nobody.err());
    let itself = stream(&a, a.peer()).await;
    assert!(matches!(itself, Err(StreamError::Unreachable(Unreachable::Refused))), "{:?}", itself.err());
    a.handle.block(b.peer()).await.expect("it runs");
    a.until("disconnecting", |view| view.peers.is_empty()).await;
    let blocked = stream(&a, b.peer()).await;
    assert!(matches!(blocked, Err(StreamError::Unreachable(Unreachable::Refused))), "{:?}", blocked.err());
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_kept_peer_is_sought_and_never_closed_to_make_room() {
    let third = content(1, vec![]);
    let limits = Limits { peers_high: 1, peers_wanted: 1, peers_min: 1, grace: Duration::ZERO, ..Limits::default() };
    // Without topics there is no mesh whose members would be spared.
    let bootstrap = third.addresses("quic").await;
    let a = Node::start(Config { limits, bootstrap: bootstrap.clone(), topics: Vec::new(), ..config(2) });
    let b = content(3, bootstrap.clone());
    a.until_connected(&third).await;
    b.until_connected(&third).await;
    a.handle.keep([b.peer()].into()).await.expect("it runs");
    a.until_connected(&b).await;
    let trimmed = async {
        while a.handle.stats().peers_trimmed == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, trimmed).await.expect("somebody has to go");
    assert!(a.handle.connected_peers().contains_key(&b.peer()), "a kept peer stays");
    b.stop().await;
    a.until("noticing that it is gone", |view| !view.peers.contains_key(&peer(3))).await;
    let b = content(3, bootstrap);
    a.until_connected(&b).await;
    for node in [a, b, third] {
        node.stop().await;
    }
}
