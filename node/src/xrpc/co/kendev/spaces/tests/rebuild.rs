//! An index that is lost is made anew, and everybody is answered as before.

use super::*;

/// What a view says, without the times at which the index learned of things and the places that it gave them.
fn lasting(mut view: Value) -> Value {
    match &mut view {
        Value::Object(fields) => {
            for passing in ["indexedAt", "lastActivity", "cursor"] {
                fields.remove(passing);
            }
            fields.values_mut().for_each(|value| *value = lasting(value.take()));
        }
        Value::Array(items) => items.iter_mut().for_each(|value| *value = lasting(value.take())),
        _ => {}
    }
    view
}

/// Every question about these spaces and messages, as each of these people is answered.
async fn answers(world: &World, people: &[Option<&Person>], spaces: &[String], messages: &[String]) -> Vec<Value> {
    let mut queries = vec!["listSpaces".to_owned(), "listSpaces?member=true".to_owned()];
    for space in spaces {
        let at = enc(space);
        for query in ["getSpace", "listChannels", "listMembers", "listMessages"] {
            queries.push(format!("{query}?space={at}"));
        }
        for status in ["pending", "banned", "left", "suspended"] {
            queries.push(format!("listMembers?space={at}&status={status}"));
        }
        queries.push(format!("searchMessages?space={at}&q=word"));
        queries.push(format!("listMessages?space={at}&department=sales"));
    }
    for message in messages {
        for query in ["getMessage", "getThread", "listMessageVersions"] {
            queries.push(format!("{query}?uri={}", enc(message)));
        }
    }
    let mut answers = vec![];
    for query in &queries {
        for who in people {
            let (status, answer) = world.send(*who, &format!("co.kendev.spaces.{query}"), None).await;
            let mut answer = lasting(answer);
            if let Value::Object(fields) = &mut answer {
                fields.remove("requestId");
            }
            answers.push(json!({ "query": query, "who": who.map(|who| &who.did), "status": status, "answer": answer }));
        }
    }
    answers
}

#[tokio::test]
async fn what_was_decided_and_changed_outlives_the_index() {
    let world = World::new().await;
    let (ada, bob, eve) = (world.sign_up("ada").await, world.sign_up("bob").await, world.sign_up("eve").await);
    let dan = world.sign_up("dan").await;
    let space = world.space(&ada, "open", "automatic").await;
    for person in [&bob, &eve, &dan] {
        world.join(person, &space).await.expect("open");
    }
    let role = json!({ "space": space, "user": bob.did, "role": "moderator" });
    world.post(&ada, "setMemberRole", &role).await.expect("the owner");
    let channel = |name: &str, visibility: &str| {
        json!({
            "space": space, "name": name, "channelType": "chat", "visibility": visibility, "department": "sales",
            "allowedRoles": ["moderator"],
        })
    };
    let mut channels = vec![];
    for (name, visibility) in [("Front", "public"), ("Back", "restricted")] {
        let made = world.post(&ada, "createChannel", &channel(name, visibility)).await.expect("the owner");
        channels.push(made["uri"].clone());
    }
    let mut messages = vec![world.say(&ada, &space, "word one").await.expect("a member")];
    messages.push(world.say(&bob, &space, "word two").await.expect("a member"));
    messages.push(world.say(&eve, &space, "word three").await.expect("a member"));
    for channel in &channels {
        let message =
            json!({ "space": space, "channel": channel, "content": { "type": "text", "text": "word inside" } });
        let sent = world.post(&bob, "sendMessage", &message).await.expect("a moderator")["uri"].clone();
        messages.push(sent.as_str().expect("a URI").to_owned());
    }
    world.said(Some(&ada), &format!("listMessages?space={}", enc(&space)), 5).await;
    for text in ["word two again", "word two at last"] {
        let edit = json!({ "uri": messages[1], "content": { "type": "text", "text": text } });
        world.post(&bob, "editMessage", &edit).await.expect("one's own");
    }
    world.post(&bob, "hideMessage", &json!({ "uri": messages[0], "reason": "a reason" })).await.expect("a moderator");
    world.post(&ada, "react", &json!({ "uri": messages[1], "emoji": "🙂" })).await.expect("a member");
    world.post(&dan, "markRead", &json!({ "message": messages[2] })).await.expect("a member");
    world.post(&ada, "banMember", &json!({ "space": space, "user": eve.did })).await.expect("the owner");
    world.post(&dan, "leaveSpace", &json!({ "space": space })).await.expect("a member");

    // A room, somebody asked into it, and an open invitation.
    let record = json!({
        "name": "Office", "slug": "office", "visibility": "private", "memberApproval": "disabled",
        "businessIdentity": { "type": "service", "industry": "general" },
    });
    let office = world.post(&ada, "createSpace", &json!({ "record": record })).await.expect("made")["uri"].clone();
    let office = office.as_str().expect("a URI").to_owned();
    let invite = json!({ "space": office, "user": bob.did });
    let token = world.post(&ada, "inviteMember", &invite).await.expect("the owner")["token"].clone();
    world.post(&ada, "inviteMember", &json!({ "space": office, "user": dan.did })).await.expect("the owner");
    let open = world.post(&ada, "inviteMember", &json!({ "space": office })).await.expect("the owner")["token"].clone();
    world.post(&bob, "joinSpace", &json!({ "space": office, "token": token })).await.expect("invited");
    messages.push(world.say(&bob, &office, "word of the office").await.expect("a member"));
    let direct = world.post(&ada, "openDirect", &json!({ "user": bob.did })).await.expect("opened")["uri"].clone();
    let direct = direct.as_str().expect("a URI").to_owned();
    messages.push(world.say(&ada, &direct, "word for one").await.expect("whoever began"));
    let spaces = [space.clone(), office.clone(), direct];
    world.said(Some(&ada), &format!("listMessages?space={}", enc(&spaces[2])), 1).await;
    world.said(Some(&ada), &format!("listMessages?space={}", enc(&office)), 1).await;

    let people = [None, Some(&ada), Some(&bob), Some(&eve), Some(&dan)];
    let before = answers(&world, &people, &spaces, &messages).await;
    let world = world.restarted(|_| (), lose_the_index).await;
    world.indexed(&ada).await;
    let after = answers(&world, &people, &spaces, &messages).await;
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before, after);
    }
    assert_eq!(before.len(), after.len());
    // What was open is open still, and what was closed is closed.
    world.post(&eve, "joinSpace", &json!({ "space": office, "token": open })).await.expect("invited");
    assert_eq!(world.say(&eve, &space, "x").await, Err("SpaceNotFound".to_owned()));
    world.node.shutdown().await.expect("stops");
}

#[tokio::test]
async fn of_a_deleted_space_nothing_is_kept() {
    let world = World::new().await;
    let (ada, bob) = (world.sign_up("ada").await, world.sign_up("bob").await);
    let (kept, gone) = (world.space(&ada, "kept", "automatic").await, world.space(&ada, "gone", "automatic").await);
    let dropped = world.space(&ada, "dropped", "automatic").await;
    for space in [&kept, &gone, &dropped] {
        world.join(&bob, space).await.expect("open");
    }
    world.post(&ada, "deleteSpace", &json!({ "space": gone })).await.expect("one's own");
    // The same by a client that knows records alone.
    world.delete(&ada, &dropped).await;
    world.indexed(&ada).await;
    let key = |uri: &str| uri.rsplit('/').next().expect("a key").to_owned();
    let world = world
        .restarted(
            |_| (),
            |store| {
                let facts = store.reader().scan(&FACTS).page(1000).expect("reads").rows;
                let of = |uri: &str| facts.iter().filter(|((_, rkey, _), _)| *rkey == key(uri)).count();
                assert!(of(&kept) >= 2, "the owner and a member");
                assert_eq!((of(&gone), of(&dropped)), (0, 0));
            },
        )
        .await;
    for space in [&gone, &dropped] {
        assert_eq!(world.join(&bob, space).await, Err("SpaceNotFound".to_owned()));
    }
    world.node.shutdown().await.expect("stops");
}
