//! What becomes of members, invitations and the space itself; how much one may say, and how it is found again.

use angel_protocol::time::Timestamp;
use angel_storage::Batch;
use angel_storage::codec::Cbor;
use angel_storage::spaces::INVITES;

use super::*;

#[tokio::test]
async fn a_suspended_member_is_quiet_until_let_in_again() {
    let world = World::new().await;
    let (ada, bob) = (world.sign_up("ada").await, world.sign_up("bob").await);
    let space = world.space(&ada, "yard", "automatic").await;
    world.join(&bob, &space).await.expect("open");
    world.say(&bob, &space, "before").await.expect("a member");
    let of = |lift: bool| json!({ "space": space, "user": bob.did, "lift": lift });
    assert_eq!(world.post(&bob, "suspendMember", &of(false)).await, Err("NotAllowed".to_owned()));
    let suspended = world.post(&ada, "suspendMember", &of(false)).await.expect("the owner");
    assert_eq!(suspended, json!({ "role": "member", "status": "suspended" }));
    assert_eq!(world.say(&bob, &space, "meanwhile").await, Err("NotAllowed".to_owned()));
    assert_eq!(world.join(&bob, &space).await, Err("NotAllowed".to_owned()), "nobody suspended joins anew");
    assert_eq!(world.post(&ada, "suspendMember", &of(false)).await, Err("MemberNotFound".to_owned()), "once");
    let lifted = world.post(&ada, "suspendMember", &of(true)).await.expect("the owner");
    assert_eq!(lifted["status"], "active");
    world.say(&bob, &space, "after").await.expect("a member again");
    let said = world.said(None, &format!("listMessages?space={}", enc(&space)), 2).await;
    assert_eq!(said, ["after", "before"]);
    world.node.shutdown().await.expect("stops");
}

#[tokio::test]
async fn a_space_is_changed_by_the_fields_that_are_given() {
    let world = World::new().await;
    let (ada, bob) = (world.sign_up("ada").await, world.sign_up("bob").await);
    let space = world.space(&ada, "yard", "automatic").await;
    world.join(&bob, &space).await.expect("open");
    let change = json!({ "space": space, "record": { "name": "Shipyard", "memberApproval": "disabled" } });
    assert_eq!(world.post(&bob, "updateSpace", &change).await, Err("NotAllowed".to_owned()));
    let written = world.post(&ada, "updateSpace", &change).await.expect("the owner");
    assert_eq!(written["uri"], space.as_str());
    let view = world.get(None, &format!("getSpace?space={}", enc(&space))).await.expect("public");
    assert_eq!((&view["value"]["name"], &view["value"]["slug"]), (&json!("Shipyard"), &json!("yard")));
    assert_eq!(view["cid"], written["cid"]);
    let eve = world.sign_up("eve").await;
    assert_eq!(world.join(&eve, &space).await, Err("InvitationNeeded".to_owned()), "the change counts at once");
    let private = json!({ "space": space, "record": { "visibility": "private" } });
    assert_eq!(world.post(&ada, "updateSpace", &private).await, Err("NotAllowed".to_owned()));
    world.node.shutdown().await.expect("stops");
}

#[tokio::test]
async fn an_invitation_that_has_expired_lets_nobody_in_and_is_sent_again() {
    let world = World::new().await;
    let (ada, bob, eve) = (world.sign_up("ada").await, world.sign_up("bob").await, world.sign_up("eve").await);
    let space = world.space(&ada, "closed", "disabled").await;
    let open = json!({ "space": space, "expiresInDays": 1 });
    let token = world.post(&ada, "inviteMember", &open).await.expect("the owner")["token"].clone();
    let by_name = json!({ "space": space, "user": eve.did, "expiresInDays": 1 });
    world.post(&ada, "inviteMember", &by_name).await.expect("the owner");
    let world = world
        .restarted(
            |_| (),
            |store| {
                // A day passes.
                let invites = store.reader().scan(&INVITES).page(10).expect("reads").rows;
                assert_eq!(invites.len(), 2);
                let mut batch = Batch::new();
                for (key, Cbor(mut invite)) in invites {
                    invite.expires_at = Some(Timestamp::from_millis(1));
                    batch.put(&INVITES, &key, &Cbor(invite)).expect("fits");
                }
                store.writer().commit(batch).expect("written");
            },
        )
        .await;
    let join = json!({ "space": space, "token": token });
    let (status, answer) = world.send(Some(&bob), "co.kendev.spaces.joinSpace", Some(&join)).await;
    assert_eq!((status, &answer["error"]), (410, &json!("ExpiredInvitation")));
    assert_eq!(world.join(&eve, &space).await, Err("ExpiredInvitation".to_owned()), "nor by name");
    world.post(&ada, "inviteMember", &by_name).await.expect("sent again");
    assert_eq!(world.join(&eve, &space).await.expect("invited")["status"], "active");
    let token = world.post(&ada, "inviteMember", &open).await.expect("sent again")["token"].clone();
    let join = json!({ "space": space, "token": token });
    assert_eq!(world.post(&bob, "joinSpace", &join).await.expect("invited")["status"], "active");
    let world = world
        .restarted(
            |_| (),
            |store| {
                let left = store.reader().scan(&INVITES).page(10).expect("reads").rows;
                assert!(left.is_empty(), "used ones are gone, and expired ones with those that came after: {left:?}");
            },
        )
        .await;
    world.node.shutdown().await.expect("stops");
}

#[tokio::test]
async fn nobody_says_more_than_thirty_things_a_minute_in_one_space() {
    let world = World::with(|config| config.http.rate_limits = true).await;
    let (ada, bob) = (world.sign_up("ada").await, world.sign_up("bob").await);
    let (space, other) = (world.space(&ada, "yard", "automatic").await, world.space(&ada, "pier", "automatic").await);
    world.join(&bob, &space).await.expect("open");
    // More than two windows hold: the minute may turn meanwhile.
    let sending = (0..65).map(|n| {
        let (world, ada, space) = (&world, &ada, &space);
        async move { world.say(ada, space, &format!("thing {n}")).await }
    });
    let sent = futures::future::join_all(sending).await;
    let refused: Vec<_> = sent.iter().filter_map(|sent| sent.as_ref().err()).collect();
    assert!(sent.len() - refused.len() >= 30, "thirty are said: {refused:?}");
    assert!(!refused.is_empty() && refused.iter().all(|name| *name == "RateLimitExceeded"), "{refused:?}");
    world.say(&bob, &space, "mine").await.expect("somebody else has their own thirty");
    world.say(&ada, &other, "elsewhere").await.expect("so has another space");
    world.node.shutdown().await.expect("stops");
}

#[tokio::test]
async fn a_search_is_narrowed_by_what_messages_are_about() {
    let world = World::new().await;
    let (ada, bob) = (world.sign_up("ada").await, world.sign_up("bob").await);
    let space = world.space(&ada, "yard", "automatic").await;
    world.join(&bob, &space).await.expect("open");
    let channel = json!({ "space": space, "name": "Sales", "channelType": "chat", "department": "sales" });
    let sales = world.post(&ada, "createChannel", &channel).await.expect("the owner")["uri"].clone();
    let metadata = json!({ "workflow": "quote", "customerJourney": "purchase" }).to_string();
    let quote = json!({ "space": space, "channel": sales, "priority": "urgent",
        "content": { "type": "text", "text": "The crane costs ninety.", "metadata": metadata } });
    world.post(&ada, "sendMessage", &quote).await.expect("the owner");
    world.say(&bob, &space, "A crane, where?").await.expect("a member");
    let search = format!("searchMessages?space={}&q=crane", enc(&space));
    assert_eq!(world.said(None, &search, 2).await, ["A crane, where?", "The crane costs ninety."]);
    let (quoted, asked) = (vec!["The crane costs ninety."], vec!["A crane, where?"]);
    let of_sales = format!("channel={}", enc(sales.as_str().expect("a URI")));
    let (by_ada, by_bob) = (format!("author={}", enc(&ada.did)), format!("author={}", enc(&bob.did)));
    for (filter, found) in [
        ("department=sales", &quoted),
        ("workflow=quote", &quoted),
        ("customerJourney=purchase", &quoted),
        ("priority=urgent", &quoted),
        ("priority=normal", &asked),
        (of_sales.as_str(), &quoted),
        (by_ada.as_str(), &quoted),
        (by_bob.as_str(), &asked),
        ("department=support", &vec![]),
        ("messageType=system", &vec![]),
        ("department=sales&priority=normal", &vec![]),
    ] {
        let said = world.said(None, &format!("{search}&{filter}"), found.len()).await;
        assert_eq!(&said, found, "{filter}");
    }
    assert_eq!(world.said(None, &format!("{search}&messageType=user"), 2).await.len(), 2);
    world.node.shutdown().await.expect("stops");
}

#[tokio::test]
async fn how_active_members_are_is_for_staff_and_for_them() {
    let world = World::new().await;
    let (ada, bob, eve) = (world.sign_up("ada").await, world.sign_up("bob").await, world.sign_up("eve").await);
    let space = world.space(&ada, "busy", "automatic").await;
    for member in [&bob, &eve] {
        world.join(member, &space).await.expect("open to all");
    }
    for (who, count) in [(&ada, 21), (&bob, 3)] {
        for index in 0..count {
            world.say(who, &space, &format!("message {index}")).await.expect("a member");
        }
    }
    let query = format!("listMessages?space={}", enc(&space));
    assert_eq!(world.said(None, &format!("{query}&limit=100"), 24).await.len(), 24);
    // One of three takes part, and the mean of 21, 3 and 0 is 8.
    let view = world.get(None, &format!("getSpace?space={}", enc(&space))).await.expect("public");
    assert_eq!(view["stats"]["engagementScore"], 16 + 4, "{view}");
    let engagement = async |who: &Person| {
        let page = world.get(Some(who), &format!("listMembers?space={}", enc(&space))).await.expect("a member");
        let of = |person: &Person| {
            let members = page["members"].as_array().expect("a list").clone();
            let view = members.into_iter().find(|view| view["did"] == person.did).expect("a member");
            view.get("engagement").cloned()
        };
        [&ada, &bob, &eve].map(of)
    };
    let [adas, bobs, eves] = engagement(&ada).await.map(|engagement| engagement.expect("the owner sees all"));
    assert_eq!((&adas["messagesCount"], &adas["engagementScore"]), (&json!(21), &json!(21)));
    assert_eq!((&bobs["messagesCount"], &bobs["engagementScore"]), (&json!(3), &json!(3)));
    assert_eq!(eves, json!({ "messagesCount": 0, "engagementScore": 0 }));
    let [adas, own, eves] = engagement(&bob).await;
    assert_eq!((adas, own, eves), (None, Some(bobs), None), "a member sees their own");
    world.node.shutdown().await.expect("stops");
}
