//! Who speaks as an agent: an account that says it is one, when its owner says so too (MSG-02, AGT-10).

use super::*;

const PROFILE: &str = "co.kendev.agents.agentProfile";
const OWNERSHIP: &str = "co.kendev.agents.ownership";
const AT: &str = "2026-11-21T09:00:00.000Z";

impl World {
    async fn own_record(&self, who: &Person, collection: &str, rkey: &str, record: &Value) {
        let body = json!({ "repo": who.did, "collection": collection, "rkey": rkey, "record": record });
        let (status, answer) = self.send(Some(who), "com.atproto.repo.putRecord", Some(&body)).await;
        assert_eq!(status, 200, "{answer}");
    }

    /// The account says that it is an agent of `owner`.
    async fn agent_of(&self, agent: &Person, owner: &Person) {
        let record = json!({ "$type": PROFILE, "owner": owner.did, "role": "ship_mind", "createdAt": AT });
        self.own_record(agent, PROFILE, "self", &record).await;
    }

    /// The owner says so too.
    async fn confirm(&self, owner: &Person, agent: &Person) {
        let record = json!({ "$type": OWNERSHIP, "agent": agent.did, "createdAt": AT });
        self.own_record(owner, OWNERSHIP, &agent.did.replace('%', "~"), &record).await;
    }

    async fn withdraw(&self, owner: &Person, agent: &Person) {
        let body = json!({ "repo": owner.did, "collection": OWNERSHIP, "rkey": agent.did.replace('%', "~") });
        let (status, answer) = self.send(Some(owner), "com.atproto.repo.deleteRecord", Some(&body)).await;
        assert_eq!(status, 200, "{answer}");
    }

    async fn speak(&self, who: &Person, space: &str, kind: &str, text: &str) -> Result<Value, String> {
        let body = json!({ "space": space, "messageType": kind, "content": { "type": "text", "text": text } });
        self.post(who, "sendMessage", &body).await
    }

    /// Writes a message as any client of the protocol does, past the methods of spaces.
    async fn write_as(&self, who: &Person, space: &str, kind: &str, text: &str) {
        self.record(who, "co.kendev.spaces.message", &said_as(kind, space, text)).await;
    }
}

fn said_as(kind: &str, space: &str, text: &str) -> Value {
    json!({ "$type": "co.kendev.spaces.message", "space": space, "messageType": kind,
        "content": { "type": "text", "text": text }, "createdAt": AT })
}

fn refused(name: &str) -> Result<Value, String> {
    Err(name.to_owned())
}

#[tokio::test]
async fn an_agent_speaks_as_one_while_its_owner_confirms_it() {
    let world = World::new().await;
    let (ada, leo, bea) = (world.sign_up("ada").await, world.sign_up("leo").await, world.sign_up("bea").await);
    let space = world.space(&ada, "bridge", "automatic").await;
    for member in [&leo, &bea] {
        world.join(member, &space).await.expect("open to all");
    }
    let query = format!("listMessages?space={}", enc(&space));
    // A person is no agent, and may propose what an agent may.
    for kind in ["leo", "intelligence", "system"] {
        assert_eq!(world.speak(&bea, &space, kind, "beep").await, refused("InvalidRequest"), "{kind}");
    }
    world.speak(&bea, &space, "action", "proposed").await.expect("anybody may");

    // Half of what it takes is not enough, whichever half.
    world.confirm(&ada, &leo).await;
    assert_eq!(world.speak(&leo, &space, "leo", "early").await, refused("InvalidRequest"));
    world.agent_of(&leo, &bea).await;
    for kind in ["leo", "action", "intelligence", "system"] {
        assert_eq!(world.speak(&leo, &space, kind, "unconfirmed").await, refused("AgentNotConfirmed"), "{kind}");
    }
    assert_eq!(world.speak(&leo, &space, "user", "as a person").await, refused("AgentNotPerson"));
    for kind in ["leo", "user"] {
        world.write_as(&leo, &space, kind, "past the methods").await;
    }
    world.speak(&bea, &space, "user", "as a person").await.expect("a member");
    assert_eq!(world.said(None, &query, 2).await, ["as a person", "proposed"]);

    // Both halves: the owner whom the profile names says so too.
    world.confirm(&bea, &leo).await;
    let sent = world.speak(&leo, &space, "leo", "confirmed").await.expect("an agent");
    world.speak(&leo, &space, "intelligence", "a report").await.expect("an agent");
    assert_eq!(world.speak(&leo, &space, "system", "as the house").await, refused("InvalidRequest"), "not the house's");
    let four = ["a report", "confirmed", "as a person", "proposed"];
    assert_eq!(world.said(None, &query, 4).await, four);
    let edit = json!({ "uri": sent["uri"], "content": { "type": "text", "text": "corrected" } });
    world.post(&leo, "editMessage", &edit).await.expect("its own");
    assert_eq!(world.speak(&leo, &space, "user", "as a person").await, refused("AgentNotPerson"), "confirmed or not");

    // Of the space's holder it is an agent that speaks for the house as well.
    world.agent_of(&leo, &ada).await;
    world.speak(&leo, &space, "system", "for the house").await.expect("an agent of the house");
    let five = ["for the house", "a report", "corrected", "as a person", "proposed"];
    assert_eq!(world.said(None, &query, 5).await, five);

    // What the owner withdraws counts at once, for what is to come.
    world.withdraw(&ada, &leo).await;
    assert_eq!(world.speak(&leo, &space, "leo", "withdrawn").await, refused("AgentNotConfirmed"));
    assert_eq!(world.post(&leo, "editMessage", &edit).await, refused("AgentNotConfirmed"));
    world.write_as(&leo, &space, "leo", "past the methods again").await;
    world.speak(&bea, &space, "user", "quiet").await.expect("a member");
    assert_eq!(world.said(None, &query, 6).await[..2], ["quiet", "for the house"]);
    world.node.shutdown().await.expect("stops");
}

#[tokio::test]
async fn an_agent_of_another_node_is_judged_by_the_same_two_records() {
    let home = World::new().await;
    let directory = home.url.replace("127.0.0.1", "localhost").parse().expect("a URL");
    let abroad = World::with(|config| config.identity.plc = PlcDirectory::Outside(directory)).await;
    let (ada, owen) = (home.sign_up("ada").await, home.sign_up("owen").await);
    let (leo, eva, nia) = (abroad.sign_up("leo").await, abroad.sign_up("eva").await, abroad.sign_up("nia").await);
    let space = home.space(&ada, "bridge", "automatic").await;
    for stranger in [&leo, &eva, &nia] {
        let joining = abroad.speaks_to(stranger, &home, "co.kendev.spaces.joinSpace").await;
        home.join(&joining, &space).await.expect("open to all");
    }
    let query = format!("listMessages?space={}", enc(&space));

    // The agent is abroad and its owner at home: neither node has both records.
    abroad.agent_of(&leo, &owen).await;
    abroad.agent_of(&eva, &owen).await;
    home.confirm(&owen, &leo).await;
    abroad.speak(&leo, &space, "leo", "from abroad").await.expect("confirmed");
    assert_eq!(abroad.speak(&eva, &space, "leo", "unconfirmed").await, refused("AgentNotConfirmed"));
    abroad.write_as(&eva, &space, "leo", "past the methods").await;
    assert_eq!(home.said(None, &query, 1).await, ["from abroad"]);
    // Neither of them is a person, and nobody is asked for it: what they say of themselves is followed.
    for agent in [&leo, &eva] {
        abroad.write_as(agent, &space, "user", "as a person").await;
    }
    abroad.write_as(&nia, &space, "user", "I am one").await;
    assert_eq!(home.said(None, &query, 2).await, ["I am one", "from abroad"], "and nothing in between");
    let profile = format!("at://{}/{PROFILE}/self", eva.did);
    abroad.delete(&eva, &profile).await;
    abroad.write_as(&eva, &space, "user", "an agent no longer").await;
    assert_eq!(home.said(None, &query, 3).await[..2], ["an agent no longer", "I am one"]);

    // At home, of an owner abroad: written past the methods it waits until the owner was asked.
    let mia = home.sign_up("mia").await;
    home.join(&mia, &space).await.expect("open to all");
    home.agent_of(&mia, &eva).await;
    abroad.confirm(&eva, &mia).await;
    home.write_as(&mia, &space, "leo", "looked up").await;
    assert_eq!(home.said(None, &query, 4).await[..2], ["looked up", "an agent no longer"]);
    abroad.node.shutdown().await.expect("stops");
    home.speak(&mia, &space, "leo", "known already").await.expect("what was found out counts for a while");
    assert_eq!(home.said(None, &query, 5).await[0], "known already");
    home.node.shutdown().await.expect("stops");
}

/// What is said in a space, once it is as many messages; waits for as long as hosts that were away are looked for again.
async fn said_at_last(world: &World, query: &str, count: usize) -> Vec<String> {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(180);
    loop {
        let said = world.said(None, query, count).await;
        if said.len() == count || tokio::time::Instant::now() > deadline {
            return said;
        }
    }
}

#[tokio::test]
async fn what_an_agent_elsewhere_said_is_heard_when_its_owners_host_is_back() {
    let home = World::new().await;
    let directory: url::Url = home.url.replace("127.0.0.1", "localhost").parse().expect("a URL");
    let elsewhere = |config: &mut Config| config.identity.plc = PlcDirectory::Outside(directory.clone());
    let (abroad, owners) = (World::with(elsewhere).await, World::with(elsewhere).await);
    let (ada, owen) = (home.sign_up("ada").await, owners.sign_up("owen").await);
    let (leo, eva, bob) = (abroad.sign_up("leo").await, abroad.sign_up("eva").await, abroad.sign_up("bob").await);
    let space = home.space(&ada, "bridge", "automatic").await;
    for stranger in [&leo, &eva, &bob] {
        let joining = abroad.speaks_to(stranger, &home, "co.kendev.spaces.joinSpace").await;
        home.join(&joining, &space).await.expect("open to all");
    }
    let query = format!("listMessages?space={}", enc(&space));
    abroad.agent_of(&leo, &owen).await;
    abroad.agent_of(&eva, &owen).await;
    owners.confirm(&owen, &leo).await;

    // The agents write while nobody knows whose they are; what comes behind them is heard, and they are not.
    let (dir, listen) = (owners.dir, owners.node.facts().http_addr);
    owners.node.shutdown().await.expect("stops");
    abroad.write_as(&leo, &space, "leo", "nobody knows me yet").await;
    let gone = abroad.record(&leo, "co.kendev.spaces.message", &said_as("leo", &space, "taken back")).await;
    abroad.write_as(&eva, &space, "leo", "nobody ever will").await;
    abroad.delete(&leo, &gone).await;
    abroad.write(&bob, &space, "and now").await;
    assert_eq!(home.said(None, &query, 1).await, ["and now"]);

    // Nobody writes any more, and no node starts anew but the owner's.
    let mut config = World::config(&dir);
    elsewhere(&mut config);
    config.http.listen = listen;
    let owners = World::serve(dir, config).await;
    let said = said_at_last(&home, &query, 2).await;
    assert_eq!(said, ["nobody knows me yet", "and now"], "by when they came into the index");
    abroad.write(&bob, &space, "welcome").await;
    assert_eq!(home.said(None, &query, 3).await, ["welcome", "nobody knows me yet", "and now"]);
    for node in [owners, abroad, home] {
        node.stop().await;
    }
}
