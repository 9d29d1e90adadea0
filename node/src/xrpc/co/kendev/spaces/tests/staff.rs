//! People who are in a tenant's spaces by their role in the tenant.

use angel_protocol::permissioned::SpaceUri;
use angel_storage::permissioned::members;

use super::*;

/// A tenant of Ada's with Bob as its admin: its DID.
async fn tenant_with_an_admin(world: &World, ada: &Person, bob: &Person) -> String {
    let wish = json!({ "template": "custom", "slug": "harbour", "owner": ada.did });
    let made = world.operator("xrpc/co.kendev.tenants.provision", &wish).await;
    let tenant = made["tenant"]["did"].as_str().expect("a DID").to_owned();
    let wish = json!({ "tenant": tenant, "role": "tenant_admin" });
    let (status, invited) = world.send(Some(ada), "co.kendev.tenants.invite", Some(&wish)).await;
    assert_eq!(status, 200, "{invited}");
    let body = json!({ "tenant": tenant, "token": invited["token"] });
    let (status, joined) = world.send(Some(bob), "co.kendev.tenants.acceptInvite", Some(&body)).await;
    assert_eq!(status, 200, "{joined}");
    tenant
}

#[tokio::test]
async fn whose_role_in_the_tenant_ends_is_out_of_its_private_spaces_within_a_second() {
    let world = World::new().await;
    let (ada, bob) = (world.sign_up("ada").await, world.sign_up("bob").await);
    let tenant = tenant_with_an_admin(&world, &ada, &bob).await;
    let record = json!({
        "name": "Office", "slug": "office", "visibility": "private", "memberApproval": "disabled",
        "businessIdentity": { "type": "service", "industry": "general" },
    });
    let made =
        world.post(&ada, "createSpace", &json!({ "tenant": tenant, "record": record })).await.expect("the owner");
    let space = made["uri"].as_str().expect("a URI").to_owned();
    let room: SpaceUri =
        space.replace("co.kendev.spaces.space", "space/co.kendev.spaces.room").parse().expect("a room");
    let listed = |store: &Store| {
        let listed = members(store.reader(), room.digest(), None, 10).expect("reads");
        listed.iter().any(|(did, _)| did.as_str() == bob.did)
    };

    // He is no member, and talks as whoever manages the tenant's spaces: for that the room has him on its list.
    world.say(&bob, &space, "as the admin").await.expect("he manages spaces");
    let world =
        world.restarted(|_| (), |store| assert!(listed(store), "whoever writes in a room is on its list")).await;
    let mut hears = world.follow(Some(&bob), &format!("space={}&format=json", enc(&space))).await;
    world.say(&ada, &space, "to everybody").await.expect("the owner");
    assert_eq!(hears.next().await["value"]["content"]["text"], "to everybody");

    let body = json!({ "tenant": tenant, "user": bob.did, "status": "revoked" });
    let (status, answer) = world.send(Some(&ada), "co.kendev.tenants.setRole", Some(&body)).await;
    assert_eq!(status, 200, "{answer}");
    let revoked = tokio::time::Instant::now();
    assert_eq!(hears.next().await["error"], "AccessEnded");
    assert!(revoked.elapsed() < Duration::from_secs(1));
    let query = format!("listMessages?space={}", enc(&space));
    assert_eq!(world.get(Some(&bob), &query).await, Err("SpaceNotFound".to_owned()));
    let world = world.restarted(|_| (), |store| assert!(!listed(store), "nor does the room let him in")).await;
    assert_eq!(world.said(Some(&ada), &query, 2).await, ["to everybody", "as the admin"], "what he said stays");
    world.node.shutdown().await.expect("stops");
}

#[tokio::test]
async fn an_invitation_of_who_may_invite_no_more_lets_nobody_in() {
    let world = World::new().await;
    let (ada, bob) = (world.sign_up("ada").await, world.sign_up("bob").await);
    let (carl, eve) = (world.sign_up("carl").await, world.sign_up("eve").await);
    let tenant = tenant_with_an_admin(&world, &ada, &bob).await;
    let invite = async |by: &Person| {
        let wish = json!({ "tenant": tenant, "role": "tenant_admin" });
        let (status, invited) = world.send(Some(by), "co.kendev.tenants.invite", Some(&wish)).await;
        assert_eq!(status, 200, "{invited}");
        json!({ "tenant": tenant, "token": invited["token"] })
    };
    let accept = async |who: &Person, token: &Value| {
        let (status, answer) = world.send(Some(who), "co.kendev.tenants.acceptInvite", Some(token)).await;
        (status, answer["error"].as_str().unwrap_or_default().to_owned())
    };
    let space = world.space(&ada, "yard", "disabled").await;
    world
        .post(&ada, "inviteMember", &json!({ "space": space, "user": bob.did, "role": "space_admin" }))
        .await
        .expect("hers");
    world.join(&bob, &space).await.expect("invited");
    let wish = json!({ "space": space, "role": "moderator" });
    let into_space = world.post(&bob, "inviteMember", &wish).await.expect("he sees to members");
    let into_space = json!({ "space": space, "token": into_space["token"] });
    world
        .post(&bob, "inviteMember", &json!({ "space": space, "user": carl.did, "role": "member" }))
        .await
        .expect("too");

    let (of_bob, of_ada) = (invite(&bob).await, invite(&ada).await);
    let set = async |change: Value| {
        let mut body = json!({ "tenant": tenant, "user": bob.did });
        body.as_object_mut().expect("an object").extend(change.as_object().cloned().expect("an object"));
        assert_eq!(world.send(Some(&ada), "co.kendev.tenants.setRole", Some(&body)).await.0, 200);
    };
    set(json!({ "role": "tenant_member" })).await;
    assert_eq!(accept(&eve, &of_bob).await, (400, "InvitationNotFound".to_owned()));
    set(json!({ "status": "suspended" })).await;
    assert_eq!(accept(&bob, &of_ada).await, (400, "AlreadyMember".to_owned()), "nobody switches themselves on");
    assert_eq!(accept(&eve, &of_ada).await.0, 200, "hers stands");

    world.post(&ada, "banMember", &json!({ "space": space, "user": bob.did })).await.expect("the owner");
    assert_eq!(world.post(&eve, "joinSpace", &into_space).await, Err("InvalidInvitation".to_owned()));
    assert_eq!(world.join(&carl, &space).await, Err("InvalidInvitation".to_owned()), "nor by name");
    world.node.shutdown().await.expect("stops");
}

#[tokio::test]
async fn a_moderator_turns_out_nobody_who_is_above_them_in_the_tenant() {
    let world = World::new().await;
    let (ada, bob, eve) = (world.sign_up("ada").await, world.sign_up("bob").await, world.sign_up("eve").await);
    let tenant = tenant_with_an_admin(&world, &ada, &bob).await;
    let record = json!({
        "name": "Office", "slug": "office", "visibility": "private", "memberApproval": "disabled",
        "businessIdentity": { "type": "service", "industry": "general" },
    });
    let made =
        world.post(&ada, "createSpace", &json!({ "tenant": tenant, "record": record })).await.expect("the owner");
    let space = made["uri"].as_str().expect("a URI").to_owned();
    let of = |who: &Person, role: &str| json!({ "space": space, "user": who.did, "role": role });
    world.post(&ada, "inviteMember", &of(&eve, "moderator")).await.expect("the owner");
    world.join(&eve, &space).await.expect("invited");
    world.post(&ada, "inviteMember", &of(&bob, "member")).await.expect("the owner");
    world.join(&bob, &space).await.expect("invited");
    for above in [&ada, &bob] {
        for (method, body) in [
            ("banMember", json!({ "space": space, "user": above.did })),
            ("suspendMember", json!({ "space": space, "user": above.did })),
            ("setMemberRole", of(above, "guest")),
        ] {
            let refused = world.post(&eve, method, &body).await;
            assert_eq!(refused, Err("NotAllowed".to_owned()), "{method} of {}", above.did);
        }
        world.say(above, &space, "still here").await.expect("nobody turned them out");
    }
    // The owner turns out an admin, who is let in again by nobody below.
    let ban = json!({ "space": space, "user": bob.did });
    world.post(&ada, "banMember", &ban).await.expect("the owner");
    assert_eq!(world.say(&bob, &space, "no more").await, Err("SpaceNotFound".to_owned()));
    world.node.shutdown().await.expect("stops");
}

#[tokio::test]
async fn a_tenants_people_read_of_its_workspace_what_their_role_is_for() {
    let world = World::new().await;
    let (ada, bob) = (world.sign_up("ada").await, world.sign_up("bob").await);
    let (carl, eve) = (world.sign_up("carl").await, world.sign_up("eve").await);
    let tenant = tenant_with_an_admin(&world, &ada, &bob).await;
    let wish = json!({ "tenant": tenant, "role": "tenant_manager", "permissions": ["manage_content"] });
    let (_, invited) = world.send(Some(&ada), "co.kendev.tenants.invite", Some(&wish)).await;
    let body = json!({ "tenant": tenant, "token": invited["token"] });
    assert_eq!(world.send(Some(&carl), "co.kendev.tenants.acceptInvite", Some(&body)).await.0, 200);

    let space = format!("at://{tenant}/space/co.kendev.tenants.workspace/self");
    let project = "co.kendev.business.project";
    let record = json!({
        "$type": project, "name": "Pier three", "status": "planning", "priority": "medium",
        "budget": { "currency": "EUR" }, "tenant": tenant, "createdAt": "2026-11-21T09:00:00.000Z",
    });
    let body = json!({ "space": space, "repo": tenant, "collection": project, "record": record });
    let (status, made) = world.send(Some(&bob), "com.atproto.space.createRecord", Some(&body)).await;
    assert_eq!(status, 200, "{made}");
    let rkey = made["uri"].as_str().and_then(|uri| uri.rsplit('/').next()).expect("a key").to_owned();
    let at = format!("space={}&repo={}", enc(&space), enc(&tenant));
    let one = format!("com.atproto.space.getRecord?{at}&collection={project}&rkey={rkey}");
    let some = format!("com.atproto.space.listRecords?{at}&collection={project}");
    let settings = format!("com.atproto.space.listRecords?{at}&collection=co.kendev.tenants.settings");
    let all = format!("com.atproto.space.listRecords?{at}");
    for (who, name, expected) in [
        (&ada, "the owner", [200, 200, 200, 200]),
        (&bob, "an admin", [200, 200, 200, 200]),
        (&carl, "who manages content", [200, 200, 400, 400]),
        (&eve, "a stranger", [400, 400, 400, 400]),
    ] {
        for (query, expected) in [&one, &some, &settings, &all].into_iter().zip(expected) {
            let (status, answer) = world.send(Some(who), query, None).await;
            assert_eq!(status, expected, "{name}, {query}: {answer}");
            assert!(status == 200 || answer["error"] == "RepoNotFound", "as if there were none: {answer}");
        }
    }
    let (_, read) = world.send(Some(&carl), &one, None).await;
    assert_eq!(read["value"]["name"], "Pier three");
    let commit = format!("com.atproto.space.getLatestCommit?{at}");
    assert_eq!(world.send(Some(&bob), &commit, None).await.0, 400, "the repository as such is the tenant's own");

    let body = json!({ "tenant": tenant, "user": carl.did, "status": "revoked" });
    assert_eq!(world.send(Some(&ada), "co.kendev.tenants.setRole", Some(&body)).await.0, 200);
    assert_eq!(world.send(Some(&carl), &one, None).await.0, 400, "his role has ended");
    world.node.shutdown().await.expect("stops");
}
