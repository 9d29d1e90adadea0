//! Somebody goes to another host with everything that is theirs: their conversations with people elsewhere, a space of
//! their own, who is in them and who is kept out.

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

#[tokio::test]
async fn somebody_takes_their_conversations_and_their_space_to_another_host() -> Result<()> {
    let Hosts { hosts: [first, second, third], _root } = Hosts::start()?;
    let alice = first.sign_up("alice").await?;
    let (bob, dora) = (second.sign_up("bob").await?, first.sign_up("dora").await?);
    let mallory = third.sign_up("mallory").await?;
    let (here, bob, dora) = ((&first, &alice), (&second, &bob), (&first, &dora));

    let with_bob = converse(here, bob).await?;
    let with_dora = converse(here, dora).await?;
    say(here, &with_bob, "hello bob").await?;
    say(bob, &with_bob, "hello alice").await?;
    say(dora, &with_dora, "good morning").await?;
    until_read(&first, here, &with_bob, &["hello bob", "hello alice"]).await?;
    until_read(&first, dora, &with_dora, &["good morning"]).await?;
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
    say(bob, &with_bob, "you have moved").await?;
    say(there, &with_dora, "from my own machine").await?;
    until_read(&third, there, &with_bob, &["hello bob", "hello alice", "you have moved"]).await?;
    until_read(&third, dora, &with_dora, &["good morning", "from my own machine"]).await?;
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
    for (body, expected) in [
        (String::new(), "InvalidExport"),
        ("{\"kind\":\"end\",\"lines\":1}\n".to_owned(), "InvalidExport"),
        ("{\"kind\":\"end\",\"lines\":0}".to_owned(), "InvalidExport"),
        (format!("{config}\n"), "InvalidExport"),
        ("no line\n".to_owned(), "InvalidRequest"),
        (format!("{{\"kind\":\"{}\"}}\n", "x".repeat(300_000)), "PayloadTooLarge"),
    ] {
        let import = third.client.post(format!("{}/xrpc/co.kendev.spaces.importSpaces", third.url));
        let import = import.header("Content-Type", "application/jsonl").bearer_auth(&moved.token).body(body);
        let (status, refused) = answer(import).await?;
        ensure!(status >= 400 && name(&refused) == expected, "{status}: {refused}, not {expected}");
    }
    Ok(())
}
