//! A business is taken to another host by its export: the account moves as accounts do, and everything else that makes the
//! business comes with the file, or from the hosts of those who said it.

use std::collections::{BTreeMap, BTreeSet};

use super::business::{Business, log_in, speaks};
use super::*;

/// What is the same after the move: of the rest, the audit log has grown and counts begin anew.
const STAYS: [&str; 6] = ["member", "record", "room", "entrant", "private", "known"];

fn angel(host: &Host, words: &[&str]) -> Result<Value> {
    let output = verb(&host.dir, &[words, &["--json"]].concat())?;
    ensure!(output.status.success(), "angel {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The lines of an export that stay the same.
fn lines(file: &Path) -> Result<BTreeSet<String>> {
    let text = std::fs::read_to_string(file)?;
    let stays = |line: &&str| {
        let kind = serde_json::from_str::<Value>(line).ok().and_then(|line| line["kind"].as_str().map(str::to_owned));
        kind.is_some_and(|kind| STAYS.contains(&kind.as_str()))
    };
    Ok(text.lines().filter(stays).map(str::to_owned).collect())
}

/// Somebody and where they live.
pub(super) type Person<'h> = (&'h Host, &'h Account);

/// Calls a method of spaces at `host` as somebody who may live elsewhere.
pub(super) async fn call(host: &Host, (home, who): Person<'_>, name: &str, body: &Value) -> Result<Value> {
    let method = format!("co.kendev.spaces.{name}");
    let token = speaks(home, who, host, &method).await?;
    host.answer(host.post(&method, body).bearer_auth(token)).await
}

/// Says something in a space, at one's own host.
pub(super) async fn say((home, who): Person<'_>, space: &str, text: &str) -> Result<String> {
    let body = json!({ "space": space, "content": { "type": "text", "text": text } });
    let said = home.post("co.kendev.spaces.sendMessage", &body).bearer_auth(&who.token);
    Ok(home.answer(said).await?["uri"].as_str().context("a message")?.to_owned())
}

/// Says something in a public space, as any client does: with a record in one's own repository.
async fn announce((home, who): Person<'_>, space: &str, text: &str) -> Result<()> {
    let collection = "co.kendev.spaces.message";
    let record = json!({ "$type": collection, "space": space, "messageType": "user",
        "content": { "type": "text", "text": text }, "createdAt": "2026-11-21T12:00:00.000Z" });
    let body = json!({ "repo": who.did, "collection": collection, "record": record });
    home.answer(home.post("com.atproto.repo.createRecord", &body).bearer_auth(&who.token)).await?;
    Ok(())
}

/// What somebody reads in a space, once it is this much; in the order in which it was said first.
pub(super) async fn until_read(host: &Host, (home, who): Person<'_>, space: &str, expected: &[&str]) -> Result<()> {
    let method = "co.kendev.spaces.listMessages";
    until(&format!("{expected:?} are read at {}", host.url), PATIENCE * 2, async || {
        let token = speaks(home, who, host, method).await?;
        let (status, answer) = answer(host.get(method, &[("space", space)]).bearer_auth(token)).await?;
        ensure!(status == 200 || name(&answer) == "SpaceNotFound", "{status} {answer}");
        let messages = answer["messages"].as_array().cloned().unwrap_or_default();
        let mut texts: Vec<_> =
            messages.iter().filter_map(|message| message.pointer("/value/content/text")?.as_str()).collect();
        texts.sort_unstable();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        if texts != expected {
            return Err(anyhow::anyhow!("so far {texts:?}"));
        }
        Ok(Some(()))
    })
    .await?;
    Ok(())
}

/// What somebody has in a space at their host: where their repository stands, each record's CID by its path, and the bytes
/// of the files that they name.
async fn owned((home, who): Person<'_>, space: &str) -> Result<(Value, BTreeMap<String, String>, Vec<Vec<u8>>)> {
    let of = [("space", space), ("repo", who.did.as_str())];
    let ask = async |name: &str, more: &[(&str, &str)]| {
        let query = [&of[..], more].concat();
        home.answer(home.get(&format!("com.atproto.space.{name}"), &query).bearer_auth(&who.token)).await
    };
    let mut commit = ask("getLatestCommit", &[]).await?["commit"].take();
    let stands = json!([commit["rev"].take(), commit["hash"].take()]);
    let records = ask("listRecords", &[("limit", "100")]).await?;
    let records = records["records"].as_array().context("records")?.iter().map(|record| {
        let part = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
        (format!("{}/{}", part("collection"), part("rkey")), part("cid"))
    });
    let mut files = vec![];
    for cid in ask("listBlobs", &[]).await?["cids"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let query = [&of[..], &[("cid", cid)]].concat();
        let file = home.get("com.atproto.space.getBlob", &query).bearer_auth(&who.token).send().await?;
        files.push(file.error_for_status()?.bytes().await?.to_vec());
    }
    Ok((stands, records.collect(), files))
}

/// Writes a record that names a file into a space.
async fn put_file((home, who): Person<'_>, space: &str, bytes: &[u8]) -> Result<()> {
    let upload = home.client.post(format!("{}/xrpc/com.atproto.repo.uploadBlob", home.url)).bearer_auth(&who.token);
    let upload = upload.header("Content-Type", "image/png").body(bytes.to_vec());
    let blob = home.answer(upload).await?["blob"].take();
    let record = json!({ "$type": "com.example.drawing", "blob": blob });
    let body = json!({ "space": space, "repo": who.did, "collection": "com.example.drawing", "record": record });
    home.answer(home.post("com.atproto.space.createRecord", &body).bearer_auth(&who.token)).await?;
    Ok(())
}

/// Moves an account to another host, as its owner would.
pub(super) async fn move_out(from: &Host, did: &str, password: &str, to: &Host, handle: &str) -> Result<()> {
    let secret = tempfile::NamedTempFile::new()?;
    std::fs::write(secret.path(), format!("{password}\n"))?;
    let file = secret.path().to_str().context("a path in UTF-8")?;
    let words = ["account", "move-out", did, "--to", &to.url, "--handle", handle, "--email", "moved@mail.test"];
    let moved = angel(from, &[&words[..], &["--password-file", file]].concat())?;
    ensure!(moved["status"] == "moved", "{moved:#}");
    Ok(())
}

#[tokio::test]
async fn a_business_goes_to_another_host_with_its_rooms_and_its_bans() -> Result<()> {
    let Hosts { hosts: [first, second, third], _root } = Hosts::start()?;
    let (bob, carol, dora) =
        (second.sign_up("bob").await?, third.sign_up("carol").await?, first.sign_up("dora").await?);
    let mallory = third.sign_up("mallory").await?;
    let people = [(&second, &bob), (&third, &carol), (&first, &dora), (&third, &mallory)];
    let business = Business::open(&first, &people).await?;
    let office = business.office.as_str();
    let owner = (&first, &business.owner);
    let [bob, carol, dora, mallory] = people;

    let listed =
        first.answer(first.get("co.kendev.spaces.listSpaces", &[("tenant", business.tenant.as_str())])).await?;
    let market = listed.pointer("/spaces/0/uri").and_then(Value::as_str).context("a public space")?;
    for who in [bob, carol] {
        call(&first, who, "joinSpace", &json!({ "space": market })).await?;
    }
    call(&first, owner, "banMember", &json!({ "space": market, "user": mallory.1.did })).await?;

    // Everybody says something; one message is hidden, and somebody is banned.
    say(owner, office, "from the owner").await?;
    say(bob, office, "from bob").await?;
    announce(bob, market, "fresh bread").await?;
    announce(carol, market, "best bread").await?;
    let hidden = say(carol, office, "better not").await?;
    say(dora, office, "from dora").await?;
    until_read(&first, owner, office, &["from the owner", "from bob", "better not", "from dora"]).await?;
    call(&first, owner, "hideMessage", &json!({ "uri": hidden, "reason": "off topic" })).await?;
    call(&first, owner, "banMember", &json!({ "space": office, "user": mallory.1.did })).await?;
    let seen = ["from the owner", "from bob", "from dora"];
    until_read(&first, owner, market, &["fresh bread", "best bread"]).await?;
    until_read(&first, bob, office, &seen).await?;

    // The business is taken out, its account moves, and the other host takes it in.
    let files = tempfile::tempdir()?;
    let (out, again) = (files.path().join("bakery.jsonl"), files.path().join("again.jsonl"));
    let [out_name, again_name] = [&out, &again].map(|path| path.to_str().expect("a path in UTF-8"));
    angel(&first, &["tenant", "export", "bakery", "--to", out_name])?;
    let tenant = business.tenant.as_str();
    let admin = std::fs::read_to_string(first.daemon.fact("adminPasswordFile"))?;
    let change = json!({ "did": tenant, "password": "a password of the business" });
    let change = first.post("com.atproto.admin.updateAccountPassword", &change).basic_auth("admin", Some(admin.trim()));
    ensure!(answer(change).await?.0 == 200, "the business gets a password to move with");
    move_out(&first, tenant, "a password of the business", &second, "bakery.second.test").await?;
    angel(&second, &["tenant", "import", out_name])?;

    // What it was it is: its people, its rooms, who may enter them, who is banned.
    angel(&second, &["tenant", "export", "bakery", "--to", again_name])?;
    let (before, after) = (lines(&out)?, lines(&again)?);
    let lost: Vec<_> = before.difference(&after).collect();
    let new: Vec<_> = after.difference(&before).collect();
    ensure!(lost.is_empty() && new.is_empty(), "lost: {lost:#?}\nnew: {new:#?}");

    // What was said comes from the hosts of those who said it; what is hidden stays hidden.
    until_read(&second, owner, office, &["from the owner", "from bob", "better not", "from dora"]).await?;
    until_read(&second, bob, office, &seen).await?;
    until_read(&second, owner, market, &["fresh bread", "best bread"]).await?;
    let method = "co.kendev.spaces.listMessages";
    let token = speaks(mallory.0, mallory.1, &second, method).await?;
    let refused = answer(second.get(method, &[("space", office)]).bearer_auth(token)).await?;
    ensure!(name(&refused.1) == "SpaceNotFound", "{refused:?}");

    // And they go on talking.
    say(bob, office, "at home").await?;
    say(dora, office, "from afar").await?;
    until_read(&second, dora, office, &["from the owner", "from bob", "from dora", "at home", "from afar"]).await?;
    // Somebody who lived at the business's host moves away from it: what they said stays, and what they say is seen.
    let drawing = b"\x89PNG\r\n\x1a\n a drawing".as_slice();
    let room = office.replace("co.kendev.spaces.space", "space/co.kendev.spaces.room");
    put_file(bob, &room, drawing).await?;
    let before = owned(bob, &room).await?;
    ensure!(before.1.len() == 3 && before.2 == [drawing], "{before:?}");
    move_out(&second, bob.1.did.as_str(), "a password of bob", &third, "bob.third.test").await?;
    let moved = log_in(&third, "bob.third.test", "a password of bob").await?;
    // What they wrote in private came with them: the same records and files, at the same revision.
    let after = owned((&third, &moved), &room).await?;
    ensure!(before == after, "{before:?}\n{after:?}");
    say((&third, &moved), office, "from a new home").await?;
    announce((&third, &moved), market, "old bread").await?;
    until_read(&second, owner, market, &["fresh bread", "best bread", "old bread"]).await?;
    let all = ["from the owner", "from bob", "from dora", "at home", "from afar", "from a new home"];
    until_read(&second, dora, office, &all).await?;
    // What is left of them at the old host is deleted: that is no word of theirs.
    let admin = std::fs::read_to_string(second.daemon.fact("adminPasswordFile"))?;
    let delete = second.post("com.atproto.admin.deleteAccount", &json!({ "did": bob.1.did }));
    ensure!(answer(delete.basic_auth("admin", Some(admin.trim()))).await?.0 == 200, "it is deleted");
    announce(carol, market, "more bread").await?;
    until_read(&second, owner, market, &["fresh bread", "best bread", "old bread", "more bread"]).await?;
    until_read(&second, dora, office, &all).await?;
    let session = log_in(&second, "bakery.second.test", "a password of the business").await?;
    ensure!(session.did == business.tenant, "the business lives here");
    Ok(())
}
