//! Those who follow a space live.

use super::*;

#[tokio::test]
async fn followers_hear_everything_once_in_order_until_they_are_turned_out() {
    let world = World::new().await;
    let (ada, bob) = (world.sign_up("ada").await, world.sign_up("bob").await);
    let space = world.space(&ada, "live", "automatic").await;
    world.join(&bob, &space).await.expect("open");
    let at = enc(&space);
    let query = format!("space={at}&format=json");
    let (mut owner, mut stranger) = (world.follow(Some(&ada), &query).await, world.follow(None, &query).await);
    let mut member = world.follow(Some(&bob), &query).await;
    let here = owner.any().await;
    assert_eq!((&here["did"], &here["state"]), (&json!(bob.did), &json!("online")));

    let mut sent = vec![];
    for number in 0..20 {
        sent.push(
            world.say(if number % 2 == 0 { &ada } else { &bob }, &space, &format!("n{number}")).await.expect("in"),
        );
    }
    let mut last = 0;
    let mut cursor = 0;
    for follower in [&mut owner, &mut stranger, &mut member] {
        last = 0;
        for (number, uri) in sent.iter().enumerate() {
            let told = follower.next().await;
            assert_eq!(told["$type"], "co.kendev.spaces.subscribeSpace#message", "{told}");
            assert_eq!(told["uri"], uri.as_str());
            let number_in_space = told["seq"].as_u64().expect("a number");
            assert!(number_in_space > last);
            last = number_in_space;
            if number == 9 {
                cursor = last;
            }
        }
    }

    // Whoever comes back hears what they missed, as frames too.
    let mut back = world.follow(None, &format!("{query}&cursor={cursor}")).await;
    for uri in &sent[10..] {
        assert_eq!(back.next().await["uri"], uri.as_str());
    }
    let mut frames = world.follow(None, &format!("space={at}&cursor={cursor}")).await;
    match timeout(PATIENCE, frames.0.next()).await.expect("comes").expect("open").expect("in order") {
        Sent::Binary(frame) => {
            let header = angel_protocol::data::cbor::decode(&frame[..16]).expect("a header");
            assert_eq!(header.get("t").and_then(|t| t.as_str()), Some("#message"));
        }
        other => panic!("{other:?}"),
    }
    let mut future = world.follow(None, &format!("{query}&cursor={}", last + 1_000_000)).await;
    assert_eq!(future.next().await["error"], "FutureCursor");

    // Typing is told to the others and kept by nobody; who comes and goes is for members.
    member.0.send(Sent::text(json!({ "type": "typing" }).to_string())).await.expect("sent");
    let typing = owner.next().await;
    assert_eq!(typing["$type"], "co.kendev.spaces.subscribeSpace#typing");
    assert_eq!(stranger.next().await["did"], bob.did.as_str());

    world.post(&ada, "banMember", &json!({ "space": space, "user": bob.did })).await.expect("the owner");
    let banned = tokio::time::Instant::now();
    let told = member.next().await;
    assert_eq!(told["error"], "AccessEnded", "{told}");
    assert!(banned.elapsed() < Duration::from_secs(1), "within a second");
    let told = owner.next().await;
    assert_eq!((&told["did"], &told["status"]), (&json!(bob.did), &json!("banned")));
    world.say(&ada, &space, "after").await.expect("in");
    assert_eq!(stranger.next().await["value"]["content"]["text"], "after", "a stranger hears of no membership");
    assert_eq!(owner.next().await["value"]["content"]["text"], "after");

    world.post(&ada, "deleteSpace", &json!({ "space": space })).await.expect("the owner");
    let mut ended = stranger.next().await;
    while ended["error"].is_null() {
        ended = stranger.next().await;
    }
    assert_eq!(ended["error"], "SpaceGone");
    world.node.shutdown().await.expect("stops");
}

#[tokio::test]
async fn simple_clients_listen_to_server_sent_events() {
    let world = World::new().await;
    let ada = world.sign_up("ada").await;
    let space = world.space(&ada, "events", "automatic").await;
    let listen = async |cursor: &str| {
        let url = format!("{}/api/spaces/events?space={}{cursor}", world.url, enc(&space));
        let response = world.client.get(url).send().await.expect("answered");
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        response
    };
    let heard = async |response: &mut reqwest::Response, wanted: &str| {
        let mut text = String::new();
        while !text.contains(wanted) {
            let chunk = timeout(PATIENCE, response.chunk()).await.expect("something comes").expect("in order");
            text.push_str(&String::from_utf8_lossy(&chunk.expect("open")));
        }
        text
    };
    let mut first = listen("").await;
    world.say(&ada, &space, "event one").await.expect("the owner");
    let told = heard(&mut first, "event one").await;
    assert!(told.contains("event: message"), "{told}");
    let id = told.lines().find_map(|line| line.strip_prefix("id: ")).expect("an id").to_owned();
    world.say(&ada, &space, "event two").await.expect("the owner");
    let mut back = listen(&format!("&cursor={id}")).await;
    let told = heard(&mut back, "event two").await;
    assert!(!told.contains("event one"), "only what came after: {told}");
    world.post(&ada, "deleteSpace", &json!({ "space": space })).await.expect("the owner");
    heard(&mut back, "SpaceGone").await;
    world.node.shutdown().await.expect("stops");
}
