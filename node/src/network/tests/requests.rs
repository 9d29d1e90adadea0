use super::*;

async fn next_request(node: &mut Node) -> Request {
    node.event("a request", |event| match event {
        Event::Request(request) => Some(request),
        _ => None,
    })
    .await
}

/// Asks in the background.
fn ask(node: &Node, to: PeerId, protocol: Protocol, bytes: &[u8]) -> JoinHandle<Result<Vec<u8>, RequestError>> {
    let (handle, bytes) = (node.handle.clone(), bytes.to_vec());
    tokio::spawn(async move { handle.request(to, protocol, bytes).await })
}

async fn outcome(asked: JoinHandle<Result<Vec<u8>, RequestError>>) -> Result<Vec<u8>, RequestError> {
    tokio::time::timeout(DEADLINE, asked).await.expect("an outcome in time").expect("without a panic")
}

async fn a_question_is_answered(kind: &str) {
    let (mut a, b) = pair(kind).await;
    for protocol in Protocol::ALL {
        let asked = ask(&b, a.peer(), protocol, b"question");
        let request = next_request(&mut a).await;
        assert_eq!(
            (request.peer, request.protocol, request.bytes.as_slice()),
            (b.peer(), protocol, b"question".as_slice())
        );
        let largest = vec![7; protocol.response_bytes_max()];
        request.reply.send(Ok(largest.clone()));
        assert_eq!(outcome(asked).await, Ok(largest));
    }
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_question_is_answered_over_quic() {
    a_question_is_answered("quic").await;
}

#[tokio::test]
async fn a_question_is_answered_over_tcp() {
    a_question_is_answered("/tcp/").await;
}

#[tokio::test]
async fn refusals_arrive_by_name() {
    let (mut a, b) = pair("quic").await;
    let asked = ask(&b, a.peer(), Protocol::Record, b"x");
    next_request(&mut a).await.reply.send(Err(Refusal::NotFound));
    assert_eq!(outcome(asked).await, Err(RequestError::Refused(Refusal::NotFound)));

    let asked = ask(&b, a.peer(), Protocol::Record, b"x");
    drop(next_request(&mut a).await);
    assert_eq!(outcome(asked).await, Err(RequestError::Refused(Refusal::Unavailable)));

    let asked = ask(&b, a.peer(), Protocol::Record, b"x");
    let too_large = vec![0; Protocol::Record.response_bytes_max() + 1];
    next_request(&mut a).await.reply.send(Ok(too_large));
    assert_eq!(outcome(asked).await, Err(RequestError::Refused(Refusal::Unavailable)));

    let max = Protocol::Record.request_bytes_max();
    let too_large = b.handle.request(a.peer(), Protocol::Record, vec![0; max + 1]).await;
    assert_eq!(too_large, Err(RequestError::TooLarge { protocol: Protocol::Record, max }));
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_peer_has_a_bounded_number_of_questions_at_a_time() {
    let limits = Limits { requests_per_peer_max: 2, ..Limits::default() };
    let mut a = Node::start(Config { limits, ..config(1) });
    let b = Node::start(Config { persistent: a.addresses("quic").await, ..config(2) });
    b.until_connected(&a).await;
    let first = ask(&b, a.peer(), Protocol::Record, b"1");
    let second = ask(&b, a.peer(), Protocol::Record, b"2");
    let held = [next_request(&mut a).await, next_request(&mut a).await];
    let third = ask(&b, a.peer(), Protocol::Record, b"3");
    assert_eq!(outcome(third).await, Err(RequestError::Refused(Refusal::Busy)));
    for request in held {
        request.reply.send(Ok(Vec::new()));
    }
    assert_eq!((outcome(first).await, outcome(second).await), (Ok(Vec::new()), Ok(Vec::new())));
    let fourth = ask(&b, a.peer(), Protocol::Record, b"4");
    next_request(&mut a).await.reply.send(Ok(b"again".to_vec()));
    assert_eq!(outcome(fourth).await, Ok(b"again".to_vec()));
    assert_eq!(a.handle.stats().requests_refused, 1);
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_peer_may_ask_so_often_and_no_more() {
    let limits = Limits { requests_per_second: 1, ..Limits::default() };
    let mut a = Node::start(Config { limits, ..config(1) });
    let b = Node::start(Config { persistent: a.addresses("quic").await, ..config(2) });
    b.until_connected(&a).await;
    let asked: Vec<_> = (0..8).map(|_| ask(&b, a.peer(), Protocol::Record, b"x")).collect();
    let answering = tokio::spawn(async move {
        while let Some(event) = a.events.recv().await {
            if let Event::Request(request) = event {
                request.reply.send(Ok(Vec::new()));
            }
        }
        a
    });
    let mut refused = 0;
    for asked in asked {
        match outcome(asked).await {
            Ok(_) => {}
            Err(RequestError::Refused(Refusal::Busy)) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(refused >= 4, "a burst of two and one per second pass, {refused} of 8 were refused");
    answering.abort();
    b.stop().await;
}

#[tokio::test]
async fn our_own_questions_are_bounded() {
    let (mut a, b) = {
        let a = Node::start(config(1));
        let limits = Limits { requests_outbound_max: 1, ..Limits::default() };
        let b = Node::start(Config { persistent: a.addresses("quic").await, limits, ..config(2) });
        b.until_connected(&a).await;
        (a, b)
    };
    let first = ask(&b, a.peer(), Protocol::Record, b"1");
    let held = next_request(&mut a).await;
    let second = b.handle.request(a.peer(), Protocol::Record, b"2".to_vec()).await;
    assert_eq!(second, Err(RequestError::Busy { max: 1 }));
    held.reply.send(Ok(Vec::new()));
    assert_eq!(outcome(first).await, Ok(Vec::new()));
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn who_is_nowhere_is_unreachable() {
    let node = Node::start(config(1));
    let asked = ask(&node, peer(9), Protocol::Record, b"x");
    assert_eq!(outcome(asked).await, Err(RequestError::Unreachable));
    node.stop().await;
}

#[tokio::test]
async fn who_thinks_too_long_is_spoken_for() {
    let (mut a, b) = pair("quic").await;
    let asked = ask(&b, a.peer(), Protocol::Record, b"x");
    let _held = next_request(&mut a).await;
    assert_eq!(outcome(asked).await, Err(RequestError::Refused(Refusal::Unavailable)));
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_stopped_node_says_so() {
    let node = Node::start(config(1));
    let handle = node.handle.clone();
    node.stop().await;
    assert_eq!(handle.request(peer(2), Protocol::Record, Vec::new()).await, Err(RequestError::Stopped));
    assert_eq!(handle.publish(TOPIC, Vec::new()).await, Err(PublishError::Stopped));
    assert_eq!(handle.block(peer(2)).await, Err(Stopped));
}
