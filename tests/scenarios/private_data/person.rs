//! Somebody goes to another host with everything that is theirs: their conversations with people elsewhere, a space of
//! their own, who is in them and who is kept out, how far everybody has read, and what they were asked into.

use super::business::log_in;
use super::moved::{Person, call, move_out, say, until_read};
use super::*;
use angel_protocol::permissioned::SpaceConfig;

/// Opens a conversation at one's own host, which the other one joins from where they live.
async fn converse((home, who): Person<'_>, other: Person<'_>) -> Result<String> {
    let opened = home.post("co.kendev.spaces.openDirect", &json!({ "user": other.1.did })).bearer_auth(&who.token);
    let space = home.answer(opened).await?["uri"].as_str().context("a conversation")?.to_owned();
    call(home, other, "joinSpace", &json!({ "space": space })).await?;
    Ok(space)
}

/// Who may enter a space, as its host lists them to its owner.
async fn list(host: &Host, owner: &Account, space: &SpaceUri) -> Result<Value> {
    let query = [("space", space.to_string())];
    let query: Vec<_> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let listed = host.get("com.atproto.simplespace.listMembers", &query).bearer_auth(&owner.token);
    Ok(host.answer(listed).await?["members"].take())
}

/// Asks somebody into a private space that is made for it.
async fn ask_into((home, who): Person<'_>, user: &Account, slug: &str) -> Result<String> {
    let record = json!({ "name": slug, "slug": slug, "visibility": "private", "memberApproval": "disabled",
        "businessIdentity": { "type": "service", "industry": "general" } });
    let made = home.post("co.kendev.spaces.createSpace", &json!({ "record": record })).bearer_auth(&who.token);
    let space = home.answer(made).await?["uri"].as_str().context("a space")?.to_owned();
    let invite = json!({ "space": space, "user": user.did });
    home.answer(home.post("co.kendev.spaces.inviteMember", &invite).bearer_auth(&who.token)).await?;
    Ok(space)
}

/// What somebody was asked into on other hosts than theirs, once it is these spaces, in whatever order.
async fn asked_into((home, who): Person<'_>, expected: &[&str]) -> Result<Vec<Value>> {
    let (found, _) = until(&format!("{expected:?} are what they were asked into"), PATIENCE, async || {
        let asked = home.get("co.kendev.spaces.listInvitations", &[]).bearer_auth(&who.token);
        let found = home.answer(asked).await?["invitations"].as_array().context("a list")?.clone();
        let mut spaces: Vec<_> = found.iter().filter_map(|asked| asked["space"].as_str()).collect();
        spaces.sort_unstable();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        Ok((spaces == expected).then_some(found))
    })
    .await?;
    Ok(found)
}

async fn mark_read(host: &Host, who: Person<'_>, message: &str) -> Result<()> {
    call(host, who, "markRead", &json!({ "message": message })).await?;
    Ok(())
}

/// Waits until these people have read up to a message, or further.
async fn until_read_by(host: &Host, who: &Account, message: &str, expected: &[&Account]) -> Result<()> {
    let mut expected: Vec<_> = expected.iter().map(|account| account.did.as_str()).collect();
    expected.sort_unstable();
    until(&format!("{message} was read by {expected:?}"), PATIENCE * 2, async || {
        let asked = host.get("co.kendev.spaces.getMessage", &[("uri", message)]).bearer_auth(&who.token);
        let (_, view) = answer(asked).await?;
        let mut readers: Vec<_> = view["readBy"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        readers.sort_unstable();
        if readers != expected {
            return Err(anyhow::anyhow!("so far {view}"));
        }
        Ok(Some(()))
    })
    .await?;
    Ok(())
}

/// Takes lines into the spaces of somebody.
async fn import((home, who): Person<'_>, lines: String) -> Result<(u16, Value)> {
    let import = home.client.post(format!("{}/xrpc/co.kendev.spaces.importSpaces", home.url));
    answer(import.header("Content-Type", "application/jsonl").bearer_auth(&who.token).body(lines)).await
}

#[tokio::test]
async fn somebody_takes_their_conversations_and_their_space_to_another_host() -> Result<()> {
    let Hosts { hosts: [first, second, third], _root } = Hosts::start()?;
    let alice = first.sign_up("alice").await?;
    let (bob, dora) = (second.sign_up("bob").await?, first.sign_up("dora").await?);
    let mallory = third.sign_up("mallory").await?;
    let (here, bob, dora) = ((&first, &alice), (&second, &bob), (&first, &dora));

    let with_bob = converse(here, bob).await?;
    let with_dora = converse(here, dora).await?;
    let hello_bob = say(here, &with_bob, "hello bob").await?;
    let hello_alice = say(bob, &with_bob, "hello alice").await?;
    let morning = say(dora, &with_dora, "good morning").await?;
    until_read(&first, here, &with_bob, &["hello bob", "hello alice"]).await?;
    until_read(&first, dora, &with_dora, &["good morning"]).await?;
    // They read, and they are asked into spaces at their own host and elsewhere.
    for (who, message) in [(here, &hello_alice), (bob, &hello_bob), (here, &morning)] {
        mark_read(&first, who, message).await?;
    }
    until_read_by(&first, &alice, &hello_bob, &[&alice, bob.1]).await?;
    until_read_by(&first, &alice, &hello_alice, &[&alice]).await?;
    let bakery = ask_into(bob, &alice, "bakery").await?;
    let garden = ask_into(dora, &alice, "garden").await?;
    let asked = asked_into(here, &[&bakery]).await?;
    let export = first.get("co.kendev.spaces.exportSpaces", &[]).bearer_auth(&alice.token).send().await?;
    let export = export.error_for_status()?.text().await?;
    let forum = first.space(&alice, "forum", &[bob.1, dora.1]).await?;
    first.message(&alice, &forum, "minutes of the meeting").await?;
    let block = json!({ "user": mallory.did });
    let block = first.post("co.kendev.spaces.blockPerson", &block).bearer_auth(&alice.token);
    first.answer(block).await?;
    let members = list(&first, &alice, &forum).await?;
    ensure!(members.as_array().is_some_and(|members| members.len() == 2), "{members}");

    move_out(&first, alice.did.as_str(), "a password of alice", &third, "alice.third.test").await?;
    let moved = log_in(&third, "alice.third.test", "a password of alice").await?;
    let there = (&third, &moved);

    // Both conversations go on where they were, for both sides; the space has its people and its records.
    until_read(&third, there, &with_bob, &["hello bob", "hello alice"]).await?;
    until_read(&third, bob, &with_bob, &["hello bob", "hello alice"]).await?;
    until_read(&third, dora, &with_dora, &["good morning"]).await?;
    // So does how far they had read, also in what came only now from the host of who said it; and what they were asked into.
    until_read_by(&third, &moved, &hello_alice, &[&alice]).await?;
    until_read_by(&third, &moved, &hello_bob, &[&alice, bob.1]).await?;
    until_read_by(&third, &moved, &morning, &[&alice]).await?;
    let invitations = asked_into(there, &[&bakery, &garden]).await?;
    ensure!(invitations.contains(&asked[0]), "{invitations:?}, {asked:?}");
    let news = say(bob, &with_bob, "you have moved").await?;
    say(there, &with_dora, "from my own machine").await?;
    until_read(&third, there, &with_bob, &["hello bob", "hello alice", "you have moved"]).await?;
    until_read(&third, dora, &with_dora, &["good morning", "from my own machine"]).await?;
    // Taken in again, it brings back nothing that was before: neither how far they had read, nor what they were asked into.
    mark_read(&third, there, &news).await?;
    until_read_by(&third, &moved, &news, &[&alice]).await?;
    ensure!(import(there, export.clone()).await?.0 == 200, "what was taken out can come again");
    until_read_by(&third, &moved, &news, &[&alice]).await?;
    until_read_by(&third, &moved, &hello_bob, &[&alice, bob.1]).await?;
    ensure!(asked_into(there, &[&bakery, &garden]).await? == invitations, "heard of when it was heard of");
    ensure!(list(&third, &moved, &forum).await? == members, "the list is the same");
    let query = [("space", forum.to_string()), ("repo", alice.did.to_string())];
    let query: Vec<_> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let records = third.answer(third.get("com.atproto.space.listRecords", &query).bearer_auth(&moved.token)).await?;
    let text = records.pointer("/records/0/value/content/text").and_then(Value::as_str);
    ensure!(text == Some("minutes of the meeting"), "{records}");

    // A move that is asked for again takes nothing back that was said since.
    move_out(&first, alice.did.as_str(), "a password of alice", &third, "alice.third.test").await?;
    until_read(&third, dora, &with_dora, &["good morning", "from my own machine"]).await?;
    until_read(&third, there, &with_bob, &["hello bob", "hello alice", "you have moved"]).await?;

    // Who was kept out is kept out, where they meet now.
    let asked = third.post("co.kendev.spaces.openDirect", &json!({ "user": moved.did })).bearer_auth(&mallory.token);
    let (status, refused) = answer(asked).await?;
    ensure!(status == 403, "{status}: {refused}");
    // The old host answers for none of it any more, also to those who live there.
    let asked = first.get("co.kendev.spaces.listMessages", &[("space", with_dora.as_str())]).bearer_auth(&dora.1.token);
    let (status, gone) = answer(asked).await?;
    ensure!(status == 404 || name(&gone) == "SpaceNotFound", "{status}: {gone}");
    let members = first.get("com.atproto.simplespace.listMembers", &[("space", forum.to_string().as_str())]);
    let (status, gone) = answer(members.bearer_auth(&alice.token)).await?;
    ensure!(status != 200, "{status}: {gone}");

    // What is not one's own, not whole, or no line, is taken from nobody.
    let foreign = SpaceUri { authority: bob.1.did.clone(), ..forum.clone() };
    let config = json!({ "kind": "room", "room": foreign, "config": SpaceConfig::default() });
    let own = json!({ "kind": "asked", "space": with_bob, "at": 1, "heard_at": 1 });
    // A mark at what is no message, and one under another name.
    let mark = |name: String, path: &str| {
        let read = json!({ "did": alice.did, "author": alice.did, "path": path, "at": 1 });
        json!({ "kind": "known", "space": "a", "name": name, "fact": { "read": read } })
    };
    let astray = mark(format!("read {} ", alice.did), "co.kendev.spaces.reaction/a");
    let misnamed = mark(format!("read {} ", bob.1.did), "co.kendev.spaces.message/a");
    for (body, expected) in [
        (String::new(), "InvalidExport"),
        ("{\"kind\":\"end\",\"lines\":1}\n".to_owned(), "InvalidExport"),
        ("{\"kind\":\"end\",\"lines\":0}".to_owned(), "InvalidExport"),
        (format!("{config}\n"), "InvalidExport"),
        (format!("{own}\n"), "InvalidExport"),
        (format!("{astray}\n"), "InvalidExport"),
        (format!("{misnamed}\n"), "InvalidExport"),
        ("no line\n".to_owned(), "InvalidRequest"),
        (format!("{{\"kind\":\"{}\"}}\n", "x".repeat(300_000)), "PayloadTooLarge"),
    ] {
        let (status, refused) = import(there, body).await?;
        ensure!(status >= 400 && name(&refused) == expected, "{status}: {refused}, not {expected}");
    }
    Ok(())
}
