//! One account comes back from a backup of its node, beside accounts that were never gone: with everything that is its
//! own, under another number, switched off until its identity is found to lead here. Never over an account that is
//! there, and on a node to which the identity does not lead it stays switched off.

use super::*;

/// Larger than a row of the store takes.
const ORDER_NOTE: usize = 40_000;

struct Person<'a> {
    client: &'a Client,
    url: String,
    account: Account,
}

impl Person<'_> {
    async fn call(&self, method: &str, body: &Value) -> Result<Value> {
        let request = self.client.post(format!("{}/xrpc/{method}", self.url)).bearer_auth(&self.account.token);
        let answer = request.json(body).send().await?;
        let (status, body) = (answer.status(), answer.text().await?);
        ensure!(status == StatusCode::OK, "{method}: {status} {body}");
        Ok(serde_json::from_str(&body).unwrap_or_default())
    }

    async fn query(&self, method: &str) -> Result<Value> {
        let request = self.client.get(format!("{}/xrpc/{method}", self.url)).bearer_auth(&self.account.token);
        Ok(request.send().await?.error_for_status()?.json().await?)
    }
}

fn preferences() -> Value {
    json!({ "preferences": [{ "$type": "app.bsky.actor.defs#interestsPref", "tags": ["looms"] }] })
}

fn order() -> Value {
    json!({ "$type": "com.example.order", "note": "x".repeat(ORDER_NOTE), "createdAt": "2026-11-21T12:00:00.000Z" })
}

/// Everything that an account can have; answers its space, and the CID of its file.
async fn furnish(person: &Person<'_>) -> Result<(String, String, String)> {
    for number in 0..12 {
        let status = write(person.client, &person.url, &person.account, &format!("note-{number}")).await?;
        ensure!(status == StatusCode::OK, "note {number}: {status}");
    }
    let upload = person.client.post(format!("{}/xrpc/com.atproto.repo.uploadBlob", person.url));
    let upload = upload.bearer_auth(&person.account.token).header("content-type", "text/plain").body(vec![7; 70_000]);
    let blob = upload.send().await?.error_for_status()?.json::<Value>().await?["blob"].clone();
    let file = blob.pointer("/ref/$link").and_then(Value::as_str).context("a CID")?.to_owned();
    let record = json!({ "repo": person.account.did, "collection": COLLECTION, "rkey": "with-a-file",
        "record": { "$type": COLLECTION, "text": "with a file", "file": blob } });
    person.call("com.atproto.repo.createRecord", &record).await?;
    person.call("app.bsky.actor.putPreferences", &preferences()).await?;
    let list = json!({ "$type": "com.atproto.simplespace.defs#memberListPolicy" });
    let space = json!({ "spaceType": "com.example.orders", "skey": "self", "readPolicy": list, "writePolicy": list,
        "appAccess": { "$type": "com.atproto.simplespace.defs#open" } });
    let space = person.call("com.atproto.simplespace.createSpace", &space).await?;
    let space = space["uri"].as_str().context("a space")?.to_owned();
    let taken = json!({ "space": space, "repo": person.account.did, "collection": "com.example.order", "rkey": "n1",
        "record": order() });
    person.call("com.atproto.space.createRecord", &taken).await?;
    let app = person.call("com.atproto.server.createAppPassword", &json!({ "name": "till" })).await?;
    Ok((space, file, app["password"].as_str().context("an app password")?.to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn one_account_comes_back_beside_others_and_never_over_one() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (daemon, data, key, client, url, account) = node(dir.path()).await?;
    let listen = url.trim_start_matches("http://").to_owned();
    let again = || launch(&data).env("ANGEL_HTTP_LISTEN", &listen).start();
    let eve = sign_up(&client, &url, "eve.angel.test").await?;
    let ada = Person { client: &client, url: url.clone(), account };
    let (space, file, app) = furnish(&ada).await?;
    let did = ada.account.did.clone();
    let (place, key_file) = (dir.path().join("backups"), key.to_str().context("text")?);
    let place = place.to_str().context("text")?;
    angel(&data, &["backup", "key", key_file])?;
    let made = angel(&data, &["backup", "create", "--to", place])?;
    ensure!(write(&client, &url, &ada.account, "later").await? == StatusCode::OK, "written");
    ensure!(write(&client, &url, &eve, "of-eve").await? == StatusCode::OK, "written");

    // Not while the node runs, not over an account, not what is in no backup.
    let restore = |into: &Path, did: &str| -> Result<Output> {
        let mut command = command(dir.path());
        command.args(["restore", "--from", place, "--key", key_file, "--tenant", did, "--json", "--data-dir"]);
        Ok(command.arg(into).output()?)
    };
    refused(&restore(&data, &did)?, "in use");
    ensure!(daemon.stop()?.success(), "it stops in good order");
    refused(&restore(&data, &did)?, "AccountExists");
    refused(&restore(&data, "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")?, "NotInBackup");
    let daemon = again()?;
    ensure!(has(&client, &url, &did, "later").await?, "nothing was changed");
    angel(&data, &["account", "delete", &did, "--yes"])?;
    ensure!(!has(&client, &url, &did, "note-0").await?, "it is gone");
    ensure!(daemon.stop()?.success(), "it stops in good order");

    let restored = answered(&restore(&data, &did)?)?;
    ensure!(number(&restored, "/records") == 13 && number(&restored, "/files") == 1, "{restored}");
    ensure!(restored["handle"] == "ada.angel.test" && restored["namesTaken"] == json!([]), "{restored}");
    ensure!(number(&restored, "/privateRows") > 0 && number(&restored, "/disagreed") == 0, "{restored}");
    ensure!(!data.join("restore-beside").exists(), "nothing lies about");
    refused(&restore(&data, &did)?, "AccountExists");

    // It is nobody's until it is switched on, and then all that it was when the backup was made.
    let daemon = again()?;
    ensure!(!has(&client, &url, &did, "note-0").await?, "it is switched off");
    angel(&data, &["account", "activate", &did])?;
    for rkey in ["note-0", "note-11", "with-a-file"] {
        ensure!(has(&client, &url, &did, rkey).await?, "{rkey} is lost");
    }
    ensure!(!has(&client, &url, &did, "later").await?, "it is in no backup");
    ensure!(has(&client, &url, &eve.did, "of-eve").await?, "others have what they had");
    let blob = client.get(format!("{url}/xrpc/com.atproto.sync.getBlob?did={did}&cid={file}")).send().await?;
    ensure!(blob.error_for_status()?.bytes().await?.len() == 70_000, "the file");
    let ada = Person { client: &client, url: url.clone(), account: log_in(&client, &url, &did).await? };
    let body = json!({ "identifier": "ada.angel.test", "password": app });
    ada.call("com.atproto.server.createSession", &body).await?;
    ensure!(ada.query("app.bsky.actor.getPreferences").await? == preferences(), "what apps keep");
    let at = format!("com.atproto.space.getRecord?space={space}&repo={did}&collection=com.example.order&rkey=n1");
    ensure!(ada.query(&at).await?["value"] == order(), "what is private");
    ensure!(write(&client, &url, &ada.account, "after").await? == StatusCode::OK, "it takes writes");
    let ahead = angel(&data, &["backup", "create", "--to", place])?;
    let (old, ahead) = (number(&made, "/snapshot/sequence"), number(&ahead, "/snapshot/sequence"));
    ensure!(ahead > old + 1_000_000, "followers may have seen {ahead} before ({old})");
    ensure!(daemon.stop()?.success(), "it stops in good order");

    // Elsewhere it is restored too, and stays switched off: its identity does not lead there.
    let other = dir.path().join("other");
    ensure!(launch(&other).start()?.stop()?.success(), "it stops in good order");
    let restored = answered(&restore(&other, &did)?)?;
    ensure!(number(&restored, "/records") >= 13, "{restored}");
    let daemon = launch(&other).start()?;
    let said = verb(&other, &["account", "activate", &did])?;
    ensure!(!said.status.success(), "{}", String::from_utf8_lossy(&said.stdout));
    ensure!(!has(&client, daemon.fact("httpUrl"), &did, "note-0").await?, "nobody is served from it");
    Ok(())
}
