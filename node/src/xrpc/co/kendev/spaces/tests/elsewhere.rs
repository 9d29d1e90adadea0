//! Members whose accounts are on another node.

use angel_protocol::data::Block;
use angel_protocol::ids::Tid;
use angel_protocol::permissioned::SetHash;
use angel_storage::Batch;
use angel_storage::permissioned::{self as rows, RepoKey};

use super::*;

#[tokio::test]
async fn an_author_on_another_node_takes_part() {
    let home = World::new().await;
    let directory = home.url.replace("127.0.0.1", "localhost").parse().expect("a URL");
    let abroad = World::with(|config| config.identity.plc = PlcDirectory::Outside(directory)).await;
    let (ada, bob) = (home.sign_up("ada").await, abroad.sign_up("bob").await);
    let space = home.space(&ada, "abroad", "disabled").await;
    let invite = json!({ "space": space, "user": bob.did });
    home.post(&ada, "inviteMember", &invite).await.expect("the owner");
    abroad.write(&bob, &space, "before joining").await;

    let speaking = abroad.speaks_to(&bob, &home, "co.kendev.spaces.joinSpace").await;
    assert_eq!(home.join(&speaking, &space).await.expect("invited")["status"], "active");
    let (status, answer) = home.send(Some(&speaking), "co.kendev.spaces.leaveSpace", Some(&json!({}))).await;
    assert_eq!((status, &answer["error"]), (401, &json!("BadJwtLexiconMethod")), "a token is for one method");
    let sending = abroad.speaks_to(&bob, &home, "co.kendev.spaces.sendMessage").await;
    assert_eq!(home.say(&sending, &space, "here").await, Err("AuthorElsewhere".to_owned()));
    let query = format!("listMessages?space={}", enc(&space));
    assert_eq!(home.said(None, &query, 1).await, ["before joining"], "what was written before is seen");

    let mut follower = home.follow(None, &format!("space={}&format=json", enc(&space))).await;
    let uri = abroad.write(&bob, &space, "from abroad").await;
    let written = tokio::time::Instant::now();
    let told = follower.next().await;
    let took = written.elapsed();
    assert_eq!((&told["uri"], &told["author"]), (&json!(uri), &json!(bob.did)));
    assert!(took < Duration::from_secs(1), "{took:?}");
    println!("seen on the other node after {took:?}");

    // What is written while this node is away is seen when it comes back, and what is taken away is gone.
    let home_dir = home.dir;
    let addr = home.node.facts().http_addr;
    home.node.shutdown().await.expect("stops");
    abroad.write(&bob, &space, "meanwhile").await;
    let mut config = World::config(&home_dir);
    config.http.listen = addr;
    let home = World::serve(home_dir, config).await;
    assert_eq!(home.said(None, &query, 3).await, ["meanwhile", "from abroad", "before joining"]);
    abroad.delete(&bob, &uri).await;
    assert_eq!(home.said(None, &query, 2).await, ["meanwhile", "before joining"]);

    // Of two reactions he takes one back.
    let message = json!({ "space": space, "content": { "type": "text", "text": "welcome" } });
    let liked = home.post(&ada, "sendMessage", &message).await.expect("the owner");
    let liked_uri = liked["uri"].as_str().expect("a URI");
    let kept = abroad.react(&bob, &liked, "🙂").await;
    let withdrawn = abroad.react(&bob, &liked, "🌧").await;
    reactions(&home, &ada, liked_uri, 2).await;
    abroad.delete(&bob, &withdrawn).await;
    let before = reactions(&home, &ada, liked_uri, 1).await;
    assert!(before.to_string().contains("🙂"), "{before}, by {kept}");

    home.post(&ada, "banMember", &json!({ "space": space, "user": bob.did })).await.expect("the owner");
    abroad.write(&bob, &space, "turned out").await;
    abroad.react(&bob, &liked, "🔥").await;
    home.say(&ada, &space, "quiet now").await.expect("the owner");
    assert_eq!(home.said(None, &query, 4).await, ["quiet now", "welcome", "meanwhile", "before joining"]);

    // What he said as a member outlives the index, and his host: nobody is asked for it again, and nothing else comes.
    abroad.node.shutdown().await.expect("stops");
    let home = home.restarted(|_| (), lose_the_index).await;
    home.indexed(&ada).await;
    assert_eq!(home.said(None, &query, 4).await, ["quiet now", "welcome", "meanwhile", "before joining"]);
    assert_eq!(reactions(&home, &ada, liked_uri, 1).await, before);
    home.node.shutdown().await.expect("stops");
}

/// How often each emoji is at a message, once it is `count` times in all.
async fn reactions(world: &World, who: &Person, uri: &str, count: usize) -> Value {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        let view = world.get(Some(who), &format!("getMessage?uri={}", enc(uri))).await.expect("a member reads");
        let reactions = view["reactions"].clone();
        if reactions.as_array().map_or(0, Vec::len) == count {
            return reactions;
        }
        assert!(tokio::time::Instant::now() < deadline, "{reactions}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_member_elsewhere_reacts_from_home() {
    let (home, abroad, ada, bob, space) = private_space_of_two_nodes().await;
    let message = json!({ "space": space, "content": { "type": "text", "text": "welcome" } });
    let sent = home.post(&ada, "sendMessage", &message).await.expect("the owner");
    let uri = sent["uri"].as_str().expect("a URI");
    let react = json!({ "uri": uri, "cid": sent["cid"], "space": space, "emoji": "🙂" });
    let first = abroad.post(&bob, "react", &react).await.expect("a member");
    assert_eq!(abroad.post(&bob, "react", &react).await.expect("it is there already"), first, "one of a kind");
    assert!(reactions(&home, &ada, uri, 1).await.to_string().contains("🙂"));
    let back = json!({ "uri": uri, "space": space, "emoji": "🙂", "remove": true });
    assert_eq!(abroad.post(&bob, "react", &back).await.expect("one's own"), json!({}));
    reactions(&home, &ada, uri, 0).await;
    let unnamed = json!({ "uri": uri, "emoji": "🙂" });
    assert_eq!(abroad.post(&bob, "react", &unnamed).await, Err("MessageNotFound".to_owned()), "its space is not named");
    home.node.shutdown().await.expect("stops");
    abroad.node.shutdown().await.expect("stops");
}

/// The spaces elsewhere that somebody was asked into, once there are `count`.
async fn asked_into(world: &World, who: &Person, count: usize) -> Vec<Value> {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        let answer = world.get(Some(who), "listInvitations").await.expect("one's own");
        let found = answer["invitations"].as_array().expect("a list").clone();
        if found.len() == count {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "{found:?}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_node_hears_that_somebody_there_was_asked_into_a_conversation() {
    let (home, abroad, ada, bob, office) = private_space_of_two_nodes().await;
    assert_eq!(asked_into(&abroad, &bob, 1).await[0]["space"], office.as_str(), "he was asked into the private space");
    let began = tokio::time::Instant::now();
    let direct = home.post(&ada, "openDirect", &json!({ "user": bob.did })).await.expect("opened")["uri"].clone();
    let direct = direct.as_str().expect("a URI");
    let asked = asked_into(&abroad, &bob, 2).await;
    println!("the other node knows after {:?}", began.elapsed());
    assert_eq!(asked[0]["space"], direct, "the newest first");
    let heard_at = |asked: &Value| asked["heardAt"].as_str().expect("a time").to_owned();
    let before = heard_at(&asked[0]);

    // He comes, and each of her messages is told of: that there is one, and nothing of what it says.
    let joining = abroad.speaks_to(&bob, &home, "co.kendev.spaces.joinSpace").await;
    assert_eq!(home.join(&joining, direct).await.expect("asked")["status"], "active");
    home.say(&ada, direct, "between us").await.expect("whoever began");
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while heard_at(&asked_into(&abroad, &bob, 2).await[0]) == before {
        assert!(tokio::time::Instant::now() < deadline, "the message was not told of");
        tokio::task::yield_now().await;
    }
    abroad.say(&bob, direct, "just us").await.expect("a member");
    let said = home.said(Some(&ada), &format!("listMessages?space={}", enc(direct)), 2).await;
    assert_eq!(said, ["just us", "between us"]);

    // Only whoever holds a space asks into it, and only for whom the word is meant.
    let query =
        format!("com.atproto.server.getServiceAuth?aud={}&lxm=co.kendev.spaces.notifyInvitation", enc(&bob.did));
    let (_, token) = home.send(Some(&ada), &query, None).await;
    let speaking = Person { did: ada.did.clone(), token: token["token"].as_str().expect("a token").to_owned() };
    let foreign = format!("at://{}/co.kendev.spaces.space/3jzfcijpj2z2a", bob.did);
    let tell = async |space: &str, user: &str| {
        abroad.post(&speaking, "notifyInvitation", &json!({ "space": space, "user": user })).await
    };
    assert_eq!(tell(&foreign, &bob.did).await, Err("SpaceNotFound".to_owned()));
    assert_eq!(tell(direct, &ada.did).await, Err("NotAllowed".to_owned()));

    // Whom he blocks, he hears nothing of.
    abroad.post(&bob, "blockPerson", &json!({ "user": ada.did })).await.expect("his to say");
    asked_into(&abroad, &bob, 0).await;
    tell(direct, &bob.did).await.expect("it looks the same to her");
    asked_into(&abroad, &bob, 0).await;
    home.node.shutdown().await.expect("stops");
    abroad.node.shutdown().await.expect("stops");
}

/// A private space, with a member who lives elsewhere: its URI, and the two nodes.
async fn private_space_of_two_nodes() -> (World, World, Person, Person, String) {
    private_space_of_a_node_and(|_| ()).await
}

/// The same, the second node with other settings.
pub(super) async fn private_space_of_a_node_and(
    change: impl FnOnce(&mut Config),
) -> (World, World, Person, Person, String) {
    let home = World::new().await;
    let directory = home.url.parse().expect("a URL");
    let abroad = World::with(|config| {
        config.identity.plc = PlcDirectory::Outside(directory);
        change(config);
    });
    let abroad = abroad.await;
    let (ada, bob) = (home.sign_up("ada").await, abroad.sign_up("bob").await);
    let record = json!({
        "name": "Office", "slug": "office", "visibility": "private", "memberApproval": "disabled",
        "businessIdentity": { "type": "service", "industry": "general" },
    });
    let made = home.post(&ada, "createSpace", &json!({ "record": record })).await.expect("made");
    let space = made["uri"].as_str().expect("a URI").to_owned();
    let invite = json!({ "space": space, "user": bob.did });
    let token = home.post(&ada, "inviteMember", &invite).await.expect("the owner")["token"].clone();
    let joining = abroad.speaks_to(&bob, &home, "co.kendev.spaces.joinSpace").await;
    let join = json!({ "space": space, "token": token });
    assert_eq!(home.post(&joining, "joinSpace", &join).await.expect("invited")["status"], "active");
    (home, abroad, ada, bob, space)
}

#[tokio::test]
async fn a_member_elsewhere_talks_in_a_private_space() {
    let (home, abroad, ada, bob, space) = private_space_of_two_nodes().await;
    let at = enc(&space);
    let mut hears = home.follow(Some(&ada), &format!("space={at}&format=json")).await;
    let text = |told: &Value| told["value"]["content"]["text"].as_str().unwrap_or_default().to_owned();

    // Written where the author lives, heard where the space is.
    let first = abroad.say(&bob, &space, "far and private").await.expect("a member writes at home");
    let told = hears.next().await;
    assert_eq!((text(&told).as_str(), &told["author"]), ("far and private", &json!(bob.did)));
    let edit = json!({ "uri": first, "content": { "type": "text", "text": "far and changed" } });
    abroad.post(&bob, "editMessage", &edit).await.expect("one's own");
    assert_eq!(text(&hears.next().await), "far and changed");
    for n in 0..5 {
        abroad.say(&bob, &space, &format!("number {n}")).await.expect("a member");
    }
    for n in 0..5 {
        assert_eq!(text(&hears.next().await), format!("number {n}"), "each once, in order");
    }
    abroad.post(&bob, "deleteMessage", &json!({ "uri": first })).await.expect("one's own");
    assert_eq!(hears.next().await["uri"], first.as_str());

    // Bob reads and follows at the space's node; of what he wrote nothing is public where he lives.
    home.say(&ada, &space, "welcome").await.expect("the owner");
    let reads = abroad.speaks_to(&bob, &home, "co.kendev.spaces.listMessages").await;
    assert_eq!(home.said(Some(&reads), &format!("listMessages?space={at}"), 6).await[0], "welcome");
    let follows = abroad.speaks_to(&bob, &home, "co.kendev.spaces.subscribeSpace").await;
    let mut bobs = home.follow(Some(&follows), &format!("space={at}&format=json")).await;
    let note = json!({ "repo": bob.did, "collection": "com.example.note", "record": { "text": "publicend" } });
    abroad.send(Some(&bob), "com.atproto.repo.createRecord", Some(&note)).await;
    let shown = super::rooms::public_face(&abroad, &bob.did).await;
    assert!(!shown.windows(6).any(|part| part == b"number"), "what is private is public");

    // Turned out, Bob hears nothing more within a second, and what he writes counts for nothing.
    home.post(&ada, "banMember", &json!({ "space": space, "user": bob.did })).await.expect("the owner");
    let banned = tokio::time::Instant::now();
    assert_eq!(bobs.next().await["error"], "AccessEnded");
    assert!(banned.elapsed() < Duration::from_secs(1));
    abroad.say(&bob, &space, "still here").await.expect("in his own repository");
    home.say(&ada, &space, "gone he is").await.expect("the owner");
    let all = home.said(Some(&ada), &format!("listMessages?space={at}"), 7).await;
    assert_eq!(all[..2], ["gone he is", "welcome"]);
    home.node.shutdown().await.expect("stops");
    abroad.node.shutdown().await.expect("stops");
}

#[tokio::test]
async fn what_a_member_elsewhere_wrote_meanwhile_is_fetched_when_the_node_is_back() {
    let (home, abroad, ada, bob, space) = private_space_of_two_nodes().await;
    let list = format!("listMessages?space={}", enc(&space));
    abroad.say(&bob, &space, "before").await.expect("a member");
    assert_eq!(home.said(Some(&ada), &list, 1).await, ["before"]);
    // The notice may come while the node is away: it is told again.
    let url = format!("{}/xrpc/co.kendev.spaces.sendMessage", abroad.url);
    let message = json!({ "space": space, "content": { "type": "text", "text": "meanwhile" } });
    let (client, token) = (abroad.client.clone(), bob.token.clone());
    let sending = tokio::spawn(async move { client.post(url).bearer_auth(token).json(&message).send().await });
    let home = home.restarted(|_| (), |_| ()).await;
    let sent = sending.await.expect("runs").expect("answered");
    assert_eq!(sent.status(), 200);
    let mut all = home.said(Some(&ada), &list, 2).await;
    all.sort();
    assert_eq!(all, ["before", "meanwhile"]);
    home.node.shutdown().await.expect("stops");
    abroad.node.shutdown().await.expect("stops");
}

#[tokio::test]
async fn a_copy_that_is_not_what_its_author_wrote_is_made_anew() {
    let (home, abroad, ada, bob, space) = private_space_of_two_nodes().await;
    let list = format!("listMessages?space={}", enc(&space));
    let mut paths = vec![];
    for text in ["one", "two", "three"] {
        paths.push(path_of(&abroad.say(&bob, &space, text).await.expect("a member")));
    }
    home.said(Some(&ada), &list, 3).await;

    // Another head than the author's, a record that was lost, and one that they never wrote.
    let room = space.replace("co.kendev.spaces.space", "space/co.kendev.spaces.room").parse().expect("a room");
    let key = RepoKey::of_copy(&room, &bob.did.parse().expect("a DID"));
    let (lost, foreign) = (paths[1].clone(), format!("co.kendev.spaces.message/{}", Tid::new(5, 5)));
    let home = home
        .restarted(
            |_| (),
            |store| {
                let mut repo = rows::repo(store.reader(), key).expect("reads").expect("it was copied");
                assert_eq!(repo.head.records, 3);
                repo.head.hash = SetHash::default();
                let held = rows::record(store.reader(), key, &lost).expect("reads").expect("there");
                let mut batch = Batch::new();
                rows::put_repo(&mut batch, key, &repo).expect("fits");
                let block = Block::new(held.cid.codec(), held.bytes);
                rows::delete_record(&mut batch, key, &lost, block.bytes().len()).expect("fits");
                rows::put_record(&mut batch, key, &foreign, Tid::new(5, 5), &block, None).expect("fits");
                store.writer().commit(batch).expect("commits");
            },
        )
        .await;
    paths.push(path_of(&abroad.say(&bob, &space, "four").await.expect("a member")));
    let mut all = home.said(Some(&ada), &list, 4).await;
    all.sort();
    assert_eq!(all, ["four", "one", "three", "two"]);
    paths.sort();
    // The index has a record before the copy's head says so: a copy that is cut there is finished after the start.
    let (mut home, mut records) = (home, 0);
    for _ in 0..50 {
        home = home
            .restarted(
                |_| (),
                |store| {
                    let copied = super::hostile::copied(store, key);
                    assert_eq!(copied, paths, "what the author has, and nothing else");
                    records = rows::repo(store.reader(), key).expect("reads").expect("it was copied").head.records;
                },
            )
            .await;
        if records == 4 {
            break;
        }
        home.said(Some(&ada), &list, 4).await;
    }
    assert_eq!(records, 4);
    home.node.shutdown().await.expect("stops");
    abroad.node.shutdown().await.expect("stops");
}

/// Collection and key of a record, by its URI.
pub(super) fn path_of(uri: &str) -> String {
    let mut parts = uri.rsplit('/');
    let (key, collection) = (parts.next().expect("a key"), parts.next().expect("a collection"));
    format!("{collection}/{key}")
}
