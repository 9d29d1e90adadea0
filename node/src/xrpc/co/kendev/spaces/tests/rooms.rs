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
                        world.raw(who, &format!("co.kendev.spaces.{query}?space={at}"), None).await;
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
        world.raw(Some(&eve), "com.atproto.repo.createRecord", Some(&plain)).await;
        let note = json!({
            "repo": eve.did, "collection": "com.example.note", "record": { "text": "publicend" },
        });
        world.raw(Some(&eve), "com.atproto.repo.createRecord", Some(&note)).await;
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
