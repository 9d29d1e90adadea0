//! Memberships that were kept as records before, taken into a space.

use super::*;

fn text(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}

impl World {
    async fn import(&self, who: &Person, lines: &[Value]) -> (u16, Value) {
        let end = json!({ "kind": "end", "lines": lines.len() });
        let lines: String = lines.iter().chain([&end]).map(|line| format!("{line}\n")).collect();
        let import = self.client.post(format!("{}/xrpc/co.kendev.spaces.importSpaces", self.url));
        let import = import.header("Content-Type", "application/jsonl").bearer_auth(&who.token).body(lines);
        let answer = import.send().await.expect("answered");
        (answer.status().as_u16(), answer.json().await.expect("JSON"))
    }
}

#[tokio::test]
async fn members_of_either_early_version_are_members() {
    let world = World::new().await;
    let (ada, bob, eve) = (world.sign_up("ada").await, world.sign_up("bob").await, world.sign_up("eve").await);
    let record = json!({
        "name": "Guild", "slug": "guild", "visibility": "private", "memberApproval": "disabled",
        "businessIdentity": { "type": "service", "industry": "general" },
    });
    let made = world.post(&ada, "createSpace", &json!({ "record": record })).await.expect("made");
    let space = made["uri"].as_str().expect("a URI").to_owned();
    let said = world.say(&ada, &space, "welcome").await.expect("the owner");
    let list = format!("listMessages?space={}", enc(&space));
    assert_eq!(world.get(Some(&bob), &list).await, Err("SpaceNotFound".to_owned()));

    let first = json!({ "user": bob.did, "space": space, "role": "admin", "invitationStatus": "accepted",
        "permissions": { "canInviteUsers": true } });
    let second = json!({ "user": eve.did, "space": space, "role": "moderator", "status": "suspended",
        "joinedAt": "2025-01-02T03:04:05Z" });
    let lines = [first, second].map(|value| json!({ "kind": "membership", "value": value }));
    for _ in 0..2 {
        let (status, answer) = world.import(&ada, &lines).await;
        assert_eq!((status, &answer["rooms"]), (200, &json!(0)), "{answer}");
    }
    assert_eq!(world.said(Some(&bob), &list, 1).await, ["welcome"]);
    world.say(&bob, &space, "it is good to be back").await.expect("a member");
    assert_eq!(world.said(Some(&ada), &list, 2).await, ["it is good to be back", "welcome"]);
    // Who is suspended reads nothing and says nothing.
    assert_eq!(world.said(Some(&eve), &list, 0).await, [""; 0]);
    world.say(&eve, &space, "it is not").await.expect_err("she is suspended");
    for (status, wanted) in
        [("active", [(&ada, "owner"), (&bob, "space_admin")].as_slice()), ("suspended", &[(&eve, "moderator")])]
    {
        let query = format!("listMembers?space={}&status={status}", enc(&space));
        let members = world.get(Some(&ada), &query).await.expect("the owner");
        let members = members["members"].as_array().expect("a list").iter();
        let mut roles: Vec<_> = members.map(|member| (text(&member["did"]), text(&member["role"]))).collect();
        roles.sort();
        let mut wanted: Vec<_> = wanted.iter().map(|(who, role)| (who.did.clone(), (*role).to_owned())).collect();
        wanted.sort();
        assert_eq!(roles, wanted, "{status}");
    }

    // Nobody makes themselves a member of what is somebody else's, and what means nothing is not taken.
    for change in [json!({ "space": space }), json!({ "space": said })] {
        let value = json!({ "user": eve.did, "space": change["space"], "role": "owner", "status": "active" });
        let (status, answer) = world.import(&eve, &[json!({ "kind": "membership", "value": value })]).await;
        assert_eq!((status, &answer["error"]), (400, &json!("InvalidExport")), "{answer}");
    }
    assert_eq!(world.said(Some(&eve), &list, 0).await, [""; 0]);
    world.stop().await;
}
