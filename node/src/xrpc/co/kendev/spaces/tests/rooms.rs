//! Spaces that are not public: their members alone, wherever those live.

use super::*;

/// Everything that a node shows to everybody about an account, as bytes.
pub(super) async fn public_face(world: &World, did: &str) -> Vec<u8> {
    let repo = format!("{}/xrpc/com.atproto.sync.getRepo?did={}", world.url, enc(did));
    let mut shown = world.client.get(repo).send().await.expect("answered").bytes().await.expect("a file").to_vec();
    let url = format!("{}/xrpc/com.atproto.sync.subscribeRepos?cursor=0", world.url.replace("http", "ws"));
    let mut stream = connect_async(url).await.expect("connects").0;
    // Something public, written last: when it comes, everything before it has come.
    while let Some(Ok(message)) = timeout(PATIENCE, stream.next()).await.expect("something comes") {
        shown.extend_from_slice(&message.clone().into_data());
        if message.into_data().windows(9).any(|part| part == b"publicend") {
            break;
        }
    }
    shown
}

#[tokio::test]
async fn a_private_space_is_for_its_members_alone() {
    let world = World::new().await;
    let (ada, bob, eve) = (world.sign_up("ada").await, world.sign_up("bob").await, world.sign_up("eve").await);
    for visibility in ["private", "invite_only"] {
        let record = json!({
            "name": "Secretname", "slug": "office", "visibility": visibility, "memberApproval": "automatic",
            "businessIdentity": { "type": "service", "industry": "general" },
        });
        let create = json!({ "record": record, "inviteCode": "open sesame please" });
        let space = world.post(&ada, "createSpace", &create).await.expect("made")["uri"].clone();
        let space = space.as_str().expect("a URI").to_owned();
        let at = enc(&space);
        let channel = json!({ "space": space, "name": "Ideas", "channelType": "chat", "visibility": "private" });
        let ideas = world.post(&ada, "createChannel", &channel).await.expect("made")["uri"].clone();

        // A stranger is told what they are told of nothing, by every method and in every word.
        let nowhere = enc(&format!("at://{}/co.kendev.spaces.space/3kznmn7xqxl22", ada.did));
        for query in ["getSpace", "listChannels", "listMembers", "listMessages"] {
            for who in [None, Some(&eve)] {
                let ask = async |at: &str| {
                    let (status, mut told) =
                        world.send(who, &format!("co.kendev.spaces.{query}?space={at}"), None).await;
                    told["requestId"] = Value::Null;
                    (status, told)
                };
                let told = ask(&at).await;
                assert_eq!(told, ask(&nowhere).await, "{query}");
                assert_eq!(told.1["error"], "SpaceNotFound");
            }
        }
        let search = format!("searchMessages?space={at}&q=marker");
        assert_eq!(world.get(Some(&eve), &search).await, Err("SpaceNotFound".to_owned()));
        assert_eq!(world.join(&eve, &space).await, Err("SpaceNotFound".to_owned()));
        let guess = json!({ "space": space, "token": "guess" });
        assert_eq!(world.post(&eve, "joinSpace", &guess).await, Err("SpaceNotFound".to_owned()));
        assert_eq!(world.say(&eve, &space, "x").await, Err("SpaceNotFound".to_owned()));
        let listed = world.get(Some(&eve), "listSpaces").await.expect("reads");
        assert_eq!(listed["spaces"], json!([]));
        let refused = connect_async(format!(
            "{}/xrpc/co.kendev.spaces.subscribeSpace?space={at}",
            world.url.replace("http", "ws")
        ));
        assert!(refused.await.is_err(), "no stream for strangers");

        let code = json!({ "space": space, "code": "open sesame please" });
        let by_code = world.post(&bob, "joinSpace", &code).await;
        if visibility == "private" {
            assert_eq!(by_code, Err("SpaceNotFound".to_owned()), "a code does not open a private space");
            let token = world.post(&ada, "inviteMember", &json!({ "space": space })).await.expect("the owner");
            let join = json!({ "space": space, "token": token["token"] });
            assert_eq!(world.post(&bob, "joinSpace", &join).await.expect("invited")["status"], "active");
        } else {
            assert_eq!(by_code.expect("it opens one by invitation")["status"], "active");
        }
        let mut follower = world.follow(Some(&bob), &format!("space={at}&format=json")).await;
        let said = world.say(&ada, &space, "privatemarker one").await.expect("the owner");
        assert_eq!(follower.next().await["value"]["content"]["text"], "privatemarker one");
        let body = json!({
            "space": space, "channel": ideas, "content": { "type": "text", "text": "privatemarker two" },
        });
        let second = world.post(&bob, "sendMessage", &body).await.expect("a member")["uri"].clone();
        follower.next().await;
        let edit = json!({ "uri": second, "content": { "type": "text", "text": "privatemarker three" } });
        world.post(&bob, "editMessage", &edit).await.expect("one's own");
        assert_eq!(follower.next().await["value"]["content"]["text"], "privatemarker three");
        world.post(&bob, "react", &json!({ "uri": said, "emoji": "👍" })).await.expect("a member");
        assert_eq!(follower.next().await["emoji"], "👍");
        let all = world.said(Some(&bob), &format!("searchMessages?space={at}&q=privatemarker"), 2).await;
        assert_eq!(all, ["privatemarker three", "privatemarker one"]);
        assert_eq!(
            world.get(Some(&eve), &format!("getMessage?uri={}", enc(&said))).await,
            Err("MessageNotFound".to_owned())
        );

        // Plain record writes do not reach a room, and nothing of it is public.
        let plain = json!({
            "repo": eve.did, "collection": "co.kendev.spaces.message", "record": {
                "$type": "co.kendev.spaces.message", "space": space, "messageType": "user",
                "content": { "type": "text", "text": "publicend" }, "createdAt": "2026-11-21T09:00:00.000Z",
            },
        });
        world.send(Some(&eve), "com.atproto.repo.createRecord", Some(&plain)).await;
        let note = json!({
            "repo": eve.did, "collection": "com.example.note", "record": { "text": "publicend" },
        });
        world.send(Some(&eve), "com.atproto.repo.createRecord", Some(&note)).await;
        for did in [&ada.did, &bob.did] {
            let shown = public_face(&world, did).await;
            for secret in ["privatemarker", "Secretname", "Ideas"] {
                assert!(!shown.windows(secret.len()).any(|part| part == secret.as_bytes()), "{secret} is public");
            }
        }
        let listed = world.said(Some(&bob), &format!("listMessages?space={at}"), 2).await;
        assert_eq!(listed, ["privatemarker three", "privatemarker one"]);

        // Turned out, one is a stranger again, within a second.
        world.post(&ada, "banMember", &json!({ "space": space, "user": bob.did })).await.expect("the owner");
        let banned = tokio::time::Instant::now();
        assert_eq!(follower.next().await["error"], "AccessEnded");
        assert!(banned.elapsed() < Duration::from_secs(1));
        assert_eq!(world.get(Some(&bob), &format!("listMessages?space={at}")).await, Err("SpaceNotFound".to_owned()));
        world.post(&ada, "deleteSpace", &json!({ "space": space })).await.expect("the owner");
        assert_eq!(world.get(Some(&ada), &format!("getSpace?space={at}")).await, Err("SpaceNotFound".to_owned()));
    }
    world.node.shutdown().await.expect("stops");
}

#[tokio::test]
async fn a_channel_for_some_is_for_those_alone() {
    let world = World::new().await;
    let (ada, bob, eve) = (world.sign_up("ada").await, world.sign_up("bob").await, world.sign_up("eve").await);
    let space = world.space(&ada, "market", "automatic").await;
    let at = enc(&space);
    world.join(&bob, &space).await.expect("open");
    world.join(&eve, &space).await.expect("open");
    let channel = json!({
        "space": space, "name": "Backroom", "channelType": "chat", "visibility": "restricted",
        "allowedRoles": ["viewer"],
    });
    let made = world.post(&ada, "createChannel", &channel).await.expect("the owner")["uri"].clone();
    let backroom = made.as_str().expect("a URI").to_owned();
    let listed = async |who| {
        let channels = world.get(who, &format!("listChannels?space={at}")).await.expect("reads");
        channels["channels"].as_array().expect("a list").len()
    };
    let into = |text: &str| json!({ "space": space, "channel": backroom, "content": { "type": "text", "text": text } });
    assert_eq!((listed(Some(&ada)).await, listed(Some(&bob)).await, listed(None).await), (1, 0, 0));
    assert_eq!(world.post(&bob, "sendMessage", &into("x")).await, Err("ChannelNotFound".to_owned()));

    // One is let in by name, one by role.
    let access = |access: Option<&str>| {
        let mut body = json!({ "channel": backroom, "user": bob.did });
        if let Some(access) = access {
            body["access"] = access.into();
        }
        body
    };
    assert_eq!(world.post(&bob, "setChannelAccess", &access(Some("write"))).await, Err("ChannelNotFound".to_owned()));
    world.post(&ada, "setChannelAccess", &access(Some("write"))).await.expect("the owner");
    assert_eq!((listed(Some(&bob)).await, listed(Some(&eve)).await), (1, 0));
    let mut bobs = world.follow(Some(&bob), &format!("space={at}&format=json")).await;
    let mut eves = world.follow(Some(&eve), &format!("space={at}&format=json")).await;
    let mut anybodys = world.follow(None, &format!("space={at}&format=json")).await;
    let said = world.post(&bob, "sendMessage", &into("backroomtalk one")).await.expect("let in")["uri"].clone();
    assert_eq!(bobs.next().await["value"]["content"]["text"], "backroomtalk one");
    let edit = json!({ "uri": said, "content": { "type": "text", "text": "backroomtalk two" } });
    world.post(&bob, "editMessage", &edit).await.expect("one's own");
    assert_eq!(bobs.next().await["edited"], true);
    world.post(&ada, "react", &json!({ "uri": said, "emoji": "👍" })).await.expect("the owner");
    assert_eq!(bobs.next().await["emoji"], "👍");
    let said = enc(said.as_str().expect("a URI"));
    for who in [None, Some(&eve)] {
        assert_eq!(world.get(who, &format!("getMessage?uri={said}")).await, Err("MessageNotFound".to_owned()));
        assert_eq!(world.said(who, &format!("listMessages?space={at}"), 0).await, Vec::<String>::new());
        assert_eq!(world.said(who, &format!("searchMessages?space={at}&q=backroomtalk"), 0).await.len(), 0);
    }
    assert_eq!(world.said(Some(&bob), &format!("searchMessages?space={at}&q=backroomtalk"), 1).await.len(), 1);

    // What was said there is in nobody's public repository, and those who are not let in heard none of it.
    world.say(&ada, &space, "publicend").await.expect("the owner");
    for did in [&ada.did, &bob.did] {
        let shown = public_face(&world, did).await;
        for secret in ["backroomtalk", "Backroom"] {
            assert!(!shown.windows(secret.len()).any(|part| part == secret.as_bytes()), "{secret} is public");
        }
    }
    for follower in [&mut eves, &mut anybodys] {
        let told = loop {
            let told = follower.next().await;
            if told["$type"] != "co.kendev.spaces.subscribeSpace#channel" {
                break told;
            }
        };
        assert_eq!(told["value"]["content"]["text"], "publicend");
    }

    // Taken back, it is closed at once.
    world.post(&ada, "setChannelAccess", &access(None)).await.expect("the owner");
    assert_eq!(listed(Some(&bob)).await, 0);
    assert_eq!(world.post(&bob, "sendMessage", &into("x")).await, Err("ChannelNotFound".to_owned()));
    let role = json!({ "space": space, "user": eve.did, "role": "viewer" });
    world.post(&ada, "setMemberRole", &role).await.expect("the owner");
    assert_eq!(listed(Some(&eve)).await, 1, "let in by role");
    assert_eq!(world.said(Some(&eve), &format!("listMessages?space={at}"), 2).await[1], "backroomtalk two");
    assert_eq!(world.post(&eve, "sendMessage", &into("x")).await, Err("NotAllowed".to_owned()));
    let nobody = json!({ "channel": backroom, "allowedRoles": [] });
    world.post(&ada, "updateChannel", &nobody).await.expect("the owner");
    assert_eq!(listed(Some(&eve)).await, 0, "and no longer");
    let opened = json!({ "channel": backroom, "visibility": "public" });
    assert_eq!(world.post(&ada, "updateChannel", &opened).await, Err("NotAllowed".to_owned()));
    world.post(&ada, "deleteSpace", &json!({ "space": space })).await.expect("the owner");
    world.node.shutdown().await.expect("stops");
}

#[tokio::test]
async fn two_people_talk_alone() {
    let world = World::new().await;
    let (ada, bob, eve) = (world.sign_up("ada").await, world.sign_up("bob").await, world.sign_up("eve").await);
    let open = |user: &Person| json!({ "user": user.did });
    assert_eq!(world.post(&ada, "openDirect", &open(&ada)).await, Err("NotAllowed".to_owned()));
    let opened = world.post(&ada, "openDirect", &open(&bob)).await.expect("opened");
    assert_eq!(opened["status"], "pending");
    let space = opened["uri"].as_str().expect("a URI").to_owned();
    let at = enc(&space);
    assert_eq!(world.post(&ada, "openDirect", &open(&bob)).await.expect("again")["uri"], opened["uri"], "one for two");
    world.say(&ada, &space, "are you there").await.expect("whoever began");

    // Asked, one sees that somebody wants to talk, and not what they say.
    let mine = world.get(Some(&bob), "listSpaces?member=true").await.expect("reads");
    assert_eq!(
        (&mine["spaces"][0]["uri"], &mine["spaces"][0]["viewer"]["status"]),
        (&opened["uri"], &json!("pending"))
    );
    assert_eq!(world.said(Some(&bob), &format!("listMessages?space={at}"), 0).await, Vec::<String>::new());
    assert_eq!(world.say(&bob, &space, "x").await, Err("NotAllowed".to_owned()));
    world.join(&bob, &space).await.expect("asked");
    let mut hears = world.follow(Some(&bob), &format!("space={at}&format=json")).await;
    world.say(&ada, &space, "good").await.expect("one of the two");
    assert_eq!(hears.next().await["value"]["content"]["text"], "good");
    world.say(&bob, &space, "I am").await.expect("one of the two");
    let all = world.said(Some(&ada), &format!("listMessages?space={at}"), 3).await;
    assert_eq!(all, ["I am", "good", "are you there"]);
    assert_eq!(hears.next().await["value"]["content"]["text"], "I am");

    // A third person learns nothing, and is let in by nobody.
    for query in ["getSpace", "listMessages", "listMembers"] {
        let told = world.get(Some(&eve), &format!("{query}?space={at}")).await;
        assert_eq!(told, Err("SpaceNotFound".to_owned()));
    }
    assert_eq!(world.join(&eve, &space).await, Err("SpaceNotFound".to_owned()));
    let invite = json!({ "space": space, "user": eve.did });
    assert_eq!(world.post(&ada, "inviteMember", &invite).await, Err("NotAllowed".to_owned()));

    // Blocked, it ends at once, and nothing new begins until that is lifted.
    world.post(&bob, "blockPerson", &open(&ada)).await.expect("one's own affair");
    let blocked = tokio::time::Instant::now();
    assert_eq!(hears.next().await["error"], "AccessEnded");
    assert!(blocked.elapsed() < Duration::from_secs(1));
    assert_eq!(world.get(Some(&bob), &format!("listMessages?space={at}")).await, Err("SpaceNotFound".to_owned()));
    assert_eq!(world.post(&ada, "openDirect", &open(&bob)).await, Err("NotAllowed".to_owned()));
    world.post(&bob, "blockPerson", &json!({ "user": ada.did, "lift": true })).await.expect("lifted");
    assert_eq!(world.post(&ada, "openDirect", &open(&bob)).await.expect("asked again")["status"], "pending");

    // Whoever began can block as well.
    world.join(&bob, &space).await.expect("asked again");
    world.post(&ada, "blockPerson", &open(&bob)).await.expect("one's own affair");
    assert_eq!(world.say(&bob, &space, "x").await, Err("SpaceNotFound".to_owned()));
    world.post(&ada, "blockPerson", &json!({ "user": bob.did, "lift": true })).await.expect("lifted");
    world.node.shutdown().await.expect("stops");
}
