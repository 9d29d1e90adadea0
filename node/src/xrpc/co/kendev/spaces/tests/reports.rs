//! Complaints about messages reach those who moderate the space, and nobody else.

use super::*;

impl World {
    async fn becomes(&self, holder: &Person, who: &Person, space: &str, role: &str) {
        self.join(who, space).await.expect("open");
        let wish = json!({ "space": space, "user": who.did, "role": role });
        self.post(holder, "setMemberRole", &wish).await.expect("the holder");
    }

    async fn report(&self, who: &Person, uri: &str, reason: &str) -> u64 {
        let wish = json!({ "uri": uri, "reason": reason });
        self.post(who, "reportMessage", &wish).await.expect("kept")["id"].as_u64().expect("a number")
    }

    /// The numbers of the complaints that somebody is shown, and their reasons.
    async fn reports(&self, who: &Person, space: &str, status: &str) -> Vec<(u64, String)> {
        let query = format!("listReports?space={}&status={status}", enc(space));
        let page = self.get(Some(who), &query).await.expect("moderates");
        let reports = page["reports"].as_array().expect("a list").iter();
        reports
            .map(|one| (one["id"].as_u64().expect("a number"), one["reason"].as_str().expect("why").to_owned()))
            .collect()
    }

    /// Waits until somebody may read a message.
    async fn has_read(&self, who: &Person, uri: &str) {
        let began = tokio::time::Instant::now();
        while self.get(Some(who), &format!("getMessage?uri={}", enc(uri))).await.is_err() {
            assert!(began.elapsed() < PATIENCE, "{uri} is not there");
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn moderators_see_and_settle_what_people_complain_about() {
    let world = World::new().await;
    let (ada, bob, mia) = (world.sign_up("ada").await, world.sign_up("bob").await, world.sign_up("mia").await);
    let (carl, eve) = (world.sign_up("carl").await, world.sign_up("eve").await);
    let space = world.space(&ada, "yard", "automatic").await;
    world.becomes(&ada, &mia, &space, "moderator").await;
    world.becomes(&ada, &carl, &space, "space_admin").await;
    world.join(&bob, &space).await.expect("open");
    let spam = world.say(&bob, &space, "Buy pills.").await.expect("a member");
    world.has_read(&eve, &spam).await;

    // Whoever may read a message may complain; who says it again says it anew.
    let first = world.report(&carl, &spam, "spam").await;
    let of_eve = world.report(&eve, &spam, "no pills please").await;
    let again = world.report(&carl, &spam, "spam, and again").await;
    let open = [(again, "spam, and again".to_owned()), (of_eve, "no pills please".to_owned())];
    assert_eq!(world.reports(&mia, &space, "open").await, open);
    assert!(first < of_eve && of_eve < again);
    let query = format!("listReports?space={}", enc(&space));
    for stranger in [&bob, &eve] {
        assert_eq!(world.get(Some(stranger), &query).await, Err("NotAllowed".to_owned()));
        let settle = json!({ "space": space, "id": of_eve });
        assert_eq!(world.post(stranger, "settleReport", &settle).await, Err("NotAllowed".to_owned()));
    }
    assert_eq!(world.get(None, &query).await, Err("AuthMissing".to_owned()));

    world.post(&mia, "hideMessage", &json!({ "uri": spam })).await.expect("moderates");
    let page = world.get(Some(&mia), &query).await.expect("moderates");
    let told = &page["reports"][0];
    assert_eq!((&told["uri"], &told["author"], &told["hidden"]), (&json!(spam), &json!(bob.did), &json!(true)));
    assert_eq!((&told["reportedBy"], told.get("settled")), (&json!(carl.did), None));
    let settle = json!({ "space": space, "id": of_eve, "note": "hidden" });
    world.post(&mia, "settleReport", &settle).await.expect("moderates");
    world.post(&ada, "settleReport", &json!({ "space": space, "id": of_eve, "note": "later" })).await.expect("settled");
    let nothing = json!({ "space": space, "id": first });
    assert_eq!(world.post(&mia, "settleReport", &nothing).await, Err("ReportNotFound".to_owned()), "said anew");

    // Nobody settles what is said against themselves, nor what they may not read.
    let own = world.say(&mia, &space, "Quiet, all of you!").await.expect("a member");
    let channel = json!({ "space": space, "name": "Board", "channelType": "chat", "visibility": "restricted" });
    let board = world.post(&ada, "createChannel", &channel).await.expect("the owner")["uri"].clone();
    let nothing = json!({ "channel": board, "user": mia.did, "access": "none" });
    world.post(&ada, "setChannelAccess", &nothing).await.expect("the owner");
    let secret = json!({ "space": space, "channel": board, "content": { "type": "text", "text": "Sell it all." } });
    let secret = world.post(&ada, "sendMessage", &secret).await.expect("the owner")["uri"].clone();
    let secret = secret.as_str().expect("a URI");
    for uri in [own.as_str(), secret] {
        world.has_read(&carl, uri).await;
    }
    let (of_mia, of_board) = (world.report(&bob, &own, "rude").await, world.report(&carl, secret, "unfair").await);

    let world = world.restarted(|_| (), |_| ()).await;
    let numbers = |reports: Vec<(u64, String)>| reports.into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    assert_eq!(numbers(world.reports(&mia, &space, "open").await), [again]);
    assert_eq!(numbers(world.reports(&mia, &space, "settled").await), [of_eve]);
    assert_eq!(numbers(world.reports(&carl, &space, "all").await), [of_board, of_mia, again, of_eve]);
    assert_eq!(numbers(world.reports(&ada, &space, "open").await), [of_mia, again], "hers is the operator's to see");
    let settle = json!({ "space": space, "id": of_mia });
    assert_eq!(world.post(&mia, "settleReport", &settle).await, Err("ReportNotFound".to_owned()));
    let page = world.get(Some(&ada), &format!("{query}&status=settled&limit=1")).await.expect("the owner");
    let settled = &page["reports"][0]["settled"];
    assert_eq!((&settled["by"], &settled["note"]), (&json!(mia.did), &json!("hidden")), "the first word stands");
    let first_page = world.get(Some(&carl), &format!("{query}&status=all&limit=2")).await.expect("an admin");
    let cursor = first_page["cursor"].as_str().expect("there are more");
    let rest = world.get(Some(&carl), &format!("{query}&status=all&cursor={cursor}")).await.expect("an admin");
    assert_eq!((&rest["reports"][0]["id"], rest["reports"].as_array().map(Vec::len)), (&json!(again), Some(2)));
    world.node.shutdown().await.expect("stops");
}

#[tokio::test]
async fn of_complaints_in_a_private_space_strangers_learn_nothing() {
    let world = World::new().await;
    let (ada, eve) = (world.sign_up("ada").await, world.sign_up("eve").await);
    let record = json!({
        "name": "Office", "slug": "office", "visibility": "private", "memberApproval": "disabled",
        "businessIdentity": { "type": "service", "industry": "general" },
    });
    let made = world.post(&ada, "createSpace", &json!({ "record": record })).await.expect("her own");
    let space = made["uri"].as_str().expect("a URI").to_owned();
    let query = format!("listReports?space={}", enc(&space));
    assert_eq!(world.get(Some(&eve), &query).await, Err("SpaceNotFound".to_owned()));
    let settle = json!({ "space": space, "id": 0 });
    assert_eq!(world.post(&eve, "settleReport", &settle).await, Err("SpaceNotFound".to_owned()));
    assert!(world.reports(&ada, &space, "all").await.is_empty());
    world.node.shutdown().await.expect("stops");
}
